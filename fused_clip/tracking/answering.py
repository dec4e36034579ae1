"""What the pyfunc of a model does: a table of images and MLflow's params -> a table of answers."""

import base64
import binascii
import logging
import math
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE

from fused_clip.dataset.decode import count_pixels
from fused_clip.model.saved import load_model
from fused_clip.support.errors import InputError
from fused_clip.support.files import MOST_IMAGE, read_regular
from fused_clip.tracking.asked import Asked, Respondent

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

# `model_config` of a logged model, which mlflow.pyfunc.load_model and SERVING_MODEL_CONFIG can change.
# served: whether requests come from others: no path is read, text is base64, and values fit JSON. "auto" is
#     whether MLflow's server runs in this process.
# max_images, max_pixels: of a request that is served, and of each image in it.
CONFIG: dict[str, Any] = {"served": "auto", "max_images": 1000, "max_pixels": 50_000_000}

# MLflow's server decodes base64 of dataframe_split and dataframe_records, and leaves that of inputs and
# instances as it is. No file of an image consists of these characters alone.
_BASE64 = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_SERVER = "mlflow.pyfunc.scoring_server.app"  # the module that `mlflow models serve` starts
_SERVING = "_MLFLOW_IS_IN_SERVING_ENVIRONMENT"  # a variable that it sets, too


class ServedError(MlflowException):
    """An error that a model server answers with one line.

    Parameters
    ----------
    line : what the client reads.
    code : of MLflow, which decides the HTTP status.
    """

    def __init__(self, line: str, code: int) -> None:
        self._line = " ".join(line.split())
        MlflowException.__init__(self, self._line, code)

    @property
    def message(self) -> str:
        """The line alone: MLflow's server sets another, with the whole input in front of it."""
        return self._line

    @message.setter
    def message(self, message: str) -> None:
        pass


class RefusedError(InputError, ServedError):
    """Invalid input, which a model server answers with 400.

    Parameters
    ----------
    error : the reason.
    """

    def __init__(self, error: InputError) -> None:
        self.option = error.option
        ServedError.__init__(self, str(error), INVALID_PARAMETER_VALUE)


class Answering:
    """The model of a pyfunc, with its backbone.

    Parameters
    ----------
    folder : of the model.
    config : changes of `CONFIG`; None for none.

    Raises
    ------
    InputError
        If the model can't be loaded, or a value of `config` is not known.
    """

    def __init__(self, folder: str, config: Mapping[str, Any] | None) -> None:
        self._config = {**CONFIG, **(config or {})}
        if self._config["served"] not in ("auto", True, False):
            raise InputError("model_config.served", "must be 'auto', true or false", self._config["served"])
        for name in ("max_images", "max_pixels"):
            most = self._config[name]
            if isinstance(most, bool) or not isinstance(most, int) or most < 1:
                raise InputError(f"model_config.{name}", "must be a number from 1", most)
        self._respondent = Respondent(load_model(folder))

    @property
    def served(self) -> bool:
        """Whether requests come from others than who loaded the model."""
        if self._config["served"] != "auto":
            return bool(self._config["served"])
        return _SERVER in sys.modules or os.environ.get(_SERVING, "").lower() == "true"

    def predict(self, table: "pd.DataFrame", params: Mapping[str, Any]) -> "pd.DataFrame":
        """Predict a row an image.

        Parameters
        ----------
        table : its first column is ``image``, ``path``, or 0.
        params : of `Asked`.

        Raises
        ------
        RefusedError
            On invalid input.
        ServedError
            On any other error, if the model is served: the log has its traceback.
        """
        try:
            return self._predict(table, params)
        except InputError as error:
            raise RefusedError(error) from error
        except Exception as error:
            if not self.served:
                raise
            log.exception("A request failed")
            raise ServedError("The model failed; the log of the server says why", INTERNAL_ERROR) from error

    def _predict(self, table: "pd.DataFrame", params: Mapping[str, Any]) -> "pd.DataFrame":
        import pandas as pd

        column = table.columns[0] if len(table.columns) else None  # 0 if it came as a list
        if column not in ("image", "path", 0):
            rule = "must have one column, or a first column, of image files"
            raise InputError("model_input", rule, column, choices=["image", "path"])
        cells, asked = table.iloc[:, 0].tolist(), Asked.of(params)
        names = [f"image {n}" for n in range(1, len(cells) + 1)]
        if not self.served:
            called = [
                str(cell) if isinstance(cell, str | Path) else name
                for name, cell in zip(names, cells, strict=True)
            ]
            return pd.DataFrame(self._respondent.answer(called, map(_contents, cells), asked))
        most = self._config["max_images"]
        if not 1 <= len(cells) <= most:
            raise InputError("images", f"a request must have between 1 and {most:,}", len(cells))
        sent = [self._sent(name, cell) for name, cell in zip(names, cells, strict=True)]
        rows = [
            {name: _finite(value) for name, value in record.items()}
            for record in self._respondent.answer(names, sent, asked)
        ]
        # As objects: pandas makes NaN of None in a column of numbers, and JSON has neither NaN nor infinity.
        return pd.DataFrame(rows, dtype=object)

    def _sent(self, name: str, cell: Any) -> bytes:
        """An image file that a client sent."""
        plain = isinstance(cell, bytes) and not _BASE64.fullmatch(cell)
        content = cell if plain else _from_base64(name, cell)
        if (pixels := count_pixels(content)) > self._config["max_pixels"]:
            most = self._config["max_pixels"]
            raise InputError("images", f"{name} has {pixels:,} pixels: at most {most:,} are taken here")
        return content


def _contents(cell: Any) -> bytes:
    """An image file, read where the cell is its path."""
    if isinstance(cell, bytes):
        return cell
    if not isinstance(cell, str | Path):
        raise InputError("images", "must be paths, or contents of image files", cell)
    try:
        return read_regular(Path(cell), MOST_IMAGE)
    except OSError as error:
        raise InputError("images", f"{cell} can't be read ({error})") from error


def _from_base64(name: str, text: Any) -> bytes:
    rule = f"{name} must be the base64 text of an image file"
    if not isinstance(text, str | bytes):
        raise InputError("images", f"{rule}, and is of type {type(text).__name__}")
    try:
        encoded = text.encode() if isinstance(text, str) else text
        return base64.b64decode(b"".join(encoded.split()), validate=True)  # it may have line breaks
    except (binascii.Error, UnicodeEncodeError) as error:
        raise InputError("images", f"{rule}; paths are not read", text[:50]) from error


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
