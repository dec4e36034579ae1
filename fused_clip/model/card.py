"""The card of a model: its facts as text, for pages and for the file README.md in its folder."""

from collections.abc import Sequence
from pathlib import PurePath

from fused_clip.model.facts import ModelFacts

_TARGETS = 30  # most targets that are listed


def card(facts: ModelFacts, names: Sequence[str] | None = None) -> dict[str, str]:
    """Name what a user has to know of a model, in the order to show it.

    Parameters
    ----------
    facts : contents of ``model.json``.
    names : answers that are possible; None for all targets.
    """
    training, backbone = facts.training, facts.backbone
    names = facts.target_names if names is None else names
    more = f" and {len(names) - _TARGETS:,} more" if len(names) > _TARGETS else ""
    labels = "with" if training.uses_labels else "without"
    held_out = training.calibration_rows
    return {
        "Trained on": f"{training.dataset}: {training.rows:,} images, {labels} labels",
        "Calibration": f"{held_out:,} images held out of training, for coverage and unknown images"
        if held_out
        else "no images held out: no guarantee of coverage",
        "Backbone": "not known: the model takes embeddings alone"
        if backbone is None
        else PurePath(backbone.model.rpartition(":")[2]).name,
        "Classifier": facts.classifier.name.rpartition(":")[2],
        "Targets": ", ".join(names[:_TARGETS]) + more,
        "Answers": "each depends on all images predicted together"
        if facts.transductive
        else "of each image by itself",
        "Probabilities": "none (uncalibrated): margins are shown"
        if facts.temperature is None
        else "calibrated",
    }


def as_markdown(facts: ModelFacts) -> str:
    """Write the card as Markdown.

    Parameters
    ----------
    facts : contents of ``model.json``.
    """
    rows = [f"| {name} | {_cell(value)} |" for name, value in card(facts).items()]
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    lines = ["# Model of fused_clip", "", "| | |", "|---|---|", *rows, f"| Made with | {versions} |", ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|").replace("<", "&lt;")
