"""Embeddings for notebooks: images and texts through a backbone of the config groups."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fused_clip.backbone.batches import embed_texts as embed_with
from fused_clip.model.pixels import ImageLikes, embed_pixels, is_one
from fused_clip.support.arrays import FloatArray
from fused_clip.support.errors import InputError
from fused_clip.support.named_parts import check_parts
from fused_clip.support.plugins import options_in

if TYPE_CHECKING:
    from fused_clip.backbone.base import Backbone


def embed_images(images: ImageLikes, backbone: "str | Backbone" = "compact") -> FloatArray:
    """Embed n images with CLIP: (n, d) float32; one image: (d,). Rows are not rescaled.

    Parameters
    ----------
    images : one image or several: paths, contents of image files, PIL images, or (height, width, 3) uint8
        RGB arrays.
    backbone : a name of the config group ``backbone``, which is loaded for this call, or a backbone such as
        ``OpenClipBackbone("compact")``, which stays loaded for the next.

    Raises
    ------
    InputError
        If an image can't be read; if the backbone is unknown, or its weights can't be had.
    """
    rows = embed_pixels(images, _backbone(backbone))
    return rows[0] if is_one(images) else rows


def embed_texts(texts: str | Sequence[str], backbone: "str | Backbone" = "compact") -> FloatArray:
    """Embed n texts with CLIP: (n, d) float32; one text: (d,). Rows are not rescaled.

    Parameters
    ----------
    texts : one text or several.
    backbone : as in `embed_images`.

    Raises
    ------
    InputError
        If the backbone refuses a text; if it is unknown, or its weights can't be had.
    """
    rows = embed_with(_backbone(backbone), [texts] if isinstance(texts, str) else list(texts))
    return rows[0] if isinstance(texts, str) else rows


def _backbone(backbone: "str | Backbone") -> Any:
    if not isinstance(backbone, str):
        return backbone
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    files = options_in("backbone")
    files.pop("precomputed", None)  # has the vectors of a dataset, and embeds nothing
    if backbone not in files:
        raise InputError("backbone", "must name a backbone of conf/backbone", backbone, choices=files)
    node = OmegaConf.load(files[backbone])
    check_parts("backbone", OmegaConf.to_container(node))
    made = instantiate(node)
    made.check()
    return made
