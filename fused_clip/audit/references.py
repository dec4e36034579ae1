"""The audit: the run's own method with parts replaced, on the same embeddings and test rows."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.metrics import accuracy_score, adjusted_rand_score

from fused_clip.audit.fitting import Paired, fit
from fused_clip.backbone.precomputed import UnknownTextError
from fused_clip.estimator import PromptFusedClassifier
from fused_clip.method.classifier import Classifier, Training
from fused_clip.method.clusterer.wrapped import innermost
from fused_clip.method.fusion import LinearFusion
from fused_clip.method.parts import Method, TextInputs
from fused_clip.method.prompt import Prompts
from fused_clip.method.reference import PREFIX, Reference
from fused_clip.method.words import has_words
from fused_clip.metrics.scores import purity
from fused_clip.support.arrays import FloatArray, IntArray, Rows

log = logging.getLogger(__name__)
ROTATED = "rotated_text"  # the control that `words_in_fusion` is measured against


def _as_it_is(clusterer: Any) -> Any:
    return clusterer


@dataclass(frozen=True)
class Run:
    """What a run and its references have in common.

    Parameters
    ----------
    method : its parts.
    model : fitted by it, on positions 0..K-1 as targets.
    prompts : its prompts; their targets are the run's.
    task : a truthful prompt for each class.
    embed : gives the (p, d) embeddings of prompts.
    train, test : (n, d) and (m, d) image embeddings.
    train_labels, test_labels : (n,) and (m,) class of each row; -1 where it is not known.
    predicted : (m,) its test predictions; None where they are undefined.
    known_labels : (n,) class of each training row whose label may be used, else -1.
    text_inputs : (rows of prompts, the prompts, known targets) -> what a text part may use.
    with_words : gives a clusterer that has words their embeddings.
    """

    method: Method
    model: PromptFusedClassifier
    prompts: Prompts
    task: Callable[[], Prompts]
    embed: Callable[[Prompts], FloatArray]
    train: FloatArray
    test: FloatArray
    train_labels: IntArray
    test_labels: IntArray
    predicted: IntArray | None
    known_labels: IntArray
    text_inputs: Callable[[FloatArray, Prompts, IntArray], TextInputs]
    with_words: Callable[[Any], Any] = _as_it_is

    @property
    def labelled(self) -> bool:
        """Whether the classes of all rows are known."""
        return bool((self.train_labels >= 0).all() and (self.test_labels >= 0).all())


class Audit(NamedTuple):
    """What the references gave.

    Parameters
    ----------
    metrics : ``reference/<name>_accuracy``, each in [0, 1]; ``reference/<name>_ari`` and ``_purity`` of
        those with a partition of their own; for a run with text ``words_in_fusion``, its test accuracy
        minus ``reference/rotated_text_accuracy``, and ``text_in_all``, its test accuracy minus the highest
        of the references that are `text_free_rival`.
    predictions : (m,) target of each test row by reference; of several draws, the first's.
    tags : ``text_in_all_against``, the name of that reference.
    """

    metrics: dict[str, float]
    predictions: dict[str, IntArray]
    tags: dict[str, str]


class Outcome(NamedTuple):
    """What one draw of a reference gave.

    Parameters
    ----------
    predicted : (m,) target of each test row.
    clusters : (n,) its own partition of the training rows; None where it has none.
    """

    predicted: IntArray
    clusters: IntArray | None


def audit(run: Run, references: Sequence[Reference], *, draws: int) -> Audit:
    """Evaluate every reference that applies to a run.

    Parameters
    ----------
    run : what was fitted, and on what.
    references : each replaces parts of the run's method.
    draws : repetitions of those that are random, at least 1; draw i takes the seed ``seed + 1 + i``.
    """
    metrics: dict[str, float] = {}
    predictions: dict[str, IntArray] = {}
    for reference in references:
        name = reference.facts.name
        try:
            outcomes = list(_outcomes(run, reference, draws)) if _applies(run, reference) else []
        except UnknownTextError as error:
            log.warning("No reference %s: %s", name, error)
            continue
        if outcomes:
            defined = name != ROTATED or run.predicted is not None
            predictions |= {name: outcomes[0].predicted} if defined else {}
            metrics |= _scores(run, name, outcomes, defined=defined) if run.labelled else {}
    contribution, tags = _contribution(run, metrics, references)
    return Audit(metrics | contribution, predictions, tags)


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
    run: Run, metrics: Mapping[str, float], references: Sequence[Reference]
) -> tuple[dict[str, float], dict[str, str]]:
    """What the words and all uses of text add to the accuracy, and the reference without text."""
    with_text = _answers_with_text(run.method, run.prompts)
    if not with_text or run.predicted is None or not run.labelled:
        return {}, {}
    accuracy = float(accuracy_score(run.prompts.targets(run.test_labels), run.predicted))
    found: dict[str, float] = {}
    if (rotated := metrics.get(f"{PREFIX}{ROTATED}_accuracy")) is not None:
        found["words_in_fusion"] = accuracy - rotated
    rivals = {
        one.facts.name: metrics[one.facts.accuracy]
        for one in references
        if one.facts.accuracy in metrics and text_free_rival(one, run)
    }
    if not rivals:
        return found, {}
    best = max(rivals, key=rivals.__getitem__)
    return found | {"text_in_all": accuracy - rivals[best]}, {"text_in_all_against": best}


def _scores(run: Run, name: str, outcomes: Sequence[Outcome], *, defined: bool) -> dict[str, float]:
    """Accuracy, and agreement of the partition with the targets; means over the draws."""
    scores: dict[str, float] = {}
    if defined:
        truth = run.prompts.targets(run.test_labels)
        accuracy = float(np.mean([accuracy_score(truth, one.predicted) for one in outcomes]))
        scores[f"{PREFIX}{name}_accuracy"] = accuracy
    parted = [one.clusters for one in outcomes if one.clusters is not None and (one.clusters >= 0).any()]
    if len(parted) == len(outcomes):
        targets = run.prompts.targets(run.train_labels)
        kept = [(targets[part >= 0], part[part >= 0]) for part in parted]
        scores[f"{PREFIX}{name}_ari"] = float(np.mean([adjusted_rand_score(*one) for one in kept]))
        scores[f"{PREFIX}{name}_purity"] = float(np.mean([purity(*one) for one in kept]))
    return scores


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


def _outcomes(run: Run, reference: Reference, draws: int) -> Iterator[Outcome]:
    """Evaluate a reference, once or for every draw; not at all where it changes nothing or lacks a text."""
    parts = {name: part for name, part in reference.parts.items() if name != "prompts"}
    method = replace(run.method, **parts)
    prompts: Prompts = reference.parts.get("prompts", run.prompts)
    if method.classifier.uses_text:
        if not prompts.texts and "prompts" in reference.parts:
            return
        prompts = prompts if prompts.distinguishes_targets else run.task()
    if method.classifier.transductive and len(run.test) < 2:
        return
    if not method.classifier.uses_clusters:
        if "classifier" in reference.parts:  # what else it replaces, such a classifier does not look at
            yield _without_clusters(run, method, prompts)
    elif not prompts.texts and getattr(innermost(method.clusterer), "uses_text", False):
        return
    elif reference.parts.keys() == {"classifier"}:
        targets = run.prompts.targets(run.known_labels) if (run.known_labels >= 0).any() else None
        changed = run.model.with_classifier(method.classifier, run.train, targets)
        yield Outcome(changed.predict(run.test), None)
    elif reference.options.random and _is_its_own_control(run):
        yield Outcome(run.model.predict(run.test), run.model.labels_)
    else:
        for draw in range(draws if reference.options.random else 1):
            yield _fitted_anew(run, method, prompts, reference, method.seed + 1 + draw)


def _is_its_own_control(run: Run) -> bool:
    """Whether replacing the text by a control changes nothing.

    One prompt for all shifts every fused row alike, whatever the prompt, if the fusion is linear.
    """
    fusion = run.method.fusion
    return len(run.prompts.texts) == 1 and isinstance(fusion, LinearFusion) and not fusion.normalize_output


def _without_clusters(run: Run, method: Method, prompts: Prompts) -> Outcome:
    """Predict by a classifier of images and prompts; the partition of zero-shot is what it predicts."""
    classifier, texts = method.classifier, None
    if classifier.uses_text:
        texts = run.embed(prompts)
    else:
        prompts = run.prompts
    count = len(prompts.target_names)
    if classifier.uses_labels:
        compute = _classified if method.memory is None else method.memory.cache(_classified)
        targets = prompts.targets(run.known_labels)
        stands_for = None if texts is None else prompts.prompt_of_target  # it would be another key
        predicted = compute(classifier, run.train, targets, run.test, count, method.seed, texts, stands_for)
        return Outcome(_mapped(run, prompts, predicted), None)
    training = Training(run.train, count, texts=texts, prompt_of_target=prompts.prompt_of_target)
    fitted = clone(classifier).fit(training)
    test, train = (fitted.target_scores(rows).values.argmax(axis=1) for rows in (run.test, run.train))
    return Outcome(_mapped(run, prompts, test), _mapped(run, prompts, train))


def _classified(
    classifier: Classifier,
    train: Rows,
    targets: IntArray,
    test: Rows,
    n_targets: int,
    seed: int,
    texts: FloatArray | None,
    prompt_of_target: IntArray | None,
) -> IntArray:
    training = Training(
        train, n_targets, None, None, None, texts, prompt_of_target, targets, random_state=seed
    )
    predicted: IntArray = clone(classifier).fit(training).target_scores(test).values.argmax(axis=1)
    return predicted


def _fitted_anew(run: Run, method: Method, prompts: Prompts, reference: Reference, seed: int) -> Outcome:
    """Fit the changed method, paired as the run was unless the pairing or the prompts change too."""
    if not prompts.texts:
        prompts = replace(run.prompts, texts=(), prompt_of_target=None)
    texts = _texts(run, prompts) if prompts.texts else np.empty((0, 0), np.float32)
    inputs = run.text_inputs(texts, prompts, prompts.targets(run.known_labels))
    index = run.model.prompt_index_ if prompts is run.prompts else None
    rows = texts
    if "text" in reference.parts and prompts.texts:
        rows = method.text_rows(inputs, seed)
    method = replace(method, clusterer=run.with_words(method.clusterer))
    if index is None or "pairing" in reference.parts:
        partition = partial(PromptFusedClassifier.of(method, prompts, rows).partition, run.train)
        paired = method.pair(run.train, texts, inputs.targets, prompts, partition)
        index = None if paired is None else paired.prompts
    model = fit(method, inputs, Paired(rows, index, ()), calibrate=False)
    return Outcome(_mapped(run, prompts, model.predict(run.test)), model.labels_)


def _texts(run: Run, prompts: Prompts) -> FloatArray:
    """Text rows of prompts: of the run's own, those that it fused."""
    own = prompts is run.prompts and run.model.text_embeddings is not None
    return np.asarray(run.model.text_embeddings) if own else run.embed(prompts)


def _mapped(run: Run, prompts: Prompts, targets: IntArray) -> IntArray:
    """Targets of the run; where the prompts' are classes and the run's are groups, the class's group."""
    same = len(prompts.target_names) == len(run.prompts.target_names)
    return targets if same else run.prompts.target_of_class[targets]
