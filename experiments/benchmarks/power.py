"""How often the rule of regressions fires, by simulation: `python -m experiments.benchmarks.power`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from experiments.benchmarks.pairs import FEWEST, Pairs, Taken

NOISES, FACTORS = (0.05, 0.1, 0.2, 0.4), (1.0, 1.2, 1.3, 1.5, 2.0)


def fired(factor: float, noise: float, trials: int, pairs: int = FEWEST) -> float:
    """Share of comparisons that call head slower in both rounds.

    Elapsed and CPU seconds of a run are independent log-normal draws: of real runs, whose clocks go together,
    false alarms are fewer.

    Parameters
    ----------
    factor : seconds of head over those of base.
    noise : standard deviation of the logarithm of a run's seconds.
    trials : comparisons drawn.
    pairs : runs of each version in a round.
    """
    random = np.random.default_rng(0)

    def slower() -> bool:
        base, head = np.exp(noise * random.standard_normal((2, pairs, len(Taken._fields))))
        return Pairs([Taken(*run) for run in base], [Taken(*run) for run in factor * head]).slower()

    return sum(slower() and slower() for _ in range(trials)) / trials


def table(noises: Sequence[float] = NOISES, factors: Sequence[float] = FACTORS, trials: int = 2_000) -> str:
    """Return a Markdown table of `fired`, in per cent.

    Parameters
    ----------
    noises, factors, trials : as in `fired`.
    """
    lines = [
        "| noise of a run | " + " | ".join(f"{factor:g} times" for factor in factors) + " |",
        "|---" * (1 + len(factors)) + "|",
    ]
    for noise in noises:
        shares = (fired(factor, noise, trials) for factor in factors)
        lines.append(f"| {noise:.0%} | " + " | ".join(f"{share:.1%}" for share in shares) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
