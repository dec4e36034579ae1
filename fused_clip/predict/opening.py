"""The model that a command names, wherever it is."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    from fused_clip.model.saved import SavedModel

_MLFLOW = ("runs:/", "models:/")


def open_model(place: str, device: str, weights: str | None, tracking_uri: str | None) -> "SavedModel":
    """Load a model with its backbone.

    Parameters
    ----------
    place : directory of a run or of a model, ``runs:/ID/model`` or ``models:/NAME/VERSION``.
    device, weights : as of `fused_clip.model.saved.load_model`.
    tracking_uri : MLflow store of the last two; None for that of the environment, or of this directory.

    Raises
    ------
    InputError
        If there is none, or its backbone can't be had.
    """
    from fused_clip.model.saved import load_model

    with _folder(place, tracking_uri) as folder:
        try:
            return load_model(folder, device=device, weights=weights)
        except InputError as error:
            if weights is None or not error.option.startswith("backbone."):
                raise
            raise InputError("weights", str(error).partition(": ")[2]) from error


def _folder(place: str, tracking_uri: str | None) -> AbstractContextManager[Path]:
    if not place.startswith(_MLFLOW):
        return nullcontext(Path(place))
    from fused_clip.tracking.models import fetched

    return fetched(place, tracking_uri)
