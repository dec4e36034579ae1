"""Contents of ``model.json``: names and numbers of a model on disk."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from fused_clip.backbone.towers import MOST

FORMAT: Literal[3] = 3
_WIDEST = 1_000_000  # no embedding is wider, and a model is tried with rows of this width

Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Facts(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class BackboneFacts(_Facts):
    """How the images were embedded: enough to embed others, and to recognise another backbone.

    Parameters
    ----------
    model, pretrained, preprocessing, precision, batch_size : as in `OpenClipBackbone`; `model` is ``open``
        for `OpenVocabularyBackbone`.
    architecture, weights : SHA-256 of each, as the backbone's `identity` gives them.
    pixels : the preprocessing, in full.
    jpeg : as in `OpenClipBackbone`; models of earlier versions do not state it, and their JPEGs were whole.
    """

    model: str
    pretrained: str | None
    preprocessing: Literal["model", "paper"]
    precision: Literal["auto", "float32", "bfloat16"]
    batch_size: Annotated[int, Field(ge=1, le=MOST)]
    architecture: Hash
    weights: Hash
    pixels: str
    jpeg: Literal["reduced", "whole"] = "whole"


class TrainingFacts(_Facts):
    """What the model was made from.

    Parameters
    ----------
    dataset : its name.
    fingerprint : of images, rows, labels and class names.
    rows : number of training images.
    uses_labels : whether any part saw training labels.
    calibration_rows : number of images held out for guarantees; written only if there are any.
    """

    dataset: str
    fingerprint: str
    rows: int
    uses_labels: bool
    calibration_rows: Annotated[int, Field(ge=0)] = 0


class PartFacts(_Facts):
    """A fusion or classifier as data.

    Parameters
    ----------
    name : class, as ``module:qualified name``.
    params : what it was made with.
    """

    name: Annotated[str, Field(pattern=r"^[\w.]+:[\w.]+$")]
    params: dict[str, str | int | float | bool | None]


class ModelFacts(_Facts):
    """Contents of ``model.json``.

    Parameters
    ----------
    temperature : None for an uncalibrated model.
    dim : width of the image embeddings; None where format 1 did not state it.
    backbone : None where the images came embedded, or the backbone is of another package; such a model
        takes embeddings alone.
    versions : of the libraries that it was made with, for people.
    transductive : whether answers depend on all images that are predicted together; written only if so.
    """

    format: Literal[3]
    target_names: Annotated[list[str], Field(min_length=1)]
    prompts: list[list[str]]
    dim: Annotated[int, Field(ge=1, le=_WIDEST)] | None
    classifier: PartFacts
    fusion: PartFacts
    temperature: Annotated[float, Field(gt=0)] | None
    backbone: BackboneFacts | None
    training: TrainingFacts
    versions: dict[str, str]
    transductive: bool = False
