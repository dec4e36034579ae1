"""The method on one page: prompts, embeddings, pairing, fusion, clusters, votes, classes, scores."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from fused_clip.audit import Audit, Run, audit
from fused_clip.audit.choice import Candidate, ChosenMethod, choose
from fused_clip.audit.fitting import fit, pair
from fused_clip.backbone.base import Backbone
from fused_clip.backbone.supervision import seen_classes
from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.estimator import PromptFusedClassifier
from fused_clip.method import checks, prompt
from fused_clip.method.classifier import TargetScores
from fused_clip.method.embedding import Embedded, Embedder, embed, embed_members, embed_prompts, embed_words
from fused_clip.method.leak import leaked_rows, leaky_classifier, leaky_dataset, leaky_scores
from fused_clip.method.parts import Method, TextInputs
from fused_clip.method.prompt import Prompts
from fused_clip.method.reference import Reference
from fused_clip.method.spacing import prompt_spacing
from fused_clip.metrics.curve import Curve
from fused_clip.metrics.scores import classification_scores, clustering_scores, purity, rounded
from fused_clip.model.calibration_rows import NEIGHBORS, REFERENCE_ROWS, CalibrationRows
from fused_clip.model.head import Head
from fused_clip.model.result import Result, SplitResult
from fused_clip.support.arrays import FloatArray, IntArray
from fused_clip.support.many_rows import row_blocks
from fused_clip.support.sampling import stratified_sample
from fused_clip.support.threads import limited_for
from fused_clip.support.timing import Stages

log = logging.getLogger(__name__)


def run(
    dataset: ImageDataset,
    prompts: Prompts,
    backbone: Backbone,
    embedder: Embedder,
    method: Method,
    *,
    references: Sequence[Reference] = (),
    candidates: Sequence[Candidate] = (),
    draws: int = 1,
    names: Mapping[str, str] | None = None,
    stages: Stages | None = None,
    warn: bool = True,
) -> Result:
    """Run the method on a dataset and audit it.

    Parameters
    ----------
    dataset : images of two splits.
    prompts : what a function of `fused_clip.method.prompt` made for the dataset.
    backbone : embeds images and prompts.
    embedder : keeps embeddings, as `fused_clip.store.Store` does.
    method : the parts that follow the embedding.
    references : evaluated with the method; see `fused_clip.audit`.
    candidates : methods among which one is chosen in place of `method`; see `fused_clip.audit.choice`.
    draws : repetitions of random references.
    names : names of the parts, for titles and tags: ``prompt``, ``pairing``, ``text``, ...
    stages : collects the seconds of each stage.
    warn : whether to log the notes of `fused_clip.method.checks`.

    Raises
    ------
    InputError
        If the parts do not go together; before anything is embedded.
    """
    stages, names = stages or Stages(), names or {}
    checks.check(method, dataset, prompts, backbone)
    if method.leak is not None:
        log.warning("leak=%s: the method uses test labels, so its accuracy is no result.", method.leak)
    dataset = leaky_dataset(method.leak, dataset)
    notes = checks.notes(dataset, prompts, backbone, audited=bool(references))
    for level, note in notes if warn else ():
        log.log(level, "%s", note)
    with_words = partial(embed_words, backbone=backbone, embedder=embedder)
    with stages("embed"):
        method = replace(method, clusterer=with_words(method.clusterer))
        embedded = embed(dataset, prompts, backbone, embedder)
    with limited_for(max(embedded.train.size, embedded.test.size)):
        known = prompts.targets(method.labels.known(dataset.train.labels))
        tested = prompts.targets(dataset.test.labels)
        inputs = TextInputs(embedded.prompts, embedded.members, prompts, embedded.train, known, backbone)
        choice = None
        if candidates:
            with stages("choose"):
                choice = _choice(candidates, inputs, with_words)
                method = choice.candidate.method
        uses_labels = method.uses_labels(prompts) or (choice is not None and bool((known >= 0).any()))
        model, curves = _fitted(method, inputs, embedded.test, tested, stages)
        head = Head.of(model, prompts)
        with stages("classify"):
            scores = leaky_scores(method.leak, model.target_scores(embedded.test), tested)
            train = _training_result(dataset, prompts, model)
            test = _test_result(dataset, prompts, model, embedded.test, scores)
        with stages("score"):
            metrics = _scores(train, test, model, prompts) | _spacing(embedded.train, model, method.seed)
            metrics["labels_used"] = float((known >= 0).sum()) if uses_labels else 0.0
            metrics |= {f"chosen/{name}": value for name, value in model.classifier_.chosen_.items()}
            if method.clusters_per_target == "auto":
                metrics["chosen/clusters_per_target"] = float(model.clusters_per_target_)
            if choice is not None:
                metrics |= {f"choice/{name}": score for name, score in choice.scores.items()}
            if "test/accuracy" in metrics:
                metrics |= head.calibration(scores, test.targets)
        audited = Audit({}, {}, {})
        if references:
            predicted = test.predicted if "test/accuracy" in metrics else None
            with stages("references"):
                embedding = partial(embed_prompts, backbone=backbone, embedder=embedder)
                writing = partial(_text_inputs, embedded.train, backbone, embedder)
                evidence = _evidence(
                    dataset, prompts, embedded, method, model, predicted, embedding, writing, with_words
                )
                audited = audit(evidence, references, draws=draws)
    seconds = {f"seconds/{stage}": spent for stage, spent in stages.seconds.items()}
    seen = seen_classes(dataset, backbone, [prompts.target_names[i] for i in prompts.target_of_class])
    return Result(
        dataset=dataset.name,
        prompt=names.get("prompt", ""),
        backbone=backbone.name,
        train=train,
        test=test,
        metrics=metrics | audited.metrics | seconds,
        tags=_tags(dataset, prompts, names, notes, seen, method, choice) | audited.tags,
        uses_labels=uses_labels,
        backbone_saw_labels=bool(seen),
        reference_predictions=audited.predictions,
        curves=curves,
        head=None if method.leak else head,
        calibration=_calibration(dataset, prompts, embedded, model, method.seed),
        **_learnt(model, prompts),
    )


def _calibration(
    dataset: ImageDataset, prompts: Prompts, embedded: Embedded, model: PromptFusedClassifier, seed: int
) -> CalibrationRows | None:
    """Calibration images, and training images of every cluster to compare them with."""
    if dataset.calibration is None or embedded.calibration is None:
        return None
    some = stratified_sample(model.labels_, REFERENCE_ROWS, seed, least=NEIGHBORS)
    owners = np.where(model.labels_ < 0, -1, model.cluster_targets_[model.labels_])
    return CalibrationRows(
        np.asarray(embedded.calibration, dtype=np.float32),
        prompts.targets(dataset.calibration.labels),
        np.asarray(embedded.train[some], dtype=np.float32),
        np.asarray(owners[some], dtype=np.int64),
    )


def _evidence(
    dataset: ImageDataset,
    prompts: Prompts,
    embedded: Embedded,
    method: Method,
    model: PromptFusedClassifier,
    predicted: IntArray | None,
    embed_more: Callable[[Prompts], FloatArray],
    text_inputs: Callable[[FloatArray, Prompts, IntArray], TextInputs],
    with_words: Callable[[Any], Any],
) -> Run:
    """The run as its references see it."""
    return Run(
        method=method,
        model=model,
        prompts=prompts,
        task=partial(prompt.task, dataset),
        embed=embed_more,
        train=embedded.train,
        test=embedded.test,
        train_labels=dataset.train.labels,
        known_labels=method.labels.known(dataset.train.labels),
        test_labels=dataset.test.labels,
        predicted=predicted,
        text_inputs=text_inputs,
        with_words=with_words,
    )


def _text_inputs(
    train: FloatArray,
    backbone: Backbone,
    embedder: Embedder,
    rows: FloatArray,
    prompts: Prompts,
    targets: IntArray,
) -> TextInputs:
    """What a text part may use that stands in for `rows`."""
    members = embed_members(prompts, backbone, embedder)
    return TextInputs(rows, members, prompts, train, targets, backbone)


def _choice(
    candidates: Sequence[Candidate], inputs: TextInputs, with_words: Callable[[Any], Any]
) -> ChosenMethod:
    """Choose a method by the training rows alone."""
    able = [
        Candidate(one.name, replace(one.method, clusterer=with_words(one.method.clusterer)))
        for one in candidates
    ]
    choice = choose(able, inputs, able[0].method.seed)
    log.info("method=auto chose %s: %s.", choice.candidate.name, choice.reason)
    return choice


def _fitted(
    method: Method, inputs: TextInputs, test: FloatArray, tested: IntArray, stages: Stages
) -> tuple[PromptFusedClassifier, tuple[Curve, ...]]:
    """Make the text rows, pair, fuse, cluster, vote and fit the classifier; labels only where used."""
    leak = method.leak
    with stages("pair"):
        seen = replace(inputs, images=test, targets=tested) if leak == "prompts_on_test" else None
        paired = pair(method, inputs, seen)
    with stages("fit"):
        model = fit(method, inputs, paired)
        if leak is not None:
            rows = leaked_rows(leak, test, tested)
            model = model.with_classifier(leaky_classifier(method), inputs.images, inputs.targets, rows)
    return model, (*paired.curves, *model.curves_)


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


def _training_result(dataset: ImageDataset, prompts: Prompts, model: PromptFusedClassifier) -> SplitResult:
    """Training rows as clustered, each predicted as its cluster's target."""
    targets = prompts.targets(dataset.train.labels)
    noise = model.labels_ < 0
    distances = np.empty(len(targets))
    for block in row_blocks(len(targets)):
        centers = model.cluster_centers_[model.labels_[block]]
        distances[block] = np.linalg.norm(model.fused_[block] - centers, axis=1)
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
    dataset: ImageDataset,
    prompts: Prompts,
    model: PromptFusedClassifier,
    images: FloatArray,
    scores: TargetScores,
) -> SplitResult:
    """Test rows, each fused with the prompt that won."""
    assignment = scores.assign(model.prompts_)
    return SplitResult(
        tuple(dataset.test.ids),
        dataset.test.rows,
        assignment.prompts,
        np.asarray(model.fuse(images, assignment.prompts), dtype=np.float32),
        prompts.targets(dataset.test.labels),
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
    if model.fusion_.ignores_images and prompts.texts:
        log.warning("The fusion gives the image no weight: every test image ties, accuracy is undefined.")
        return scores
    if not test.labelled:
        return scores
    return scores | classification_scores(test.targets, test.predicted, prompts.target_names)


def _spacing(images: FloatArray, model: PromptFusedClassifier, seed: int) -> dict[str, float]:
    """Spacing of the prompts, each fused with the mean image; absent where there is one prompt or none."""
    if model.text_ is None or model.prompt_index_ is None or len(model.text_) < 2:
        return {}
    middle = np.tile(images.mean(axis=0, dtype=np.float64), (len(model.text_), 1))
    fused = model.fuse(middle, np.arange(len(middle)))
    spacing = prompt_spacing(fused, model.fused_, model.prompt_index_, seed=seed)
    return {} if spacing is None else rounded({"train/prompt_spacing": spacing})


def _tags(
    dataset: ImageDataset,
    prompts: Prompts,
    names: Mapping[str, str],
    notes: Sequence[tuple[int, str]],
    seen: Sequence[str],
    method: Method,
    choice: ChosenMethod | None,
) -> dict[str, str]:
    pairing = names.get("pairing", "") if len(prompts.texts) > 1 else "none"
    tags = {
        "data_source": dataset.source,
        "data_fingerprint": dataset.fingerprint,
        "n_train": str(len(dataset.train)),
        "n_test": str(len(dataset.test)),
    }
    if dataset.calibration is not None:
        tags["n_calibration"] = str(len(dataset.calibration))
    if seen:
        tags["classes_seen"] = f"{len(seen)} of {len(dataset.class_names)}: {', '.join(seen)}"
    if not dataset.labelled:
        labels = "some" if dataset.has_labels else "none"
        tags |= {"labels": labels, "not_known_without_labels": checks.UNKNOWN_WITHOUT_LABELS}
    if choice is not None:
        tags |= {"method_chosen": choice.candidate.name, "method_reason": choice.reason}
    if method.leak is not None:
        tags["leak"] = method.leak
    if method.classifier.transductive:
        tags["transductive"] = "each answer depends on all test images"
    if dataset.skipped:
        tags["skipped_images"] = str(len(dataset.skipped))
    if warnings := [note for level, note in notes if level >= logging.WARNING]:
        tags["warnings"] = "\n".join(warnings)
    return {**names, **tags, "pairing": pairing}
