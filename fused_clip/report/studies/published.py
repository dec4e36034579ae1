"""The paper's Table 1 as data, and the rule by which a measurement reproduces one of its numbers."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

Verdict = Literal["not comparable", "reproduced", "not reproduced", "not measured", ""]
CLOSEST, FURTHEST = 0.01, 0.03  # bounds of the tolerance


@dataclass(frozen=True)
class Published:
    """The published table, and the setting in which it was measured.

    Parameters
    ----------
    weights : SHA-256 (hex) of files with the weights.
    options : accepted values of options of a run, by condition and option.
    splits : (train, test) images of each dataset.
    numbers : by (dataset, prompt, metric).
    corrections : reason why a number is wrong, by (dataset, prompt, metric).
    missing : classes printed as missing, by (dataset, prompt).
    """

    weights: frozenset[str]
    options: Mapping[str, Mapping[str, Sequence[str]]]
    splits: Mapping[str, tuple[int, int]]
    numbers: Mapping[tuple[str, str, str], float]
    corrections: Mapping[tuple[str, str, str], str]
    missing: Mapping[tuple[str, str], Sequence[str]]


def tolerance(spread: float) -> float:
    """Return how far a reproduced number may be off: two standard deviations, at least .01, at most .03.

    Parameters
    ----------
    spread : standard deviation over seeds.
    """
    return min(max(2 * spread, CLOSEST), FURTHEST)


def verdict(published: float | None, measured: Sequence[float], *, comparable: bool) -> Verdict:
    """Judge a published number by measurements with several seeds.

    Parameters
    ----------
    published : None where the paper has no number, which gets no verdict.
    measured : one value a seed.
    comparable : whether all of them meet the conditions of `fused_clip.report.studies.comparable`.
    """
    if published is None:
        return ""
    if not measured:
        return "not measured"
    if not comparable:
        return "not comparable"
    spread = statistics.stdev(measured) if len(measured) > 1 else 0.0
    off = abs(published - statistics.fmean(measured))
    near = off <= tolerance(spread) or math.isclose(off, tolerance(spread), abs_tol=1e-9)
    return "reproduced" if near else "not reproduced"


@cache
def load() -> Published:
    """Read the published numbers that ship with the package."""
    content: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "published.yaml").read_text("utf-8"))
    numbers = {
        (dataset, prompt, metric): float(value)
        for dataset, rows in content["table"].items()
        for prompt, values in rows.items()
        for metric, value in zip(content["metrics"], values, strict=True)
    }
    corrections = {
        (dataset, prompt, metric): one["reason"]
        for one in content["corrected"]
        for dataset in one.get("datasets", content["splits"])
        for prompt in one["prompts"]
        for metric in one["metrics"]
    }
    splits = {dataset: (train, test) for dataset, (train, test) in content["splits"].items()}
    missing = {
        (dataset, prompt): names
        for dataset, rows in content["missing"].items()
        for prompt, names in rows.items()
    }
    weights, options = frozenset(content["weights"]), content["options"]
    return Published(weights, options, splits, numbers, corrections, missing)
