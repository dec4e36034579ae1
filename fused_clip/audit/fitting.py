"""Fit a method on embeddings, with no more work than its classifier asks for."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from sklearn.base import clone

from fused_clip.estimator import PromptFusedClassifier
from fused_clip.method.classifier import Classifier, Training
from fused_clip.method.parts import Method, TextInputs
from fused_clip.metrics.curve import Curve
from fused_clip.support.arrays import FloatArray, IntArray, Rows


class Paired(NamedTuple):
    """Text rows, and the prompt of each image.

    Parameters
    ----------
    texts : (p, d) rows that are fused.
    prompt_index : (n,) prompt of each image; None without text.
    curves : how the pairing got there.
    """

    texts: FloatArray
    prompt_index: IntArray | None
    curves: tuple[Curve, ...]


def pair(method: Method, inputs: TextInputs, written_from: TextInputs | None = None) -> Paired:
    """Make the text rows, and pair each image with a prompt.

    Parameters
    ----------
    method : the parts.
    inputs : images, known targets and prompts.
    written_from : what the text part sees in their place, under ``leak``.
    """
    texts = inputs.texts
    if inputs.prompts.texts:
        texts = method.text_rows(written_from or inputs)
    model = PromptFusedClassifier.of(method, inputs.prompts, texts)
    by = inputs.texts if method.text_is_control else texts
    partition = partial(model.partition, inputs.images)
    paired = method.pair(inputs.images, by, inputs.targets, inputs.prompts, partition)
    return Paired(texts, None, ()) if paired is None else Paired(texts, paired.prompts, paired.curves)


def fit(
    method: Method, inputs: TextInputs, paired: Paired, *, calibrate: bool = True
) -> PromptFusedClassifier:
    """Fuse, cluster, vote and fit the classifier; labels only where the method uses them.

    Parameters
    ----------
    method : the parts.
    inputs : images, known targets and prompts.
    paired : as `pair` gives it.
    calibrate : whether to find a temperature for probabilities.
    """
    model = PromptFusedClassifier.of(method, inputs.prompts, paired.texts)
    model.set_params(calibrate=calibrate)
    targets: IntArray | None = inputs.targets
    labelled = None if (inputs.targets >= 0).all() else inputs.targets >= 0
    if not method.uses_labels(inputs.prompts):
        targets, labelled = None, None
    model.fit(inputs.images, targets, paired.prompt_index, labelled)
    return model


def fit_classifier(
    method: Method,
    inputs: TextInputs,
    leaked: Mapping[str, tuple[Rows, IntArray]] = MappingProxyType({}),
) -> Classifier:
    """Fit the classifier of a method, without a partition where it uses none.

    Parameters
    ----------
    method : the parts.
    inputs : images, known targets and prompts.
    leaked : as in `Training`.
    """
    classifier = method.classifier
    if classifier.uses_clusters:
        model = fit(method, inputs, pair(method, inputs), calibrate=False)
        if leaked:
            model = model.with_classifier(classifier, inputs.images, inputs.targets, leaked)
        return model.classifier_
    prompts = inputs.prompts
    training = Training(inputs.images, len(prompts.target_names), random_state=method.seed, leaked=leaked)
    if prompts.prompt_of_target is not None:
        texts = method.text_rows(inputs)
        training = replace(training, texts=texts, prompt_of_target=prompts.prompt_of_target)
    if classifier.uses_labels:
        training = replace(training, targets=inputs.targets)
    fitted: Classifier = clone(classifier).fit(training)
    return fitted
