"""What the rule of ``method=auto`` was set by: ``python -m experiments.methods.thresholds``.

Looks at training images alone. Candidates are fitted and compared on one part of a draw, as ``method=auto``
does it. Their accuracy is that on another part, by labels that the choice does not see: with all classes
alike, and with frequencies that fall to one fiftieth. Writes ``results/thresholds.csv``: for each rule and
number of labels the accuracy below the best candidate, mean over datasets and draws, and in brackets the
least accuracy above zero-shot over the datasets. Each draw is a file of ``<out>``: the same command goes on
where it was.
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed

from experiments.methods.measure import (
    BACKBONES,
    DATASETS,
    HERE,
    Data,
    Task,
    Wanted,
    draw_data,
    inputs_for,
    methods_of,
    prepared_for,
)
from experiments.methods.page import write_rows
from experiments.methods.safety import imbalanced
from fused_clip.audit.choice import AnswerScores, Evidence, Rule, gather
from fused_clip.audit.fitting import fit_classifier
from fused_clip.method.budget import LabelBudget
from fused_clip.store import Store
from fused_clip.support.files import write_atomic

BUDGETS = (0, 1, 2, 4, 8, 16)
CONDITIONS = ("alike", "1:50")
SEEDS = 2
ROWS = 3000  # of each part, at most
RULES = {
    "as it is": Rule(),
    "2 standard errors": Rule(sure=2),
    "1 standard error": Rule(sure=1),
    "good at .9": Rule(good=0.9),
    "the second, always": Rule(good=2, right=2, sure=1e9),
    "the first, always": Rule(good=0, right=0, sure=1e9, gain=2),
    "right at .7": Rule(right=0.7),
    "gain .03": Rule(gain=0.03),
    "gain .01": Rule(gain=0.01),
    "agreement .7": Rule(agreement=0.7),
    "any coherence": Rule(coherence=-1),
}


class Draw(NamedTuple):
    """One draw of training images of one dataset."""

    backbone: str
    dataset: str
    condition: str
    seed: int

    def file(self, out: Path) -> Path:
        """Where its comparison is."""
        return out / f"{self.backbone}-{self.dataset}-{self.condition.replace(':', '_')}-{self.seed}.json"


def measure(draw: Draw, output_dir: Path, out: Path) -> None:
    """Compare the candidates with every budget, unless the draw's file is there."""
    path = draw.file(out)
    if not path.is_file():
        found = {str(budget): _compared(draw, budget, output_dir) for budget in BUDGETS}
        write_atomic(path, json.dumps(found).encode())


def _compared(draw: Draw, budget: int, output_dir: Path) -> dict[str, Any]:
    store, seed = Store(output_dir / "store"), draw.seed
    task = Task(draw.backbone, draw.dataset, seed, output_dir, output_dir, ())
    prepared = prepared_for(task, Wanted("auto", "", budget != 0, ["method=auto"]), budget)
    rows, others = parts(draw_data(prepared, store, seed), draw)
    data = Data(*rows, *others)
    known = prepared.prompts.targets(LabelBudget(budget, seed).known(data.labels))
    inputs, candidates = inputs_for(prepared, data, store, known), methods_of(prepared, store, seed)
    truth = prepared.prompts.targets(data.test_labels)
    accuracy = {}
    for one in candidates:
        answers = fit_classifier(one.method, inputs).target_scores(data.test).values.argmax(axis=1)
        accuracy[one.name] = float((answers == truth).mean())
    evidence = gather(candidates, inputs, seed)
    held_out = {name: hits.astype(int).tolist() for name, hits in evidence.held_out.items()}
    return {"accuracy": accuracy, **evidence._asdict(), "held_out": held_out}


def parts(data: Data, draw: Draw) -> Iterator[Any]:
    """Give rows and labels of two parts of the training images, without a common row.

    Parameters
    ----------
    data : of which the training images are drawn from.
    draw : its seed and condition.
    """
    order = np.random.default_rng(draw.seed).permutation(len(data.train))
    size = min(ROWS, len(order) // 2)
    rows, others = np.sort(order[:size]), np.sort(order[size : 2 * size])
    if draw.condition != CONDITIONS[0]:
        drawn = imbalanced(data.labels[rows], data.labels[others], np.random.default_rng(draw.seed))
        rows, others = rows[drawn.train], others[drawn.test]
    return ((data.train[part], data.labels[part]) for part in (rows, others))


def rows_of(found: Mapping[Draw, Mapping[str, Any]]) -> list[dict[str, str]]:
    """One row a backbone, condition and rule; a column a number of labels."""
    rows = []
    for backbone in BACKBONES:
        for condition in CONDITIONS:
            for name, rule in RULES.items():
                own = {
                    draw: one for draw, one in found.items() if draw[0] == backbone and draw[2] == condition
                }
                cells = {str(budget): _cell(own, rule, str(budget)) for budget in BUDGETS if own}
                rows += [{"backbone": backbone, "classes": condition, "rule": name, **cells}] if cells else []
    return rows


def _cell(found: Mapping[Draw, Mapping[str, Any]], rule: Rule, budget: str) -> str:
    below: dict[str, list[float]] = {}
    above: dict[str, list[float]] = {}
    for draw, one in found.items():
        accuracy, evidence = one[budget]["accuracy"], _evidence(one[budget])
        chosen = accuracy[rule.decide(list(accuracy), evidence)[0]]
        below.setdefault(draw.dataset, []).append(max(accuracy.values()) - chosen)
        above.setdefault(draw.dataset, []).append(chosen - accuracy["zero_shot"])
    regret = np.mean([np.mean(values) for values in below.values()])
    return f"{regret:.3f} ({min(np.mean(values) for values in above.values()) + 0.0:+.3f})"


def _evidence(found: Mapping[str, Any]) -> Evidence:
    held_out = {name: np.array(hits, dtype=bool) for name, hits in found["held_out"].items()}
    answers = {name: AnswerScores(*values) for name, values in found["answers"].items()}
    return Evidence(held_out, found["right"], answers, found["coherence"])


def _draws(seeds: int) -> list[Draw]:
    names = [name for name in DATASETS if name != "cifar100"]
    return [
        Draw(backbone, name, condition, seed)
        for seed in range(seeds)
        for backbone in BACKBONES
        for condition in CONDITIONS
        for name in names
    ]


def main() -> None:
    """Measure both backbones on every dataset but CIFAR-100."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side")
    parser.add_argument(
        "--output-dir", type=Path, default=Path("outputs"), help="whose store has the embeddings"
    )
    parser.add_argument("--out", type=Path, default=Path("outputs/methods/thresholds"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    draws = _draws(given.seeds)
    Parallel(given.jobs)(delayed(measure)(draw, given.output_dir, given.out) for draw in draws)
    found = {draw: json.loads(draw.file(given.out).read_text("utf-8")) for draw in draws}
    write_rows(HERE / "results" / "thresholds.csv", rows_of(found))


if __name__ == "__main__":
    main()
