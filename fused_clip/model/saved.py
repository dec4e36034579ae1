"""A saved model in use: images -> answers, with the backbone that it was trained with."""

import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fused_clip.backbone import OpenClipBackbone, OpenVocabularyBackbone
from fused_clip.backbone.batches import embed_texts
from fused_clip.backbone.open_vocabulary import OPEN
from fused_clip.backbone.towers import TwoTowerBackbone
from fused_clip.dataset.image_dataset import Images
from fused_clip.dataset.vectors import Vectors
from fused_clip.method import checks
from fused_clip.model import format as files
from fused_clip.model.calibration_rows import CalibrationRows
from fused_clip.model.constraint import Constraint
from fused_clip.model.facts import BackboneFacts, ModelFacts, TrainingFacts
from fused_clip.model.head import Head
from fused_clip.model.location import find
from fused_clip.model.pixels import ImageLikes, embed_pixels, is_one
from fused_clip.model.predictions import Predictions
from fused_clip.model.result import Result
from fused_clip.support.arrays import DoubleArray, FloatArray
from fused_clip.support.errors import InputError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SavedModel:
    """A classifier of images, as `load_model` gives it.

    Parameters
    ----------
    head : what follows the backbone.
    backbone : None for a model that takes embeddings alone.
    facts : contents of ``model.json``.
    checksum : SHA-256 (hex) of the folder's contents.
    calibration : images held out of training, for guarantees; None for none.
    """

    head: Head
    backbone: TwoTowerBackbone | None
    facts: ModelFacts
    checksum: str
    calibration: CalibrationRows | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Answers that are possible, in the order of the probabilities' columns."""
        return self.head.names

    @property
    def calibrated(self) -> bool:
        """Whether it gives probabilities; a model made without labels gives none."""
        return self.head.temperature is not None

    @property
    def transductive(self) -> bool:
        """Whether answers depend on all images that are predicted together, at least two."""
        return self.head.classifier.transductive

    def constrain(
        self,
        *,
        targets: Sequence[str] | None = None,
        prior: Mapping[str, float] | None = None,
        target_map: Mapping[str, Sequence[str]] | None = None,
    ) -> Self:
        """Return the model with targets, a prior or groups; nothing is trained anew.

        An argument replaces that of an earlier call; the others stay.

        Parameters
        ----------
        targets : admits only these targets, with their prompts and clusters.
        prior : frequency of each admitted target where the images come from; sums to 1. Without one, all are
            taken to be as frequent as each other.
        target_map : ``{group: [targets]}``, merged into one answer, whose probability is their sum.

        Raises
        ------
        InputError
            If they do not fit the model; see `Constraint`.
        """
        known = self.head.constraint
        constraint = Constraint(
            known.targets if targets is None else targets,
            known.prior if prior is None else prior,
            known.groups if target_map is None else target_map,
        )
        return replace(self, head=replace(self.head, constraint=constraint))

    def with_target(self, name: str, text: str) -> Self:
        """Return the model with one more target, which a sentence describes; nothing is trained anew.

        Its probabilities are calibrated for the model's own targets, not for the new one, and it has no
        calibration rows: there is no guarantee on answers with another target among these.

        Parameters
        ----------
        name : of the new target; not one of the model's targets or groups.
        text : a sentence for its images, such as "a photo of a zebra", in the style of the model's prompts.

        Raises
        ------
        InputError
            If the name or the text is blank or taken; if the model takes embeddings alone; if its classifier
            can't take a target by a text (see `Classifier.with_target`); if a prior is set, which then lacks
            the new target.
        """
        self.head.check_target(name, text)
        row = embed_texts(self.require_backbone(), [text])
        return replace(self, head=self.head.with_target(name, text, row), calibration=None)

    def embed(self, images: ImageLikes) -> FloatArray:
        """Embed m images: (m, d); one image: (d,).

        Parameters
        ----------
        images : one image or several: paths, contents of image files, PIL images, or (height, width, 3) uint8
            RGB arrays.

        Raises
        ------
        InputError
            If an image can't be read, or the model takes embeddings alone.
        """
        rows = embed_pixels(images, self.require_backbone())
        return rows[0] if is_one(images) else rows

    def predict(self, images: ImageLikes) -> NDArray[np.object_] | str:
        """Predict the answer for each image: (m,) names; for one image its name alone.

        Parameters
        ----------
        images : as in `embed`; several if the model is transductive. Raises as it does.
        """
        answers = self._predictions(images).targets
        return str(answers[0]) if is_one(images) else answers

    def predict_proba(self, images: ImageLikes) -> DoubleArray:
        """Probability of each answer for each image: (m, G), columns as in `names`; for one image (G,).

        Parameters
        ----------
        images : as in `embed`.

        Raises
        ------
        InputError
            If the model is uncalibrated, or transductive and there is one image; otherwise as `embed`.
        """
        probabilities = self._predictions(images).probabilities
        if probabilities is None:
            rule = "the model is uncalibrated: made without labels, it gives distances and no probabilities"
            raise InputError("model", rule, hint="predict_embeddings(embed(images)) gives margins")
        return probabilities[0] if is_one(images) else probabilities

    def _predictions(self, images: ImageLikes) -> Predictions:
        if is_one(images):  # before it is embedded; the head counts other iterables
            self.head.check_batch(1)
        return self.head.predict(embed_pixels(images, self.require_backbone()))

    def predict_embeddings(self, X: ArrayLike) -> Predictions:
        """Predict from embeddings: answers, clusters, margins, probabilities.

        Parameters
        ----------
        X : (m, d) floats, as `embed` gives them for several images.

        Raises
        ------
        InputError
            On another shape, or values that are not finite; on one row if the model is transductive.
        """
        return self.head.predict(X)

    def require_backbone(self) -> TwoTowerBackbone:
        """Give the backbone.

        Raises
        ------
        InputError
            If the model takes embeddings alone.
        """
        if self.backbone is None:
            rule = "takes embeddings alone: its backbone is not known here, or was left out"
            raise InputError("model", rule, hint="Embed the images yourself and use predict_embeddings")
        return self.backbone


def load_model(
    path: str | Path,
    *,
    device: str = "auto",
    embeddings_only: bool = False,
    weights: str | Path | None = None,
    trusted: Iterable[type] = (),
) -> SavedModel:
    """Load a model that a run left; data alone, so that a model from elsewhere can run no code.

    Parameters
    ----------
    path : directory of a run, or of the model in it.
    device : where the backbone runs: ``auto``, ``cpu``, ``cuda``, ``cuda:<index>`` or ``mps``.
    embeddings_only : leave the backbone out; for embeddings that are there already.
    weights : where the backbone's weights are now, if they were moved: the file, or the folder of a
        ``local-dir:`` model.
    trusted : classes of your own that the model may use as classifier or fusion. Besides these and the
        package's own, only those of installed plugins are used.

    Raises
    ------
    InputError
        If the model is missing, damaged or of a newer format; if the backbone can't be had, or is not the one
        that the model was made with.
    """
    folder = find(Path(path))
    head, facts, calibration = files.read(folder, trusted)
    spec = None if embeddings_only else facts.backbone
    backbone = None if spec is None else _backbone(spec, device, weights)
    if backbone is not None:
        checks.warn_of_other_images(backbone)
    return SavedModel(head, backbone, facts, files.checksum(folder), calibration)


def save(result: Result, images: Images, backbone: Any, folder: Path) -> None:
    """Write the model of a run in place of any that is there; what can't be written as data is not.

    The log says why no model is written.

    Parameters
    ----------
    result : of the run.
    images : that the run was trained on. A model of vectors, whose origin is unknown, takes embeddings alone.
    backbone : of the run.
    folder : of the model; its parent exists.

    Raises
    ------
    InputError
        If the folder can't be written.
    """
    shutil.rmtree(folder, ignore_errors=True)
    if result.head is None:
        return
    training = TrainingFacts(
        dataset=result.dataset,
        fingerprint=result.tags["data_fingerprint"],
        rows=len(result.train),
        uses_labels=result.uses_labels,
        calibration_rows=0 if result.calibration is None else len(result.calibration),
    )
    embedded_by = None if isinstance(images, Vectors) else backbone_facts(backbone)
    try:
        files.write(folder, result.head, embedded_by, training, result.calibration)
    except files.UnsavableError as error:
        log.warning("No model is saved: %s", error)


def backbone_facts(backbone: Any) -> BackboneFacts | None:
    """Describe a backbone for ``model.json``; None for one that can't be rebuilt from data.

    Parameters
    ----------
    backbone : of the run.
    """
    if type(backbone) not in (OpenClipBackbone, OpenVocabularyBackbone):
        return None
    return BackboneFacts(
        model=_anywhere(backbone.model),
        pretrained=_absolute(backbone.pretrained),
        preprocessing=backbone.preprocessing,
        precision=backbone.precision,
        batch_size=backbone.batch_size,
        jpeg=backbone.jpeg,
        **backbone.identity,
    )


def _anywhere(model: str) -> str:
    """Name of a model that means the same from any directory."""
    scheme, _, folder = model.partition(":")
    return f"{scheme}:{Path(folder).expanduser().absolute()}" if scheme == "local-dir" else model


def _absolute(pretrained: str | None) -> str | None:
    """Weights that mean the same from any directory; a tag stays."""
    if pretrained is None or not Path(pretrained).expanduser().is_file():
        return pretrained
    return str(Path(pretrained).expanduser().absolute())


def _backbone(spec: BackboneFacts, device: str, weights: str | Path | None) -> TwoTowerBackbone:
    model, pretrained = spec.model, spec.pretrained
    if weights is not None and Path(weights).is_dir():
        model = f"local-dir:{weights}"
    elif weights is not None:
        pretrained = str(weights)
    kind: type[OpenClipBackbone | OpenVocabularyBackbone]
    kind = OpenVocabularyBackbone if model == OPEN else OpenClipBackbone
    stated = spec.preprocessing, spec.precision, device, spec.batch_size, spec.jpeg
    backbone = kind(model, pretrained, *stated)
    backbone.check()
    for part, found in backbone.identity.items():
        stated = getattr(spec, part)
        if found != stated:
            rule = f"needs the backbone that it was made with: the {part} of {backbone.name} differ"
            raise InputError("model", f"{rule} ({found[:100]}, not {stated[:100]})")
    return backbone
