"""Fit every method of ``methods.yaml`` with every budget of labels, on stored embeddings.

``python -m experiments.methods.measure`` measures all; ``--backbones open --datasets cifar10 --seeds 3`` a
part. Each fit is one line of ``<out>/<backbone>/<dataset>-<seed>.jsonl``: the same command goes on where it
was.
"""

import argparse
import base64
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from joblib import Parallel, delayed

from fused_clip.audit.choice import Candidate, choose
from fused_clip.audit.fitting import fit_classifier
from fused_clip.method.budget import LabelBudget
from fused_clip.method.embedding import embed_members, embed_prompts, embed_words
from fused_clip.method.parts import TextInputs
from fused_clip.runner.build import Prepared, prepare
from fused_clip.runner.notebook import compose_options
from fused_clip.store import Store
from fused_clip.support.arrays import FloatArray, IntArray
from fused_clip.support.sampling import stratified_sample

HERE = Path(__file__).parent
BACKBONES = ("compact", "open")
DATASETS = ("mnist", "cifar10", "cifar100", *(f"cifar100_{number}" for number in range(1, 6)))
BUDGETS = (1, 2, 4, 8, 16, None)
SEEDS, _FEW_SEEDS = 10, 3
_LABEL_FREE = ("labels.per_class=0", "pairing=zero_shot", "vote=prompt")
POOL = 10_000  # training images of a seed, drawn stratified: partitions of all would take most of the time


class Wanted(NamedTuple):
    """A method of the study.

    Parameters
    ----------
    name : in files.
    title : in tables and figures.
    labels : whether it uses labels; one that does not is fitted once a seed.
    options : overrides of the default run.
    seeds : number of seeds.
    slow : whether three seeds do with all labels, and on CIFAR-100, where a fit takes tens of seconds.
    datasets : where it is measured, likewise.
    budgets : labels a class with which it is measured.
    """

    name: str
    title: str
    labels: bool
    options: Sequence[str]
    seeds: int = SEEDS
    slow: bool = False
    datasets: Sequence[str] = DATASETS
    budgets: Sequence[int | None] = BUDGETS


class Task(NamedTuple):
    """What one process does: all methods on one draw of training images and labels."""

    backbone: str
    dataset: str
    seed: int
    out: Path
    output_dir: Path
    methods: Sequence[Wanted]


class Data(NamedTuple):
    """(n, d) training images and their labels, (m, d) test images and theirs."""

    train: FloatArray
    labels: IntArray
    test: FloatArray
    test_labels: IntArray


def read_methods(path: Path = HERE / "methods.yaml") -> list[Wanted]:
    """Read the methods of the study, in order."""
    return [Wanted(name, **node) for name, node in yaml.safe_load(path.read_text("utf-8")).items()]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read the fits of a file; a last line that was cut off is left out."""
    if not path.is_file():
        return []
    lines = path.read_text("utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def measure(task: Task) -> int:
    """Do what a task's file lacks; give the number of fits."""
    path = task.out / task.backbone / f"{task.dataset}-{task.seed}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = read_lines(path)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    done = {(line["method"], line["labels"]) for line in lines}
    todo = [(wanted, budget) for wanted, budget in _fits(task) if (wanted.name, budget) not in done]
    if not todo:
        return 0
    store = Store(task.output_dir / "store")
    data: Data | None = None
    with path.open("a", encoding="utf-8") as file:
        for wanted, budget in todo:
            prepared = prepared_for(task, wanted, budget)
            data = data or draw_data(prepared, store, task.seed)
            line = {"method": wanted.name, "labels": budget, **_fit(prepared, data, store, budget, task.seed)}
            file.write(json.dumps(line) + "\n")
            file.flush()
    return len(todo)


def _fits(task: Task) -> Iterator[tuple[Wanted, int | None]]:
    for wanted in task.methods:
        for budget in wanted.budgets if wanted.labels else (0,):
            heavy = wanted.slow and (budget is None or task.dataset == "cifar100")
            seeds = min(wanted.seeds, _FEW_SEEDS) if heavy else wanted.seeds
            if task.seed < seeds and task.dataset in wanted.datasets:
                yield wanted, budget


def prepared_for(task: Task, wanted: Wanted, budget: int | None) -> Prepared:
    kind = [f"labels.per_class={'null' if budget is None else budget}"] if wanted.labels else _LABEL_FREE
    names = [
        f"dataset={task.dataset}",
        f"backbone={task.backbone}",
        "tracking=none",
        "references.enabled=false",
    ]
    return prepare(compose_options(*names, *kind, *wanted.options))


def draw_data(prepared: Prepared, store: Store, seed: int) -> Data:
    dataset, backbone = prepared.dataset, prepared.backbone
    train, test = (
        store.images(backbone, split.images, split.rows) for split in (dataset.train, dataset.test)
    )
    rows = stratified_sample(dataset.train.labels, POOL, seed)
    return Data(train[rows], dataset.train.labels[rows], test, dataset.test.labels)


def inputs_for(prepared: Prepared, data: Data, store: Store, known: IntArray) -> TextInputs:
    """What a method is fitted on: training images, prompts, and the targets that are known."""
    prompts, backbone = prepared.prompts, prepared.backbone
    members = embed_members(prompts, backbone, store)
    return TextInputs(embed_prompts(prompts, backbone, store), members, prompts, data.train, known, backbone)


def methods_of(prepared: Prepared, store: Store, seed: int) -> list[Candidate]:
    """The method of a run, or those that ``method=auto`` chooses among, with a seed of their own."""
    listed = prepared.candidates or [Candidate("", prepared.method)]
    return [
        Candidate(
            one.name,
            replace(
                one.method,
                seed=seed,
                memory=None,
                clusterer=embed_words(one.method.clusterer, prepared.backbone, store),
            ),
        )
        for one in listed
    ]


def _fit(prepared: Prepared, data: Data, store: Store, budget: int | None, seed: int) -> dict[str, Any]:
    """Accuracy, seconds of choosing, fitting and predicting, and which test images were right."""
    prompts = prepared.prompts
    inputs = inputs_for(prepared, data, store, prompts.targets(LabelBudget(budget, seed).known(data.labels)))
    able = methods_of(prepared, store, seed)
    start = time.perf_counter()
    one = choose(able, inputs, seed).candidate
    predicted = fit_classifier(one.method, inputs).target_scores(data.test).values.argmax(axis=1)
    seconds = time.perf_counter() - start
    hits = predicted == prompts.targets(data.test_labels)
    packed = base64.b64encode(np.packbits(hits).tobytes()).decode()
    return {
        "accuracy": round(float(hits.mean()), 6),
        "seconds": round(seconds, 3),
        "chosen": one.name,
        "hits": packed,
    }


def main() -> None:
    """Measure what the arguments name, several tasks side by side."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbones", nargs="+", default=BACKBONES, choices=BACKBONES)
    parser.add_argument("--datasets", nargs="+", default=DATASETS, choices=DATASETS)
    parser.add_argument("--methods", nargs="+", help="names in methods.yaml; all by default")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side")
    parser.add_argument(
        "--output-dir", type=Path, default=Path("outputs"), help="whose store has the embeddings"
    )
    parser.add_argument("--out", type=Path, default=Path("outputs/methods"))
    given = parser.parse_args()
    methods = [one for one in read_methods() if not given.methods or one.name in given.methods]
    tasks = [
        Task(backbone, dataset, seed, given.out, given.output_dir, methods)
        for seed in range(given.seeds)
        for backbone in given.backbones
        for dataset in given.datasets
    ]
    for task, count in zip(
        tasks, Parallel(given.jobs, return_as="generator")(map(delayed(measure), tasks)), strict=True
    ):
        print(f"{task.backbone} {task.dataset} seed {task.seed}: {count} fits", flush=True)


if __name__ == "__main__":
    main()
