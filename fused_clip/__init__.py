"""Prompt-fused CLIP embeddings: fuse, cluster, classify, and audit what the text contributes.

The parts load when they are first used, so that the command line answers at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fused_clip.dataset.image_dataset import ImageDataset
    from fused_clip.estimator import PromptFusedClassifier
    from fused_clip.method.clusterer import SpectralClustering
    from fused_clip.model.embed import embed_images, embed_texts
    from fused_clip.model.result import Result
    from fused_clip.model.saved import SavedModel, load_model
    from fused_clip.review.review_table import review_labels
    from fused_clip.runner.notebook import load_dataset, references, sweep
    from fused_clip.support.errors import InputError

__version__ = "0.1.0"  # the one place: packaging, commands and models read it here

_HOMES = {
    "ImageDataset": "fused_clip.dataset.image_dataset",
    "InputError": "fused_clip.support.errors",
    "PromptFusedClassifier": "fused_clip.estimator",
    "Result": "fused_clip.model.result",
    "SavedModel": "fused_clip.model.saved",
    "SpectralClustering": "fused_clip.method.clusterer",
    "embed_images": "fused_clip.model.embed",
    "embed_texts": "fused_clip.model.embed",
    "load_dataset": "fused_clip.runner.notebook",
    "load_model": "fused_clip.model.saved",
    "references": "fused_clip.runner.notebook",
    "review_labels": "fused_clip.review.review_table",
    "sweep": "fused_clip.runner.notebook",
}

__all__ = [
    "ImageDataset",
    "InputError",
    "PromptFusedClassifier",
    "Result",
    "SavedModel",
    "SpectralClustering",
    "__version__",
    "embed_images",
    "embed_texts",
    "load_dataset",
    "load_model",
    "references",
    "review_labels",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
