"""The model that MLflow loads: a logged model contains a copy of this file, which `mlflow.pyfunc` runs.

Its answers are those of ``fused-clip-predict``::

    model = mlflow.pyfunc.load_model("models:/photos/1")
    model.predict(["a.jpg", "b.jpg"])
    model.predict(pd.DataFrame({"image": [Path("a.jpg").read_bytes()]}))

A transductive model answers for all rows of a call together, and needs at least two.
A model server takes ``{"dataframe_split": {"columns": ["image"], "data": [["<base64>"]]}}``.
"""

from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class FusedClipModel(PythonModel):
    """A saved model as a pyfunc."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the model that was logged.

        Parameters
        ----------
        context : MLflow's, with the folder of the model.
        """
        from fused_clip.model.saved import load_model

        self.model = load_model(context.artifacts["model"])

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Predict a row an image.

        Parameters
        ----------
        context : not used.
        model_input : one column: ``image``, contents of image files; or ``path``, paths of image files where
            the model runs. MLflow makes such a table of a list of paths, or of contents, too. A column may
            mix both.
        params : ``targets``, ``prior`` and ``threshold`` as on the command line; ``target_map`` as its file.

        Returns
        -------
        Columns ``target``, ``probability``, ``margin``, ``runner_up``, ``cluster``, ``abstained``.

        Raises
        ------
        fused_clip.InputError
            If the column has another name, an image can't be read, or a parameter does not fit the model; if
            the model is transductive and there is one row.
        """
        from fused_clip.model import constraint_parsing
        from fused_clip.support.errors import InputError

        column = model_input.columns[0]  # MLflow passes the first alone, named 0 if it came as a list
        if column not in ("image", "path", 0):
            rule = "must have one column, or a first column, of image files"
            raise InputError("model_input", rule, column, choices=["image", "path"])
        given = params or {}
        targets, prior, groups = (given.get(name) for name in ("targets", "prior", "target_map"))
        threshold = given.get("threshold", 0.0)
        constraint_parsing.check_threshold(threshold, calibrated=self.model.calibrated)
        model = self.model.constrain(
            targets=constraint_parsing.parse_targets(targets) if targets else None,
            prior=constraint_parsing.parse_prior(prior) if prior else None,
            target_map=constraint_parsing.parse_target_map(groups) if groups else None,
        )
        predictions = model.predict_embeddings(model.embed(model_input[column].tolist()))
        return pd.DataFrame(predictions.records(threshold))


mlflow.models.set_model(FusedClipModel())
