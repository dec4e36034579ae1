"""Constraints at prediction: possible targets, their frequencies, and groups of targets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fused_clip.support.arrays import BoolArray, DoubleArray, IntArray
from fused_clip.support.errors import InputError

_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Constraint:
    """Knowledge that narrows predictions, without training anew; every name is one of the model's targets.

    Parameters
    ----------
    targets : the targets that are possible, with their prompts and clusters; None for all.
    prior : how frequent each possible target is where the images come from: positive, summing to 1 within
        .001 (to allow for rounding). None for all as frequent as each other.
    groups : targets that are one answer, ``{name: [targets]}``; a target in none stays as it is.
    """

    targets: Sequence[str] | None = None
    prior: Mapping[str, float] | None = None
    groups: Mapping[str, Sequence[str]] | None = None


NOTHING_KNOWN = Constraint()


class Scope(NamedTuple):
    """A constraint as arrays.

    Parameters
    ----------
    names : (G,) answers, in the order of their first target.
    answer_of_target : (K,) answer that each target belongs to, in [0, G); -1 for one that is not possible.
    log_shift : (K,) what the prior adds to a target's log-probability.
    """

    names: tuple[str, ...]
    answer_of_target: IntArray
    log_shift: DoubleArray


def resolve(constraint: Constraint, names: Sequence[str], carried: BoolArray, *, calibrated: bool) -> Scope:
    """Check a constraint against a model, and turn it into arrays.

    Parameters
    ----------
    constraint : of the caller.
    names : K targets of the model.
    carried : (K,) whether the model can predict the target.
    calibrated : whether the model gives probabilities.

    Raises
    ------
    InputError
        On names that are no targets; if no target is left; on priors that are not positive, don't sum to 1
        or don't cover the possible targets; on a target in two groups, or a group named like another target.
    """
    possible = _possible(constraint.targets, names, carried)
    owner = _owners(constraint.groups or {}, names)
    answers = tuple(dict.fromkeys(owner[name] for name in possible))
    answer_of_target = [answers.index(owner[name]) if name in possible else -1 for name in names]
    shift = np.zeros(len(names))
    if constraint.prior is not None:
        if not calibrated:
            rule = "needs a calibrated model, and this one was made without labels: it gives no probabilities"
            raise InputError("prior", rule)
        shift = _shift(constraint.prior, possible, names)
    return Scope(answers, np.array(answer_of_target, dtype=np.int64), shift)


def _known(option: str, given: Sequence[str], names: Sequence[str]) -> None:
    for name in given:
        if name not in names:
            raise InputError(option, "must name targets of the model", name, choices=names)


def _possible(wanted: Sequence[str] | None, names: Sequence[str], carried: BoolArray) -> list[str]:
    """The wanted targets that can be predicted, in the model's order."""
    if wanted is not None:
        _known("targets", wanted, names)
    possible = [
        name
        for name, there in zip(names, carried, strict=True)
        if there and (wanted is None or name in wanted)
    ]
    if not possible:
        with_clusters = [name for name, there in zip(names, carried, strict=True) if there]
        rule = "must leave a target that the model can predict: one that a cluster carries"
        raise InputError("targets", rule, list(wanted or ()), choices=with_clusters)
    return possible


def _owners(groups: Mapping[str, Sequence[str]], names: Sequence[str]) -> dict[str, str]:
    """The answer that each target belongs to."""
    owner: dict[str, str] = {}
    for group, members in groups.items():
        _known("target_map", members, names)
        for member in members:
            if member in owner:
                rule = (
                    f"must put a target into one group, and {member!r} is in {owner[member]!r} and {group!r}"
                )
                raise InputError("target_map", rule)
            owner[member] = group
    alone = {name: name for name in names if name not in owner}
    for group in groups:
        if group in alone:
            rule = "must not name a group after a target that is not in it"
            raise InputError("target_map", rule, group)
    return alone | owner


def _shift(prior: Mapping[str, float], possible: Sequence[str], names: Sequence[str]) -> DoubleArray:
    """(K,) log(prior), by Bayes' rule.

    A softmax of distances says the same of all targets at the same distance, however frequent they were in
    training: it is the posterior under equal priors, and takes no division by training frequencies.
    """
    _known("prior", list(prior), names)
    lacking = [name for name in possible if name not in prior]
    if lacking:
        hint = "Give it one, or leave it out of targets"
        raise InputError("prior", "every possible target needs one, and lacks it", lacking[0], hint=hint)
    spare = [name for name in prior if name not in possible]
    if spare:
        raise InputError("prior", "must name possible targets only", spare[0], choices=possible)
    values = np.array([prior[name] for name in possible], dtype=np.float64)
    if not (np.isfinite(values) & (values > 0)).all():
        hint = "Leave impossible targets out of targets"
        raise InputError("prior", "must be positive numbers", dict(prior), hint=hint)
    if abs(values.sum() - 1) > _TOLERANCE:
        raise InputError("prior", "must sum to 1", round(float(values.sum()), 6))
    index = [names.index(name) for name in possible]
    shift = np.zeros(len(names))
    shift[index] = np.log(values / values.sum())
    return shift
