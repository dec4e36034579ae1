"""The audit: the run's own method with parts replaced, on the same embeddings and test rows."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from sklearn.metrics import accuracy_score, adjusted_rand_score

from fused_clip.audit.evidence import Run
from fused_clip.audit.refits import Outcome, refits
from fused_clip.audit.samples import SAMPLING, Sampling, sampled_runs
from fused_clip.backbone.precomputed import UnknownTextError
from fused_clip.method.parts import Method
from fused_clip.method.prompt import Prompts
from fused_clip.method.reference import PREFIX, Reference
from fused_clip.method.words import has_words
from fused_clip.metrics.intervals import prediction_interval
from fused_clip.metrics.scores import purity
from fused_clip.support.arrays import IntArray

log = logging.getLogger(__name__)
ROTATED = "rotated_text"  # the control that `words_in_fusion` is measured against


class Audit(NamedTuple):
    """What the references gave.

    Parameters
    ----------
    metrics : ``reference/<name>_accuracy``, each in [0, 1]; ``reference/<name>_ari`` and ``_purity`` of
        those with a partition of their own; for a run with text ``words_in_fusion``, its test accuracy
        minus ``reference/rotated_text_accuracy``, and ``text_in_all``, its test accuracy minus the highest
        of the references that are `text_free_rival`. A number from samples has ``<number>_low`` and
        ``<number>_high``, and the run's own accuracy on them is ``test/sampled_accuracy``.
    predictions : (m,) target of each test row by reference; of several draws or samples, the first's.
    tags : ``text_in_all_against``, the name of that reference, and ``references_sampled``, which references
        are fitted on which samples.
    """

    metrics: dict[str, float]
    predictions: dict[str, IntArray]
    tags: dict[str, str]


@dataclass
class _Samples:
    """The run on samples of its rows, fitted when the first reference needs them.

    Parameters
    ----------
    run : on all rows.
    sampling : of them.
    accuracies : of each reference that was fitted on the samples: on each of them.
    """

    run: Run
    sampling: Sampling
    accuracies: dict[str, list[float]] = field(default_factory=dict)

    @cached_property
    def runs(self) -> list[Run]:
        return list(sampled_runs(self.run, self.sampling))

    @cached_property
    def own(self) -> list[float]:
        """Accuracy of the run's method on each sample."""
        return [_accuracy(one, one.predicted) for one in self.runs if one.predicted is not None]

    def gains(self, name: str) -> list[float]:
        """Accuracy of the run's method minus a reference's, on each sample."""
        return [own - other for own, other in zip(self.own, self.accuracies[name], strict=True)]


def audit(run: Run, references: Sequence[Reference], *, draws: int, sampling: Sampling = SAMPLING) -> Audit:
    """Evaluate every reference that applies to a run.

    One that needs a fit on more than 100,000 rows is fitted on five samples of 20,000 instead: each number is
    the mean over the samples, with a 95 % interval for one fit. So is the run's own method, so that
    what text contributes compares fits on the same rows.

    Parameters
    ----------
    run : what was fitted, and on what.
    references : each replaces parts of the run's method.
    draws : repetitions of those that are random, at least 1; draw i takes the seed ``seed + 1 + i``. Sample i
        takes draw i modulo `draws`.
    sampling : when references are fitted on samples, and on which.
    """
    metrics: dict[str, float] = {}
    predictions: dict[str, IntArray] = {}
    samples = _Samples(run, sampling)
    for reference in references:
        name = reference.facts.name
        try:
            found = _evaluated(samples, reference, draws) if _applies(run, reference) else []
        except UnknownTextError as error:
            log.warning("No reference %s: %s", name, error)
            continue
        if found:
            defined = name != ROTATED or run.predicted is not None
            predictions |= {name: found[0][1].predicted} if defined else {}
            if run.labelled:
                metrics |= _scores(samples, reference, found, defined=defined)
    contribution, tags = _contribution(samples, metrics, references)
    return Audit(metrics | contribution | _of_samples(samples), predictions, tags | _sampled_tags(samples))


def _evaluated(samples: _Samples, reference: Reference, draws: int) -> list[tuple[Run, Outcome]]:
    """The outcomes of a reference, each with the run that it was fitted as: on all rows, or on a sample."""
    run = samples.run
    if not _needs_samples(run, reference, samples.sampling.exact_rows):
        return [(run, outcome) for outcome in refits(run, reference, range(draws))]
    return [
        (one, outcome)
        for number, one in enumerate(samples.runs)
        for outcome in refits(one, reference, [number % draws])
    ]


def _needs_samples(run: Run, reference: Reference, exact_rows: int) -> bool:
    """Whether a reference would be fitted on more than `exact_rows` rows."""
    parts = {name: part for name, part in reference.parts.items() if name != "prompts"}
    classifier = replace(run.method, **parts).classifier
    if classifier.uses_clusters:
        return reference.parts.keys() != {"classifier"} and len(run.train) > exact_rows
    return classifier.uses_labels and int((run.known_labels >= 0).sum()) > exact_rows


def text_free_rival(reference: Reference, run: Run) -> bool:
    """Whether a reference does without any text, and uses labels as the run's answers do.

    It has no text if it is fitted without prompts and its clusterer has no words, or classifies images
    without clusters. If the run's answers come from training labels, its own do too. If they do not, it may
    see labels to name its clusters: clusters of images have no names, so what can be had without text is then
    at most its accuracy.

    Parameters
    ----------
    reference : made for the run.
    run : with its labels known.
    """
    parts = {name: part for name, part in reference.parts.items() if name in ("classifier", "clusterer")}
    method = replace(run.method, **parts)
    if _answers_with_text(method, reference.parts.get("prompts", run.prompts)):
        return False
    if _answers_by_labels(run):
        return reference.options.uses_labels in ("yes", "for the vote", "as the run")
    return reference.options.uses_labels in ("no", "for the names", "as the run")


def _answers_with_text(method: Method, prompts: Prompts) -> bool:
    in_clusters = bool(prompts.texts) or has_words(method.clusterer)
    return method.classifier.uses_text or (method.classifier.uses_clusters and in_clusters)


def _answers_by_labels(run: Run) -> bool:
    """Whether training labels shape the run's answers, by more than names that are matched to clusters."""
    classifier, paired = run.method.classifier, replace(run.method, vote="prompt")
    clustered = run.method.vote == "label" or paired.uses_labels(run.prompts)
    return classifier.uses_labels or (classifier.uses_clusters and clustered)


def _contribution(
    samples: _Samples, metrics: Mapping[str, float], references: Sequence[Reference]
) -> tuple[dict[str, float], dict[str, str]]:
    """What the words and all uses of text add to the accuracy, and the reference without text."""
    run = samples.run
    with_text = _answers_with_text(run.method, run.prompts)
    if not with_text or run.predicted is None or not run.labelled:
        return {}, {}
    accuracy = _accuracy(run, run.predicted)
    known = {one.facts.name: one for one in references if one.facts.accuracy in metrics}
    gains = {name: [accuracy - metrics[one.facts.accuracy]] for name, one in known.items()}
    gains |= {name: samples.gains(name) for name in samples.accuracies}
    found = _averaged("words_in_fusion", gains[ROTATED]) if ROTATED in gains else {}
    rivals = [name for name, one in known.items() if text_free_rival(one, run)]
    if not rivals:
        return found, {}
    best = min(rivals, key=lambda name: float(np.mean(gains[name])))
    return found | _averaged("text_in_all", gains[best]), {"text_in_all_against": best}


def _scores(
    samples: _Samples, reference: Reference, found: Sequence[tuple[Run, Outcome]], *, defined: bool
) -> dict[str, float]:
    """Accuracy, and agreement of the partition with the targets; means over draws or samples."""
    name = reference.facts.name
    scores: dict[str, float] = {}
    on_samples = found[0][0] is not samples.run
    if defined:
        accuracies = [_accuracy(run, one.predicted) for run, one in found]
        scores |= _averaged("accuracy", accuracies if on_samples else [float(np.mean(accuracies))])
        samples.accuracies |= {name: accuracies} if on_samples else {}
    parted = [
        (run.prompts.targets(run.train_labels), one.clusters)
        for run, one in found
        if one.clusters is not None and (one.clusters >= 0).any()
    ]
    if len(parted) == len(found):
        kept = [(targets[clusters >= 0], clusters[clusters >= 0]) for targets, clusters in parted]
        for measure, score in (("ari", adjusted_rand_score), ("purity", purity)):
            values = [float(score(*one)) for one in kept]
            scores |= _averaged(measure, values if on_samples else [float(np.mean(values))])
    return {f"{PREFIX}{name}_{measure}": value for measure, value in scores.items()}


def _accuracy(run: Run, predicted: IntArray) -> float:
    return float(accuracy_score(run.prompts.targets(run.test_labels), predicted))


def _averaged(name: str, values: Sequence[float]) -> dict[str, float]:
    """The mean, with an interval where there are values of several samples."""
    if len(values) == 1:
        return {name: values[0]}
    low, high = prediction_interval(values)
    return {name: float(np.mean(values)), f"{name}_low": low, f"{name}_high": high}


def _of_samples(samples: _Samples) -> dict[str, float]:
    """Accuracy of the run's own method on the samples, which tells what fewer rows cost."""
    return _averaged("test/sampled_accuracy", samples.own) if samples.accuracies and samples.own else {}


def _sampled_tags(samples: _Samples) -> dict[str, str]:
    names = ", ".join(samples.accuracies)
    return {"references_sampled": f"{names}: {samples.sampling.described}"} if names else {}


def _applies(run: Run, reference: Reference) -> bool:
    options, prompts = reference.options, run.prompts
    conditions = {
        "always": True,
        "grouped": len(prompts.target_names) != len(prompts.target_of_class),
        "text": bool(prompts.texts),
        "no labels": not _answers_by_labels(run),
    }
    as_run = options.uses_labels == "as the run" and not run.method.uses_labels(prompts)
    label_free = options.uses_labels == "no" or as_run
    if not run.labelled:
        return conditions[options.when] and label_free and not options.random
    return conditions[options.when] and (label_free or bool((run.known_labels >= 0).any()))
