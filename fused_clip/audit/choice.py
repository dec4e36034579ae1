"""The choice among methods: by cross-validation with labels, by agreement with clusters without."""

import functools
import logging
from collections.abc import Mapping, Sequence
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


class AnswerScores(NamedTuple):
    """How a candidate answers when it sees no labels, or one of each target.

    Parameters
    ----------
    found_again : `generalisation_score` of the answers, in [0, 1].
    agreement : share of rows, in [0, 1], that it answers as the first candidate does.
    """

    found_again: float
    agreement: float


class Evidence(NamedTuple):
    """What candidates are compared by; the first is the safe one.

    Parameters
    ----------
    held_out : with two labels a target or more: (n,) whether each labelled row was right while its label was
        hidden, by candidate. Empty with fewer.
    right : with one label of the rarest target: the share of labelled rows, in [0, 1], on which the first is
        right. None otherwise.
    answers : with fewer than two labels: of each candidate, or, with one label, of the first and those that
        answer by clusters.
    coherence : with fewer than two labels: adjusted mutual information, at most 1, of the first's answers and
        k-means clusters of the images. 0 otherwise.
    """

    held_out: Mapping[str, BoolArray]
    right: float | None
    answers: Mapping[str, AnswerScores]
    coherence: float


@dataclass(frozen=True)
class Rule:
    """When another candidate takes the place of the first.

    The thresholds were set on training images (``experiments/methods/thresholds.py``).

    Parameters
    ----------
    good : share of held-out rows on which the first must be right to stay; else the second takes its place.
    sure : standard errors of the paired difference by which the best must be ahead of that one.
    right : as `good`, with one label.
    coherence : least coherence of the first's answers, without which they are kept.
    gain : least gain in the generalisation score.
    agreement : least share of rows that a candidate must answer as the first does.
    """

    good: float = 0.8
    sure: float = 1.5
    right: float = 0.5
    coherence: float = 0.3
    gain: float = 0.05
    agreement: float = 0.6

    def decide(self, names: Sequence[str], evidence: Evidence) -> tuple[str, str]:
        """Give the name of the candidate that is chosen, and the reason.

        Parameters
        ----------
        names : of all candidates, in order.
        evidence : about them.
        """
        if evidence.held_out:
            return self._by_held_out_rows(names[0], names[1], evidence.held_out)
        if evidence.right is not None and evidence.right < self.right:
            return names[1], f"{names[0]} is right on {evidence.right:.2f} of the labelled rows"
        return self._by_clusters(names[0], evidence)

    def _by_held_out_rows(self, first: str, second: str, hits: Mapping[str, BoolArray]) -> tuple[str, str]:
        scores = {name: float(right.mean()) for name, right in hits.items()}
        expected = first if scores[first] >= self.good else second
        best = max(scores, key=scores.__getitem__)
        ahead = hits[best].astype(float) - hits[expected]
        clear = bool(ahead.mean() > self.sure * float(ahead.std() / np.sqrt(len(ahead))))
        chosen = best if clear else expected
        said = f"right on {scores[chosen]:.3f} of {len(ahead)} labelled rows when held out"
        rivals = [name for name in dict.fromkeys((first, expected, best)) if name != chosen]
        also = "".join(f", {name} on {scores[name]:.3f}" for name in rivals)
        return chosen, f"{said}{also}" + (
            "" if clear or best == expected else ", which is not clearly better"
        )

    def _by_clusters(self, first: str, evidence: Evidence) -> tuple[str, str]:
        answers = evidence.answers
        if evidence.coherence < self.coherence:
            said = "its answers do not follow clusters of the images, so clusters can't improve it"
            return first, f"{said} (adjusted mutual information {evidence.coherence:.2f})"
        near = [name for name, own in answers.items() if own.agreement >= self.agreement]
        best = max(near, key=lambda name: answers[name].found_again)
        ahead = answers[best].found_again - answers[first].found_again
        if ahead < self.gain:
            said = "a linear classifier predicts the answers of no similar candidate much better than its own"
            return first, f"{said} (best: {best}, {ahead:+.3f})"
        said = (
            f"a linear classifier predicts {answers[best].found_again:.3f} of its answers on held-out images"
        )
        return best, f"{said}, and {answers[first].found_again:.3f} of those of {first}"


def choose(candidates: Sequence[Candidate], inputs: TextInputs, seed: int) -> ChosenMethod:
    """Choose a method by the labels that are known; no test row takes part.

    With two labels a target or more, by labelled rows that are held out. With one, the second candidate if
    the first is wrong on more than half of the labelled rows, else as without labels: by how well the answers
    are found again, if those of the first follow clusters. See `Rule`.

    Parameters
    ----------
    candidates : at least one. The first is the safe one, such as zero-shot; the second is expected to be
        best with so many labels.
    inputs : training images, known targets and prompts.
    seed : draws rows and folds.
    """
    if len(candidates) == 1:
        return ChosenMethod(candidates[0], "it is the only candidate", {})
    evidence = gather(candidates, inputs, seed)
    name, reason = Rule().decide([one.name for one in candidates], evidence)
    scores = {key: own.found_again for key, own in evidence.answers.items()}
    scores |= {key: float(hits.mean()) for key, hits in evidence.held_out.items()}
    return ChosenMethod(next(one for one in candidates if one.name == name), reason, scores)


def gather(candidates: Sequence[Candidate], inputs: TextInputs, seed: int) -> Evidence:
    """Compare candidates on at most 2,000 labelled rows, and as many others.

    Labelled rows are held out in five folds, or as many as the rarest target has labels.

    Parameters
    ----------
    candidates, inputs, seed : as for `choose`; at least two candidates.
    """
    inputs = _sampled(inputs, seed)
    known = np.flatnonzero(inputs.targets >= 0)
    if not len(known):
        return Evidence({}, None, *_without_labels(candidates, inputs, seed))
    least = int(np.bincount(inputs.targets[known], minlength=len(inputs.prompts.target_names)).min())
    if least < 2:
        first = candidates[0]
        right = _predicted(first.method, inputs, inputs.images[known]) == inputs.targets[known]
        able = [one for one in candidates if one is first or one.method.classifier.uses_clusters]
        return Evidence({}, float(right.mean()), *_without_labels(able, inputs, seed))
    parts = StratifiedKFold(min(_FOLDS, least), shuffle=True, random_state=seed)
    folds = [known[rows] for _, rows in parts.split(known, inputs.targets[known])]
    return Evidence({one.name: _held_out_hits(one.method, inputs, folds) for one in candidates}, None, {}, 0)


def _sampled(inputs: TextInputs, seed: int) -> TextInputs:
    """At most 2,000 labelled rows, stratified, and as many others."""
    labelled, others = np.flatnonzero(inputs.targets >= 0), np.flatnonzero(inputs.targets < 0)
    kept = labelled[stratified_sample(inputs.targets[labelled], _ROWS, seed)]
    if len(others) > _ROWS:
        others = np.random.default_rng(seed).choice(others, _ROWS, replace=False)
    rows = np.sort(np.concatenate([kept, others]))
    return replace(inputs, images=inputs.images[rows], targets=inputs.targets[rows])


def _held_out_hits(method: Method, inputs: TextInputs, folds: Sequence[IntArray]) -> BoolArray:
    """Whether each labelled row is right when its fold's labels are hidden."""
    hits = []
    for fold in folds:
        hidden = inputs.targets.copy()
        hidden[fold] = -1
        predicted = _predicted(method, replace(inputs, targets=hidden), inputs.images[fold])
        hits.append(predicted == inputs.targets[fold])
    return np.concatenate(hits)


def _without_labels(
    candidates: Sequence[Candidate], inputs: TextInputs, seed: int
) -> tuple[dict[str, AnswerScores], float]:
    """What each candidate answers, and how far the first's answers follow clusters."""
    first = candidates[0].name
    predicted = {one.name: _predicted(one.method, inputs, inputs.images) for one in candidates}
    found_again = functools.cache(lambda name: _found_again(inputs, predicted[name], seed))
    answers = {}
    for name, own in predicted.items():
        agreement = float((own == predicted[first]).mean())
        answers[name] = AnswerScores(found_again(first if agreement == 1 else name), agreement)
    clusters = KMeans(len(inputs.prompts.target_names), n_init=1, random_state=seed)
    found = clusters.fit_predict(l2_normalized(inputs.images))
    return answers, float(adjusted_mutual_info_score(found, predicted[first]))


def _found_again(inputs: TextInputs, answers: IntArray, seed: int) -> float:
    return generalisation_score(inputs.images, answers, seed) if len(np.unique(answers)) > 1 else 0.0


def _predicted(method: Method, inputs: TextInputs, images: Rows) -> IntArray:
    scores = fit_classifier(method, inputs).target_scores(images).values
    return np.asarray(scores.argmax(axis=1))
