"""The data and the model of a run, made from its options."""

from copy import copy
from typing import TYPE_CHECKING

from fused_clip.runner.config import Options, build

if TYPE_CHECKING:
    from fused_clip.backbone import Backbone
    from fused_clip.dataset.base import ImageDataset

    Parts = tuple[ImageDataset, Backbone]

_KEPT = 8  # datasets in memory
_known: "dict[str, Parts | Exception]" = {}


def make_parts(options: Options) -> "Parts":
    """Make dataset and backbone, once in a process for the same options; nothing is embedded or loaded yet.

    What went wrong is kept too, and raised again.

    Raises
    ------
    InputError
        If the data or the model are not there, or can't be used.
    """
    name = f"{options.data_dir} {options.dataset!r} {options.backbone!r}"
    if name not in _known:
        if len(_known) == _KEPT:
            del _known[next(iter(_known))]
        _known[name] = _outcome(options)
    made = _known[name]
    if isinstance(made, Exception):
        raise made.with_traceback(None)
    dataset, backbone = made
    return dataset, copy(backbone)  # a model that the copy loads goes with it


def _outcome(options: Options) -> "Parts | Exception":
    try:
        dataset: ImageDataset = build(options.dataset, data_dir=options.data_dir)
        backbone: Backbone = build(options.backbone, dataset=dataset)
        backbone.check()
    except Exception as error:
        return error
    return dataset, backbone
