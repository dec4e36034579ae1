"""Checks and warnings before a run."""

import logging
import unicodedata
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import clone

from fused_clip.backbone.base import Backbone
from fused_clip.backbone.supervision import set_of
from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.dataset.vectors import Vectors
from fused_clip.method.clusterer.wrapped import has_number, innermost
from fused_clip.method.hold_out import refuse_seen
from fused_clip.method.leak import check_leak
from fused_clip.method.parts import Method
from fused_clip.method.prompt import Prompts, task
from fused_clip.method.words import WORD, check_words
from fused_clip.support.errors import InputError, part_errors

log = logging.getLogger(__name__)

UNKNOWN_WITHOUT_LABELS = (
    "accuracy, recall and F1; agreement of clusters and targets (ARI, AMI, NMI, purity); accuracies of the"
    " references; the contribution of the text"
)
_LETTERS = {"Ll", "Lu", "Lt", "Lo"}


def check(method: Method, dataset: ImageDataset, prompts: Prompts, backbone: Backbone) -> None:
    """Refuse parts that do not go together, before anything is embedded.

    Parameters
    ----------
    method : the parts.
    dataset : its images, labelled or not.
    prompts : made for the dataset.
    backbone : embeds both.

    Raises
    ------
    InputError
        On a pairing, vote, text part, clusterer or classifier that the prompts do not allow, or that needs
        labels, words or a text tower where there are none; on fewer training images than clusters or
        neighbours; on fewer labels than a classifier's neighbours; on one test image for a transductive
        classifier; on vectors of another width; on calibration images that the backbone was trained on.
    """
    method.labels.check(dataset)
    if dataset.calibration is not None:
        refuse_seen(dataset.calibration, backbone.trained_on)
    check_leak(method, dataset)
    if not dataset.has_labels or method.labels.per_class == 0:
        refuse_parts_that_need_labels(method)
    partly = method.labels.per_class or not dataset.train.labelled
    if partly and method.pairing_uses_labels and len(prompts.texts) > 1:
        _refuse_untruthful(prompts, "pairing images without a label")
    if len(prompts.texts) > 1 and not method.pairing_uses_labels:
        _refuse_untruthful(prompts, "a label-free pairing")
    if method.vote == "prompt" and not prompts.distinguishes_targets:
        raise InputError("vote", "'prompt' needs a strategy with one truthful prompt a target")
    if method.vote == "prompt" and method.pairing_uses_labels:
        raise InputError("vote", "'prompt' needs a pairing without labels", hint="Use pairing=zero_shot")
    if method.classifier.uses_text and not prompts.texts:
        raise InputError("classifier", "needs prompts, and prompt=none has none")
    method.check_text(prompts)
    if prompts.texts and hasattr(method.text, "check"):
        method.text.check(prompts, backbone)
    if method.classifier.transductive and len(dataset.test) < 2:
        rule = "answers for all test images together and needs two or more, and the test split has"
        hint = "classifier=constrained_centroid and classifier=zero_shot answer for a single image"
        raise InputError("classifier", f"{rule} {len(dataset.test)}", hint=hint)
    _check_clusterer(method, prompts)
    _check_sizes(method, len(dataset.train), len(prompts.target_names))
    _check_neighbours(method, dataset)
    _check_width(dataset, backbone)
    check_words(method.clusterer, backbone)


def refuse_parts_that_need_labels(method: Method) -> None:
    """Refuse parts of the method that need labels, for images that have none.

    Parameters
    ----------
    method : the parts.

    Raises
    ------
    InputError
        If any of them needs labels.
    """
    hint = "pairing=zero_shot vote=prompt needs none, with prompts such as prompt=task"
    if method.vote != "prompt":
        raise InputError("vote", f"{method.vote!r} needs labels, and there are none", hint=hint)
    if method.pairing_uses_labels:
        raise InputError("pairing", "this pairing needs labels, and there are none", hint=hint)
    if method.text_uses_labels:
        raise InputError(
            "text", "this text part needs labels, and there are none", hint="text=prompt needs none"
        )
    if method.classifier.uses_labels:
        hint = "classifier=constrained_centroid needs none"
        raise InputError("classifier", "this classifier needs labels, and there are none", hint=hint)


def _refuse_untruthful(prompts: Prompts, what: str) -> None:
    if not prompts.truthful:
        rule = f"{what} needs truthful prompts, and those of prompt=swapped are not"
        raise InputError("pairing", rule)


def _check_sizes(method: Method, n_train: int, n_targets: int) -> None:
    number, n_rows = method.clusters_per_target, n_train
    if number == "auto":
        if not has_number(method.clusterer):
            rule = "'auto' needs a clusterer that is given the number of clusters"
            raise InputError("clusters_per_target", rule)
        number, n_rows = 1, n_train // 2  # each half is clustered
    n_clusters = number * n_targets
    if n_rows < n_clusters:
        needed = "twice as many" if method.clusters_per_target == "auto" else "as many"
        rule = f"makes {n_clusters} clusters, which need {needed} training images; there are {n_train}"
        raise InputError("clusters_per_target", rule, method.clusters_per_target)
    for name in ("n_neighbors", "min_cluster_size"):
        wanted = innermost(method.clusterer).get_params().get(name)
        if isinstance(wanted, int) and wanted > n_rows:
            raise InputError(f"clusterer.{name}", f"must be at most the {n_rows} training images", wanted)


def _check_clusterer(method: Method, prompts: Prompts) -> None:
    clusterer = innermost(method.clusterer)
    option = "clusterer" if clusterer is method.clusterer else "clusterer.base"
    if not hasattr(clusterer, "fit_predict"):
        raise InputError(option, "must be a clusterer", clusterer)
    _check_parameters(option, clusterer)
    if not getattr(clusterer, "uses_text", False):
        return
    if not prompts.texts:
        raise InputError("clusterer", "needs prompts, and prompt=none has none")
    number = 1 if method.clusters_per_target == "auto" else method.clusters_per_target
    clusterer.check_numbers(number * len(prompts.target_names), len(prompts.texts))


def _check_parameters(option: str, clusterer: Any) -> None:
    """Refuse parameters that scikit-learn refuses: it checks them before the rows, so none are needed."""
    if type(clusterer).__module__.startswith("sklearn."):
        try:
            with part_errors(option, clusterer):
                clone(clusterer).fit(np.empty((0, 1)))
        except InputError as error:
            if error.option != option:
                raise


def _check_neighbours(method: Method, dataset: ImageDataset) -> None:
    wanted = method.classifier.get_params().get("k") if method.classifier.uses_labels else None
    labelled = int((method.labels.known(dataset.train.labels) >= 0).sum())
    if isinstance(wanted, int) and wanted > labelled:
        raise InputError("classifier.k", f"must be at most the {labelled} labelled training images", wanted)


def _check_width(dataset: ImageDataset, backbone: Backbone) -> None:
    images = dataset.train.images
    if isinstance(images, Vectors) and images.dim != backbone.dim:
        rule = f"must have width {images.dim}, the width of the data's vectors"
        hint = "Name the backbone that made the vectors, or backbone=precomputed"
        raise InputError("backbone", rule, f"{backbone.dim} ({backbone.name})", hint=hint)


def notes(
    dataset: ImageDataset, prompts: Prompts, backbone: Backbone, *, audited: bool
) -> tuple[tuple[int, str], ...]:
    """Name images left out, metrics that stay unknown, and words or images new to a small backbone.

    Parameters
    ----------
    dataset : of the run.
    prompts : of the run.
    backbone : of the run.
    audited : whether the references, which need prompts of the classes, are computed.

    Returns
    -------
    Level, as of `logging`, and text of each.
    """
    return tuple(_notes(dataset, prompts, backbone, audited=audited))


def _notes(
    dataset: ImageDataset, prompts: Prompts, backbone: Backbone, *, audited: bool
) -> Iterator[tuple[int, str]]:
    if dataset.skipped:
        names = ", ".join(dataset.skipped)
        yield logging.WARNING, f"{len(dataset.skipped)} unreadable images are left out: {names}."
    if not dataset.labelled:
        whose = " of all images" if dataset.has_labels else ""
        yield logging.INFO, f"Without labels{whose} these stay unknown: {UNKNOWN_WITHOUT_LABELS}."
    of_classes = task(dataset).texts if audited and not prompts.distinguishes_classes else ()
    texts = [text for members in (*prompts.texts, *of_classes) for text in members]
    if backbone.language == "English" and (foreign := [text for text in texts if _is_foreign(text)]):
        yield logging.WARNING, f"{backbone.name} reads English, and may not know: {'; '.join(foreign[:5])}."
    if backbone.vocabulary is None:
        return
    words = len(backbone.vocabulary)
    yield (
        logging.INFO,
        f"backbone={backbone.name} was trained on {words} words: its figures are not OpenAI's ViT-B/32's.",
    )
    unknown = sorted(set(WORD.findall(" ".join(texts).lower())) - backbone.vocabulary)
    other = set_of(dataset.train.origin) not in map(set_of, backbone.trained_on)
    new = [f"the words {', '.join(unknown)}"] if unknown else []
    new += ["images of this dataset"] if other else []
    if new:
        yield (
            logging.WARNING,
            f"{backbone.name} was not trained on {' or on '.join(new)}: use backbone=open for photos.",
        )


def _is_foreign(text: str) -> bool:
    """Whether a text has letters of another script than Latin, or pictures such as emoji."""
    kinds = ((unicodedata.category(char), unicodedata.name(char, "")) for char in text)
    return any(kind == "So" or (kind in _LETTERS and not name.startswith("LATIN")) for kind, name in kinds)


def warn_of_other_images(backbone: Backbone) -> None:
    """Log `other_images`, if there is anything to warn of.

    Parameters
    ----------
    backbone : of a model that predicts.
    """
    if message := other_images(backbone):
        log.warning(message)


def other_images(backbone: Backbone) -> str:
    """Name the only datasets that a small backbone was trained on; empty for other backbones.

    Parameters
    ----------
    backbone : of a model that predicts.
    """
    if backbone.vocabulary is None:
        return ""
    sets = ", ".join(sorted(set(map(set_of, backbone.trained_on))))
    return f"{backbone.name} was trained on images of {sets} alone: for photos use backbone=open."
