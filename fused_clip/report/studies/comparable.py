"""Whether a run may be compared with the paper's numbers: the conditions that it fails, and why."""

from collections.abc import Mapping, Sequence

import yaml

from fused_clip.backbone.preprocessing import Preprocessing
from fused_clip.report.page import Prose
from fused_clip.report.studies.published import load
from fused_clip.support.conf import conf_dir
from fused_clip.tracking.records import RunRecord

UNRECORDED = "not recorded"
_PIXELS = 224  # side of the input of ViT-B/32


def mismatches(record: RunRecord) -> dict[str, str]:
    """Return why a run is not comparable, by condition; empty for a comparable run.

    What the studies vary (text, pairing, vote, clusters, normalisation) is no condition here. A fact that the
    run did not record fails its condition.

    Parameters
    ----------
    record : a finished run.
    """
    found = {
        "weights": _weights(record),
        "preprocessing": _preprocessing(record),
        "precision": _precision(record),
        "images": _images(record),
        "prompts": _prompts(record),
        **{name: _options(record, wanted) for name, wanted in load().options.items()},
    }
    return {name: why for name, why in found.items() if why}


def explanation(records: Sequence[RunRecord]) -> list[Prose]:
    """Explain why runs are not comparable: each reason with its number of runs; nothing if all are.

    Parameters
    ----------
    records : runs of one setting.
    """
    finished = [record for record in records if record.finished]
    counts: dict[str, int] = {}
    for record in finished:
        for name, why in mismatches(record).items():
            counts[f"{name} ({why})"] = counts.get(f"{name} ({why})", 0) + 1
    if not counts:
        return []
    reasons = "; ".join(f"{reason} in {count}" for reason, count in counts.items())
    return [Prose(f"Not comparable, of {len(finished)} runs: {reasons}.")]


def _weights(record: RunRecord) -> str:
    own, source = (record.tags.get(f"backbone_{name}", "") for name in ("weights", "converted_from"))
    if {own, source} & load().weights:
        return ""
    return f"SHA-256 {own[:12]} is not of OpenAI's" if own else UNRECORDED


def _preprocessing(record: RunRecord) -> str:
    wanted = repr(Preprocessing.from_config(_PIXELS, {}).as_in_paper())
    found = record.tags.get("backbone_pixels", UNRECORDED)
    return "" if found == wanted else f"{found}, not squashed to {_PIXELS} pixels bilinearly"


def _precision(record: RunRecord) -> str:
    found = record.tags.get("backbone_precision", UNRECORDED)
    return "" if found == "float32" else f"{found}, not float32"


def _images(record: RunRecord) -> str:
    dataset = record.option("dataset")
    wanted = load().splits.get(dataset)
    if wanted is None:
        return f"{dataset} is not in the paper"
    found = tuple(record.tags.get(name, UNRECORDED) for name in ("n_train", "n_test"))
    sizes = "{} train and {} test images".format
    return "" if found == tuple(map(str, wanted)) else f"{dataset}: {sizes(*found)}, not {sizes(*wanted)}"


def _prompts(record: RunRecord) -> str:
    """Compare the templates of a run's prompts with those of its dataset's file, which are the paper's."""
    file = conf_dir() / "dataset" / f"{record.option('dataset')}.yaml"
    if not file.is_file():
        return ""  # `_images` tells
    own = yaml.safe_load(file.read_text("utf-8"))["captions"]
    return _options(record, {f"dataset.captions.{name}": [text] for name, text in own.items()})


def _options(record: RunRecord, wanted: Mapping[str, Sequence[str]]) -> str:
    wrong = [
        f"{option} is {record.option(option) or UNRECORDED}, not {accepted[0]}"
        for option, accepted in wanted.items()
        if record.option(option).lower() not in map(str.lower, accepted)
    ]
    return ", ".join(wrong)
