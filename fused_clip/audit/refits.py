"""What a reference answers: the run's method with parts replaced, fitted and applied to the test rows."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from sklearn.base import clone

from fused_clip.audit.evidence import Run
from fused_clip.audit.fitting import Paired, fit
from fused_clip.estimator import PromptFusedClassifier
from fused_clip.method.classifier import Classifier, Training
from fused_clip.method.clusterer.wrapped import innermost
from fused_clip.method.fusion import LinearFusion
from fused_clip.method.parts import Method
from fused_clip.method.prompt import Prompts
from fused_clip.method.reference import Reference
from fused_clip.support.arrays import FloatArray, IntArray, Rows
from fused_clip.support.many_rows import row_blocks


class Outcome(NamedTuple):
    """What one draw of a reference gave.

    Parameters
    ----------
    predicted : (m,) target of each test row.
    clusters : (n,) its own partition of the training rows; None where it has none.
    """

    predicted: IntArray
    clusters: IntArray | None


def refits(run: Run, reference: Reference, draws: Iterable[int]) -> Iterator[Outcome]:
    """Evaluate a reference, once or for every draw; not at all where it changes nothing or lacks a text.

    Parameters
    ----------
    run : what the reference is compared with; its parts are those that are not replaced.
    reference : made for the run.
    draws : numbers of the draws of a random reference; draw i takes the seed ``seed + 1 + i``.

    Yields
    ------
    What each draw gave; one outcome where nothing is random.
    """
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
        for draw in draws if reference.options.random else (0,):
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
    test, train = (_best(fitted, rows) for rows in (run.test, run.train))
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
    return _best(clone(classifier).fit(training), test)


def _best(classifier: Classifier, rows: Rows) -> IntArray:
    """Best target of each row; of many rows by blocks, unless the answers depend on all of them."""
    blocks = [slice(0, len(rows))] if classifier.transductive else row_blocks(len(rows))
    return np.concatenate([classifier.target_scores(rows[own]).values.argmax(axis=1) for own in blocks])


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
