"""The method on one page: prompts, embeddings, pairing, fusion, clusters, votes, classes, scores."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from fused_clip.backbone.base import Backbone
from fused_clip.backbone.precomputed import UnknownTextError
from fused_clip.dataset.base import ImageDataset, Images
from fused_clip.estimator import PromptFusedClassifier
from fused_clip.method import checks, prompt
from fused_clip.method.fusion import LinearFusion
from fused_clip.method.labels import UNKNOWN
from fused_clip.method.method import Method, Stages
from fused_clip.method.prompt import Prompts
from fused_clip.method.references import Audit, Evidence, label_free, references
from fused_clip.method.text import ensemble
from fused_clip.metrics.scores import classification_scores, clustering_scores, purity
from fused_clip.model.head import Head
from fused_clip.result import Result, SplitResult
from fused_clip.support.arrays import FloatArray, IntArray

log = logging.getLogger(__name__)


class Embedder(Protocol):
    """What the pipeline asks of `fused_clip.store.Store`."""

    def images(self, backbone: Backbone, images: Images, rows: IntArray) -> FloatArray:
        """(n, d) embeddings of rows of a parent split."""

    def texts(self, backbone: Backbone, texts: Sequence[str]) -> FloatArray:
        """(p, d) embeddings."""


class Embedded(NamedTuple):
    """(n, d) training images, (m, d) test images, (p, d) prompts."""

    train: FloatArray
    test: FloatArray
    prompts: FloatArray


def run(
    dataset: ImageDataset,
    prompts: Prompts,
    backbone: Backbone,
    embedder: Embedder,
    method: Method,
    *,
    names: Mapping[str, str] | None = None,
    stages: Stages | None = None,
) -> Result:
    """Run the method on a dataset and audit it.

    Parameters
    ----------
    prompts : what a function of `fused_clip.method.prompt` made for the dataset.
    embedder : as `fused_clip.store.Store`.
    names : names of the parts, for titles and tags: ``prompt``, ``pairing``, ``text``, ...
    stages : collects the seconds of each stage.

    Raises
    ------
    InputError
        If the parts do not go together; before anything is embedded.
    """
    stages = stages or Stages()
    method.check(dataset, prompts)
    checks.check_width(dataset, backbone)
    checks.warn(dataset, prompts, backbone, audited=method.draws > 0)
    targets = prompts.targets(dataset.train.labels)
    test_targets = prompts.targets(dataset.test.labels)

    with stages("embed"):
        embedded = embed(dataset, prompts, backbone, embedder)
    with stages("pair"):
        index = method.pair(embedded.train, embedded.prompts, targets, prompts)
    with stages("fit"):
        model = method.estimator(embedded.prompts, prompts)
        model.fit(embedded.train, targets if dataset.labelled else None, prompt_index=index)
    with stages("classify"):
        train = _training_result(dataset, model, targets)
        test = _test_result(dataset, model, embedded.test, test_targets)
    with stages("score"):
        metrics = _scores(train, test, model, prompts)
    with stages("calibrate"):
        labels = targets if method.uses_labels(prompts) else None
        head = Head.of(model, prompts, embedded.train, labels, seed=method.seed)
        if head is not None and "test/accuracy" in metrics:
            metrics |= head.scores(embedded.test, test_targets)
    audit = Audit({}, {})
    if method.draws:
        with stages("references"):
            evidence = _evidence(dataset, prompts, backbone, embedder, embedded)
            predicted = test.predicted if "test/accuracy" in metrics else None
            audit = _audit(dataset, model, evidence, predicted, method)
    seconds = {f"seconds/{stage}": spent for stage, spent in stages.seconds.items()}
    return Result(
        dataset=dataset.name,
        prompt=(names or {}).get("prompt", ""),
        backbone=backbone.name,
        train=train,
        test=test,
        metrics=metrics | audit.metrics | seconds,
        tags=_tags(dataset, prompts, names or {}),
        uses_labels=method.uses_labels(prompts),
        backbone_saw_labels=bool({dataset.train.origin, dataset.test.origin} & backbone.trained_on),
        reference_predictions=audit.predictions,
        head=head,
        **_learnt(model, prompts),
    )


def embed(dataset: ImageDataset, prompts: Prompts, backbone: Backbone, embedder: Embedder) -> Embedded:
    """Embed the prompts, which tells at once if one is too long, and both splits; from the store if there."""
    texts = embed_prompts(prompts, backbone, embedder)
    train, test = (
        embedder.images(backbone, split.images, split.rows) for split in (dataset.train, dataset.test)
    )
    return Embedded(train, test, texts)


def embed_prompts(prompts: Prompts, backbone: Backbone, embedder: Embedder) -> FloatArray:
    """(p, d) one row a prompt; the texts of an ensemble are averaged. Without text (0, 0)."""
    if not prompts.texts:
        return np.empty((0, 0), dtype=np.float32)
    members = embedder.texts(backbone, [text for texts in prompts.texts for text in texts])
    ends = np.cumsum([len(texts) for texts in prompts.texts])
    return np.stack([ensemble(part) for part in np.split(members, ends[:-1])])


def _truthful(
    dataset: ImageDataset, prompts: Prompts, backbone: Backbone, embedder: Embedder, embedded: Embedded
) -> tuple[FloatArray | None, FloatArray | None]:
    """Text rows that tell the truth: one a target and one a class; None where they have no vectors."""
    if prompts.distinguishes_classes:
        return embedded.prompts, embedded.prompts
    own = embedded.prompts if prompts.distinguishes_targets else None
    try:
        of_classes = embed_prompts(prompt.task(dataset), backbone, embedder)
    except UnknownTextError as error:
        log.warning("No zero-shot reference of the classes: %s", error)
        return own, None
    return (of_classes if own is None else own), of_classes


def _evidence(
    dataset: ImageDataset, prompts: Prompts, backbone: Backbone, embedder: Embedder, embedded: Embedded
) -> Evidence:
    """What the audit is computed from."""
    truthful, of_classes = _truthful(dataset, prompts, backbone, embedder, embedded)
    return Evidence(
        embedded.train,
        embedded.test,
        prompts.targets(dataset.train.labels),
        prompts.targets(dataset.test.labels),
        truthful,
        of_classes,
        prompts.target_of_class,
    )


def _audit(
    dataset: ImageDataset,
    model: PromptFusedClassifier,
    evidence: Evidence,
    predicted: IntArray | None,
    method: Method,
) -> Audit:
    """What else explains `predicted`; without labels, what plain zero-shot would say."""
    if not dataset.labelled:
        return Audit({}, label_free(model, evidence))
    return references(model, evidence, predicted, draws=method.draws, seed=method.seed)


def _learnt(model: PromptFusedClassifier, prompts: Prompts) -> dict[str, Any]:
    """Parts of a result that are the model's and the prompts' own."""
    texts = model.text_embeddings
    return {
        "target_names": prompts.target_names,
        "texts": tuple(members[0] for members in prompts.texts),
        "text_embeddings": np.empty((0, 0)) if texts is None else np.asarray(texts),
        "cluster_targets": model.cluster_targets_,
        "cluster_centers": model.cluster_centers_.astype(np.float32),
        "missing_targets": tuple(prompts.target_names[target] for target in model.missing_targets_),
    }


def _training_result(dataset: ImageDataset, model: PromptFusedClassifier, targets: IntArray) -> SplitResult:
    """Training rows as clustered; what is predicted for a row is its cluster's target."""
    noise = model.labels_ < 0
    centers = model.cluster_centers_[model.labels_]
    distances = np.linalg.norm(model.fused_ - centers, axis=1)
    return SplitResult(
        tuple(dataset.train.ids),
        dataset.train.rows,
        np.full(len(targets), -1) if model.prompt_index_ is None else model.prompt_index_,
        np.asarray(model.fused_, dtype=np.float32),
        targets,
        model.labels_,
        np.where(noise, -1, model.cluster_targets_[model.labels_]),
        np.where(noise, np.nan, distances).astype(np.float32),
        np.full(len(targets), np.nan, dtype=np.float32),
    )


def _test_result(
    dataset: ImageDataset, model: PromptFusedClassifier, images: FloatArray, targets: IntArray
) -> SplitResult:
    """Test rows, each fused with the prompt that won."""
    assignment = model.assign(images)
    return SplitResult(
        tuple(dataset.test.ids),
        dataset.test.rows,
        assignment.prompts,
        np.asarray(model.transform(images), dtype=np.float32),
        targets,
        assignment.clusters,
        model.classes_[assignment.targets],
        assignment.distances,
        assignment.margins,
    )


def _scores(
    train: SplitResult, test: SplitResult, model: PromptFusedClassifier, prompts: Prompts
) -> dict[str, float]:
    known = train.targets if train.labelled else None
    scores = clustering_scores(train.fused, known, train.clusters, len(prompts.target_names))
    scores["missing_targets"] = float(len(model.missing_targets_))
    index, kept = model.prompt_index_, train.clusters >= 0
    if index is not None and len(prompts.texts) > 1 and kept.any():
        scores["train/prompt_purity"] = purity(index[kept], train.clusters[kept])
    if isinstance(model.fusion, LinearFusion) and model.fusion.image_weight == 0 and prompts.texts:
        log.warning("The fusion gives the image no weight: every test image ties, accuracy is undefined.")
        return scores
    if not test.labelled:
        return scores
    return scores | classification_scores(test.targets, test.predicted, prompts.target_names)


def _tags(dataset: ImageDataset, prompts: Prompts, names: Mapping[str, str]) -> dict[str, str]:
    pairing = names.get("pairing", "") if len(prompts.texts) > 1 else "none"
    tags = {
        "data_source": dataset.source,
        "data_fingerprint": dataset.fingerprint,
        "n_train": str(len(dataset.train)),
        "n_test": str(len(dataset.test)),
    }
    if not dataset.labelled:
        tags |= {"labels": "none", "not_known_without_labels": UNKNOWN}
    if dataset.skipped:
        tags["skipped_images"] = str(len(dataset.skipped))
    return {**names, **tags, "pairing": pairing}
