"""Draw the learning curve: `python -m experiments.compact_clip.learning_curve`."""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

from experiments.compact_clip.export import read_facts

HERE = Path(__file__).parent


def draw(model_dir: Path, target: Path) -> None:
    """Draw held-out zero-shot accuracy and loss by epoch, from `training.json`, as a PNG."""
    from matplotlib.figure import Figure

    curve = read_facts(model_dir)["learning_curve"]
    epochs = [row["epoch"] for row in curve]
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    for name in curve[-1]["held_out"]:
        axes.plot(epochs, [row["held_out"][name] for row in curve], label=name)
    for before, after in pairwise(curve):
        if before["image_size"] != after["image_size"]:
            axes.axvline(before["epoch"] + 0.5, color="0.8", linewidth=1)
            axes.text(before["epoch"] + 0.6, 0.02, f"{after['image_size']} px", color="0.4", fontsize=8)
    axes.set(xlabel="epoch", ylabel="zero-shot accuracy, held-out train rows", ylim=(0, 1))
    axes.legend(loc="lower right", fontsize=8)
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model-dir", type=Path, default=HERE.parents[1] / "fused_clip/assets/compact")
    parser.add_argument("--target", type=Path, default=HERE / "learning_curve.png")
    arguments = parser.parse_args()
    draw(arguments.model_dir, arguments.target)
