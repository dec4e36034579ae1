"""The data and the model of a run, made from its options."""

from typing import TYPE_CHECKING

from fused_clip.config import Options, build

if TYPE_CHECKING:
    from fused_clip.backbone import OpenClipBackbone, Precomputed
    from fused_clip.dataset.base import ImageDataset

    Parts = tuple[ImageDataset, OpenClipBackbone | Precomputed]


def make_parts(options: Options) -> "Parts":
    """Make dataset and backbone; nothing is embedded or loaded yet.

    Raises
    ------
    InputError
        If the data or the model are not there, or can't be used.
    """
    dataset: ImageDataset = build(options.dataset, data_dir=options.data_dir)
    backbone: OpenClipBackbone | Precomputed = build(options.backbone, dataset=dataset)
    backbone.check()
    return dataset, backbone
