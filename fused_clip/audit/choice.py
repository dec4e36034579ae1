"""The choice among methods: by cross-validation with labels, by agreement with clusters without."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.model_selection import StratifiedKFold

from fused_clip.audit.fitting import fit_classifier
from fused_clip.method.clusterer.generalisation import generalisation_score
from fused_clip.method.fusion import l2_normalized
from fused_clip.method.parts import Method, TextInputs
from fused_clip.support.arrays import BoolArray, IntArray, Rows
from fused_clip.support.sampling import stratified_sample

log = logging.getLogger(__name__)
_ROWS = 2000  # labelled rows, and as many others, on which candidates are compared
_FOLDS = 5
# Set on training splits whose labels are known (experiments/methods): where the prompts' answers do not
# follow clusters of the images, clusters named by them are wrong; where they follow closely, none is better.
_COHERENT = 0.3  # least adjusted mutual information of the prompts' answers and clusters of the images
_GAIN = 0.05  # least gain in the generalisation score
_AGREEMENT = 0.7  # least share of answers that stay those of the prompts
_SURE = 2.0  # standard errors by which a candidate must be ahead of the first


@dataclass(frozen=True)
class Candidate:
    """A method that may be chosen.

    Parameters
    ----------
    name : as in the options.
    method : its parts.
    """

    name: str
    method: Method


class ChosenMethod(NamedTuple):
    """What was chosen, and why.

    Parameters
    ----------
    candidate : the chosen one.
    reason : one sentence.
    scores : of each candidate, by name.
    """

    candidate: Candidate
    reason: str
    scores: dict[str, float]


def choose(candidates: Sequence[Candidate], inputs: TextInputs, seed: int) -> ChosenMethod:
    """Choose a method by the labels that are known: the first candidate unless another is clearly better.

    With two labels a target or more: cross-validation on the labelled rows, at most 2,000 of them, in five
    folds or as many as the rarest target has labels. A candidate must be ahead of the first by more than two
    standard errors of the paired difference. With one label, which can't be held out: the second candidate if
    the first is wrong on more than half of the labelled rows. Without labels: the candidate whose answers a
    linear classifier finds again best (`generalisation_score`), of those that agree with the first on .7 of
    the rows, if that is .05 above the first's and the first's answers follow clusters of the images;
    otherwise the first. No test row takes part.

    Parameters
    ----------
    candidates : at least one; the first is the safe one, such as zero-shot.
    inputs : training images, known targets and prompts.
    seed : draws rows and folds.
    """
    if len(candidates) == 1:
        return ChosenMethod(candidates[0], "it is the only candidate", {})
    inputs = _sampled(inputs, seed)
    if (inputs.targets >= 0).any():
        return _by_labels(candidates, inputs, seed)
    return _without_labels(candidates, inputs, seed)


def _sampled(inputs: TextInputs, seed: int) -> TextInputs:
    """At most 2,000 labelled rows, stratified, and as many others."""
    labelled, others = np.flatnonzero(inputs.targets >= 0), np.flatnonzero(inputs.targets < 0)
    kept = labelled[stratified_sample(inputs.targets[labelled], _ROWS, seed)]
    if len(others) > _ROWS:
        others = np.random.default_rng(seed).choice(others, _ROWS, replace=False)
    rows = np.sort(np.concatenate([kept, others]))
    return replace(inputs, images=inputs.images[rows], targets=inputs.targets[rows])


def _by_labels(candidates: Sequence[Candidate], inputs: TextInputs, seed: int) -> ChosenMethod:
    known = np.flatnonzero(inputs.targets >= 0)
    least = np.bincount(inputs.targets[known], minlength=len(inputs.prompts.target_names)).min()
    if least < 2:
        return _by_one_label(candidates, inputs, known)
    parts = StratifiedKFold(min(_FOLDS, least), shuffle=True, random_state=seed)
    folds = [known[rows] for _, rows in parts.split(known, inputs.targets[known])]
    hits = {one.name: _held_out_hits(one.method, inputs, folds) for one in candidates}
    scores = {name: float(right.mean()) for name, right in hits.items()}
    first = candidates[0]
    best = max(candidates, key=lambda one: scores[one.name])
    ahead = hits[best.name].astype(float) - hits[first.name]
    error = float(ahead.std() / np.sqrt(len(ahead)))
    said = f"{scores[best.name]:.3f} of {len(ahead)} labelled rows right when held out, {first.name}"
    if best is first or ahead.mean() <= _SURE * error:
        reason = f"no candidate is ahead of it by more than two standard errors on {len(ahead)} labelled rows"
        return ChosenMethod(first, f"{reason} (best: {best.name}, {scores[best.name]:.3f})", scores)
    return ChosenMethod(best, f"{said} {scores[first.name]:.3f}", scores)


def _by_one_label(candidates: Sequence[Candidate], inputs: TextInputs, known: IntArray) -> ChosenMethod:
    first, second = candidates[:2]
    predicted = _predicted(first.method, inputs, inputs.images[known])
    right = float((predicted == inputs.targets[known]).mean())
    reason = f"{first.name} is right on {right:.2f} of the {len(known)} labelled rows"
    return ChosenMethod(first if right >= 0.5 else second, reason, {first.name: right})


def _held_out_hits(method: Method, inputs: TextInputs, folds: Sequence[IntArray]) -> BoolArray:
    """Whether each labelled row is right when its fold's labels are hidden."""
    hits = []
    for fold in folds:
        hidden = inputs.targets.copy()
        hidden[fold] = -1
        predicted = _predicted(method, replace(inputs, targets=hidden), inputs.images[fold])
        hits.append(predicted == inputs.targets[fold])
    return np.concatenate(hits)


def _without_labels(candidates: Sequence[Candidate], inputs: TextInputs, seed: int) -> ChosenMethod:
    first, count = candidates[0], len(inputs.prompts.target_names)
    answers = {one.name: _predicted(one.method, inputs, inputs.images) for one in candidates}
    scores = {name: _found_again(inputs, own, seed) for name, own in answers.items()}
    clusters = KMeans(count, n_init=1, random_state=seed).fit_predict(l2_normalized(inputs.images))
    coherent = float(adjusted_mutual_info_score(clusters, answers[first.name]))
    near = [one for one in candidates if (answers[one.name] == answers[first.name]).mean() >= _AGREEMENT]
    best = max(near, key=lambda one: scores[one.name])
    gain = scores[best.name] - scores[first.name]
    if coherent < _COHERENT:
        rule = "its answers do not follow clusters of the images, so clusters can't improve it"
        return ChosenMethod(first, f"{rule} (adjusted mutual information {coherent:.2f})", scores)
    if gain < _GAIN:
        rule = "a linear classifier finds no candidate's answers again much better that are close to its own"
        return ChosenMethod(first, f"{rule} (best: {best.name}, +{gain:.3f})", scores)
    reason = f"a linear classifier finds its answers again in {scores[best.name]:.3f} of held-out rows"
    return ChosenMethod(best, f"{reason}, those of {first.name} in {scores[first.name]:.3f}", scores)


def _found_again(inputs: TextInputs, answers: IntArray, seed: int) -> float:
    return generalisation_score(inputs.images, answers, seed) if len(np.unique(answers)) > 1 else 0.0


def _predicted(method: Method, inputs: TextInputs, images: Rows) -> IntArray:
    scores = fit_classifier(method, inputs).target_scores(images).values
    return np.asarray(scores.argmax(axis=1))
