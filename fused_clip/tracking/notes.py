"""The description of a run in MLflow: its numbers, and what they mean."""

from collections.abc import Mapping
from math import isfinite

from fused_clip.method.reference import known_references
from fused_clip.metrics.catalogue import METRICS
from fused_clip.metrics.numbers import number


def run_note(metrics: Mapping[str, float]) -> str:
    """Write a Markdown table of the metrics and references of a run; empty if it has none that is known.

    Parameters
    ----------
    metrics : as in `Result.metrics`.
    """
    rows = [
        (facts.title, number(metrics[name], facts.digits), facts.explanation, "")
        for name, facts in METRICS.items()
        if isfinite(metrics.get(name, float("nan")))
    ]
    rows += [
        (f"reference: {facts.title}", number(metrics[facts.accuracy]), facts.explanation, facts.uses_labels)
        for facts in known_references().values()
        if isfinite(metrics.get(facts.accuracy, float("nan")))
    ]
    if not rows:
        return ""
    head = ("metric", "value", "explanation", "uses labels")
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows))
