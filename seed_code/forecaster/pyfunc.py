"""The model as MLflow serves it: DeepAR's instances in a data frame, the endpoint's predictions out.

It is logged as the code file in mlflow_models/ that makes it (MLflow's "models from code"), with the extracted model as
its artifact. Nothing is pickled, and PyTorch is not needed.
"""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel, PythonModelContext

from seed_code.common.request_errors import RequestError
from seed_code.forecaster import artifact
from seed_code.forecaster.forecasts import Forecaster
from seed_code.forecaster.mlflow_models import MODEL

_FIELDS = ("start", "target", "cat", "dynamic_feat")
_CONFIGURATION = ("num_samples", "output_types", "quantiles")


class Forecast(PythonModel):
    """Columns start, target and, if the model was trained with them, cat and dynamic_feat → a prediction a row."""

    _forecaster: Forecaster | None

    def load_context(self, context: PythonModelContext) -> None:
        """Load the model that was logged. One of the built-in algorithm's is kept, but cannot be run here."""
        folder = Path(context.artifacts[MODEL])
        ours = (folder / artifact.DESCRIPTION_FILE).is_file()
        self._forecaster = Forecaster(artifact.load(folder)) if ours else None

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """The endpoint's `predictions` for these `instances`; `params` is the request's `configuration`.

        Raises:
            MlflowException: INVALID_PARAMETER_VALUE, naming the field of the request that is wrong; or that the model
                is the built-in algorithm's.
        """
        if self._forecaster is None:
            raise MlflowException.invalid_parameter_value(
                "this model was trained by SageMaker's built-in DeepAR, whose image alone can run it: ask its endpoint"
            )
        instances = [_instance(row) for row in model_input.to_dict("records")]
        asked = {name: _plain(value) for name, value in (params or {}).items() if name in _CONFIGURATION}
        try:
            answer = self._forecaster.answer({"instances": instances, "configuration": asked})
        except RequestError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        # The numbers as the server writes them: 32-bit floats with as many digits as they have.
        document: dict[str, Any] = orjson.loads(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY))
        predictions: list[dict[str, Any]] = document["predictions"]
        return predictions


def _instance(row: dict[str, Any]) -> dict[str, Any]:
    """A row's fields; one that is not there is None or NaN in a frame."""
    fields = {name: _plain(row[name]) for name in _FIELDS if name in row}
    return {name: value for name, value in fields.items() if value is not None and value == value}


def _plain(value: Any) -> Any:
    return [_plain(one) for one in value] if isinstance(value, np.ndarray) else value
