"""Plant wrong labels in CIFAR-10, and find them: ``python -m experiments.label_errors``.

Each trial plants errors in the training images, makes the default method's partition with these labels, and
ranks all images by how likely their label is wrong. The figure is the share of planted errors among the first
images, as many as were planted. CIFAR-10's own errors count as false. cleanlab (Northcutt, Jiang and Chuang
2021, arXiv:1911.00068) gets out-of-fold probabilities of the same embeddings.

Each trial is a line of ``trials.jsonl`` in the folder of results: the same command goes on where it was.
"""

import argparse
import csv
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from experiments.benchmarks.machine import environment
from experiments.label_errors.planted import KINDS, plant
from experiments.label_errors.rankings import OURS, cleaned, reviewed
from fused_clip.estimator import PromptFusedClassifier
from fused_clip.metrics.numbers import mean_and_deviation
from fused_clip.runner import build
from fused_clip.runner.notebook import compose_options
from fused_clip.store import Store

RESULTS = Path(__file__).parent / "results"
SHARE = 0.05
SETTINGS = {
    "compact": ("backbone=compact", "dataset.from_split=test"),
    "open": ("backbone=open", "dataset.from_split=test"),
    "open, whole train split": ("backbone=open", "dataset.n_test=1000"),
}
RIVAL = "cleanlab, tuned logistic regression"
_COLUMNS = (OURS, f"{OURS} without prompts", "cleanlab, logistic regression", RIVAL, "cleanlab, review")


class Trial(NamedTuple):
    """One draw of images and errors.

    Parameters
    ----------
    setting : name in `SETTINGS`.
    errors : kind of the errors.
    seed : draws images, errors, folds and partition.
    """

    setting: str
    errors: str
    seed: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the trials that are not there yet, then write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", default="compact;open", help=f"of {'; '.join(SETTINGS)} (%(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="(%(default)s)")
    parser.add_argument("--output-dir", type=Path, default=Path("outputs"), help="of the store (%(default)s)")
    options = parser.parse_args(arguments)
    options.results.mkdir(exist_ok=True, parents=True)
    kept = options.results / "trials.jsonl"
    for setting in options.settings.split(";"):
        for seed in range(options.seeds):
            for errors in KINDS:
                trial = Trial(setting.strip(), errors, seed)
                if trial not in {_trial(line) for line in _read(kept)}:
                    line = {**trial._asdict(), **measured(trial, options.output_dir)}
                    with kept.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(line) + "\n")
                    print(line["setting"], line["errors"], line["seed"], line["precision"][OURS])
    write_tables(_read(kept), options.results)


def measured(trial: Trial, output_dir: Path) -> dict[str, Any]:
    """Precision of every ranking, numbers of flagged labels, seconds of the review, and the machine.

    Parameters
    ----------
    trial : to measure.
    output_dir : with the store of embeddings.
    """
    seeds = (f"seed={trial.seed}", f"dataset.seed={trial.seed}")
    options = compose_options("dataset=cifar10", *SETTINGS[trial.setting], *seeds, f"output_dir={output_dir}")
    dataset, backbone = build.make_parts(options)
    prompts, store = build.build(options.prompt, dataset=dataset), Store(output_dir / "store")
    images = store.images(backbone, dataset.train.images, dataset.train.rows)
    texts = store.texts(backbone, [one for (one,) in prompts.texts])
    planted = plant(dataset.train.labels, dataset.class_names, trial.errors, SHARE, trial.seed)
    model = PromptFusedClassifier.of(build.make_method(options), prompts, texts)
    clusters = model.set_params(calibrate=False).fit(images, planted.labels).labels_
    start = time.perf_counter()
    found, flagged, evidence = reviewed(
        images, planted, clusters, texts[prompts.prompt_of_target], trial.seed
    )
    seconds = time.perf_counter() - start
    others, issues = cleaned(images, planted, evidence, trial.seed)
    return {
        "images": len(images),
        "planted": int(planted.wrong.sum()),
        "precision": {name: round(value, 6) for name, value in {**found, **others}.items()},
        "flagged": {OURS: flagged._asdict(), "cleanlab": issues._asdict()},
        "seconds": round(seconds, 1),
        "machine": _machine(),
    }


def _machine() -> dict[str, Any]:
    found = environment()
    versions = {name: version(name) for name in ("cleanlab", "numpy", "scikit-learn")}
    return {"processor": found["processor"], "cores": found["cores"], **versions}


def write_tables(trials: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Write ``precision.csv``, ``sources.csv`` and ``flagged.csv``: means and deviations over the seeds.

    Parameters
    ----------
    trials : as `measured` gave them.
    folder : of the results.
    """
    _table(folder / "precision.csv", [_precision_row(*group) for group in _groups(trials)])
    _table(folder / "sources.csv", [_source_row(*group) for group in _groups(trials)])
    _table(folder / "flagged.csv", [_flagged_row(*group) for group in _groups(trials)])


def _groups(trials: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, list[Mapping[str, Any]]]]:
    for setting in SETTINGS:
        for errors in KINDS:
            own = [one for one in trials if (one["setting"], one["errors"]) == (setting, errors)]
            if own:
                yield setting, errors, own


def _precision_row(setting: str, errors: str, own: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    row = _head(setting, errors, own)
    for name in _COLUMNS:
        row[name] = mean_and_deviation([one["precision"][name] for one in own], 3)
    gaps = [one["precision"][OURS] - one["precision"][RIVAL] for one in own]
    return {**row, "review - tuned": mean_and_deviation(gaps, 3)}


def _source_row(setting: str, errors: str, own: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    names = [name for name in own[0]["precision"] if name.endswith(" alone")]
    values = {name: mean_and_deviation([one["precision"][name] for one in own], 3) for name in names}
    return {**_head(setting, errors, own), **values}


def _flagged_row(setting: str, errors: str, own: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    row = {**_head(setting, errors, own), "planted": str(own[0]["planted"])}
    for name in (OURS, "cleanlab"):
        for part, digits in (("number", 0), ("precision", 3), ("recall", 3)):
            values = [one["flagged"][name][part] for one in own]
            row[f"{name}: {part}"] = mean_and_deviation(values, digits)
    return row


def _head(setting: str, errors: str, own: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {
        "backbone": setting, "errors": errors, "images": f"{own[0]['images']:,}", "seeds": str(len(own))
    }  # fmt: skip


def _table(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def _trial(line: Mapping[str, Any]) -> Trial:
    return Trial(*(line[name] for name in Trial._fields))


if __name__ == "__main__":
    main()
