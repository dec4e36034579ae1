"""Draw the learning curve: `python -m experiments.compact_clip.learning_curve`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from fused_clip.backbone.model_source import find_source
from fused_clip.support.errors import InputError


def draw(model: str, target: Path) -> None:
    """Draw held-out zero-shot accuracy by epoch, from `training.json`, as a PNG.

    Raises
    ------
    InputError
        If there is no such model, or no record of its accuracy.
    """
    from matplotlib.figure import Figure

    curve = find_source(model, None).training.get("learning_curve")
    if not curve:
        raise InputError("model", "must have a learning_curve in its training.json", model)
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.compact_clip.learning_curve", description=__doc__
    )
    parser.add_argument("--model", default="compact", help="as backbone.model")
    parser.add_argument("--target", type=Path, default=Path(__file__).with_name("learning_curve.png"))
    options = parser.parse_args(arguments)
    try:
        draw(options.model, options.target)
    except InputError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
