"""The model that MLflow loads: a logged model contains a copy of this file, which `mlflow.pyfunc` runs.

Its answers are those of ``fused-clip-predict``::

    model = mlflow.pyfunc.load_model("models:/photos/1")
    model.predict(["a.jpg", "b.jpg"])
    model.predict(pd.DataFrame({"image": [Path("a.jpg").read_bytes()]}))

A transductive model answers for all rows of a call together, and needs at least two.
A model server takes ``{"dataframe_split": {"columns": ["image"], "data": [["<base64>"]]}}``, and reads no
files of its disk.
"""

from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class FusedClipModel(PythonModel):
    """A saved model as a pyfunc."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the model that was logged, and its backbone.

        Parameters
        ----------
        context : MLflow's, with the folder of the model, and ``model_config`` as `fused_clip.tracking.models`
            describes it.
        """
        from fused_clip.tracking.answering import Answering

        self.answering = Answering(context.artifacts["model"], context.model_config)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Predict a row an image.

        Parameters
        ----------
        context : not used.
        model_input : one column: ``image``, contents of image files; or ``path``, paths of image files where
            the model runs. MLflow makes such a table of a list of paths, or of contents, too. A column may
            mix both. A server refuses paths, and takes base64 of contents.
        params : as `fused_clip.tracking.asked.Asked` describes them.

        Returns
        -------
        Columns ``target``, ``probability``, ``margin``, ``runner_up``, ``cluster``, ``abstained``, and those
        that `params` ask for.

        Raises
        ------
        fused_clip.InputError
            If the column has another name, an image can't be read, or a parameter does not fit the model; if
            the model is transductive and there is one row. It is an ``MlflowException``, too, which a server
            answers with 400.
        """
        return self.answering.predict(model_input, params or {})


mlflow.models.set_model(FusedClipModel())
