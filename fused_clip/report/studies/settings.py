"""Settings of a study's runs, and the runs that share one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from fused_clip.metrics.scores import slug
from fused_clip.report.page import Block, Section, Table, TableCell
from fused_clip.report.studies.comparable import UNRECORDED, mismatches
from fused_clip.tracking.records import RunRecord

# The setting that the studies vary, in the words of the command line.
BASE: Mapping[str, str] = {
    "text": "prompt",
    "fusion.alpha": "0.5",
    "fusion.normalize_inputs": "false",
    "fusion.normalize_output": "false",
    "clusters_per_target": "2",
    "pairing": "oracle",
    "vote": "label",
}
# What a study never varies itself: runs that differ in it do not stand in one table.
SETTING = (
    "backbone", "backbone.model", "backbone.pretrained", "backbone.preprocessing", "backbone.precision",
    "dataset.from_split", "dataset.n_train", "dataset.n_test", "clusterer", "clusterer.n_neighbors",
)  # fmt: skip
NAMES = {
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    **{f"cifar100_{subset}": f"CIFAR-100 s{subset}" for subset in range(1, 6)},
}


def missing_targets(records: Sequence[RunRecord]) -> TableCell:
    """Count the finished runs in which a target has no cluster.

    Parameters
    ----------
    records : runs of one row of a table.
    """
    known = [record for record in records if record.finished and "missing_targets" in record.metrics]
    lacking = [record.run_id for record in known if record.metrics["missing_targets"]]
    return TableCell(f"in {len(lacking)} of {len(known)}" if known else "-", len(lacking), lacking)


def dataset_name(option: str) -> str:
    """Return a dataset's name in tables.

    Parameters
    ----------
    option : its name on the command line.
    """
    return NAMES.get(option, option)


def chosen(records: Iterable[RunRecord], **options: str) -> list[RunRecord]:
    """Return the runs of the base setting but for some options; missing cells name only what they change.

    Parameters
    ----------
    records : cells of a study.
    options : that differ from the base; dots are written as ``__``.
    """
    wanted = {**BASE, **{name.replace("__", "."): value for name, value in options.items()}}
    return [record for record in records if all(_is(record, name, value) for name, value in wanted.items())]


def _is(record: RunRecord, name: str, value: str) -> bool:
    found = record.option(name).lower() or BASE.get(name, "")
    try:
        return float(found) == float(value)
    except ValueError:
        return found == value


def values(records: Iterable[RunRecord], option: str) -> list[str]:
    """Return the known values of an option, in order of first appearance.

    Parameters
    ----------
    records : runs.
    option : its name on the command line.
    """
    found = dict.fromkeys(record.option(option) for record in records)
    return [value for value in found if value]


def by_setting(records: Sequence[RunRecord]) -> Mapping[str, list[RunRecord]]:
    """Group the runs that may stand in one table, by the options that differ; an empty name for one group.

    An unfinished cell joins the finished runs whose sweeps gave it the same options.

    Parameters
    ----------
    records : cells of a study.
    """
    known = {_named(record): _setting(record) for record in records if record.finished}
    groups: dict[tuple[str, ...], list[RunRecord]] = {}
    for record in records:
        own = _setting(record)
        groups.setdefault(own if record.finished else known.get(_named(record), own), []).append(record)
    return {_name(setting, list(groups)): some for setting, some in groups.items()}


def _named(record: RunRecord) -> tuple[str, ...]:
    return tuple(record.axes.get(name, "") for name in SETTING)


def _setting(record: RunRecord) -> tuple[str, ...]:
    return tuple("" if value == "null" else value for value in map(record.option, SETTING))


def _name(setting: tuple[str, ...], settings: Sequence[tuple[str, ...]]) -> str:
    """Name a setting by the first options in which it differs from all others."""
    words, rest = [], [one for one in settings if one != setting]
    for place, name in enumerate(SETTING):
        if any(one[place] != setting[place] for one in rest):
            words.append(f"{name}={setting[place] or 'null'}")
            rest = [one for one in rest if one[place] == setting[place]]
    return ", ".join(words)


def apart(
    records: Sequence[RunRecord], build: Callable[[Sequence[RunRecord]], Sequence[Section]]
) -> tuple[list[Section], list[str]]:
    """Make the sections of a page once for every setting, with a warning if there are several.

    Parameters
    ----------
    records : cells of a study.
    build : makes the sections of one setting.
    """
    settings = by_setting(records)
    if len(settings) == 1:
        return list(build(records)), []

    def renamed(block: Block, setting: str) -> Block:
        if isinstance(block, Table) and block.name:
            return replace(block, name=f"{block.name}-{slug(setting)}")
        return block

    sections = [
        Section(f"{section.title}: {name}", [renamed(block, name) for block in section.blocks])
        for name, some in settings.items()
        for section in build(some)
    ]
    return sections, [f"The runs are of {len(settings)} settings, in separate tables: {'; '.join(settings)}."]


def circumstances(records: Sequence[RunRecord]) -> str:
    """Describe backbone, images and seeds in a sentence for captions, and how they differ from the paper's.

    Parameters
    ----------
    records : runs of one setting.
    """
    finished = [record for record in records if record.finished]
    backbone, stands_in = ", ".join(values(records, "backbone")), ""
    failed = {name: why for record in finished for name, why in mismatches(record).items()}
    if "model" not in failed and failed.get("weights") == UNRECORDED:
        stands_in = ", whose weights are not recorded: perhaps not the paper's numbers"
    elif failed.keys() & {"model", "weights"}:
        others = [name for name in values(finished, "backbone.pretrained") if backbone == "vit_b_32"]
        weights = f" with the weights {', '.join(others)}" if others else ""
        stands_in = f"{weights}, in place of the paper's ViT-B/32: not its numbers"
    seeds = len(values(records, "seed"))
    count = f"{seeds} seed" + "s" * (seeds != 1)
    images = "official splits" if "images" not in failed else _other_images(finished, backbone)
    return f"Backbone {backbone}{stands_in}; {images}; {count}."


def _other_images(records: Sequence[RunRecord], backbone: str) -> str:
    paper_sets = all(record.option("dataset") in NAMES for record in records)
    drawn = any(record.option(size) for record in records for size in ("dataset.n_train", "dataset.n_test"))
    if paper_sets and all(record.option("dataset.from_split") == "test" for record in records):
        part = "subsets" if drawn else "halves"
        unseen = " that it never saw" if backbone == "compact" else ""
        return f"{part} of the official test split as train and test images{unseen}"
    return "not the paper's train and test images"
