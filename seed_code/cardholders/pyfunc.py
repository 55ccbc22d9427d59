"""The two models as MLflow serves them: a data frame in, a data frame out, the endpoint's answers inside.

Each is logged as the code file in mlflow_models/ that makes it (MLflow's "models from code"), with the extracted model
package as its artifact. Nothing is pickled.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

from seed_code.cardholders.features import FIELDS
from seed_code.cardholders.mlflow_models import PACKAGE
from seed_code.cardholders.records import Batch

if TYPE_CHECKING:
    from seed_code.cardholders.scorer import Scorer


class _Packaged(PythonModel):
    _scorer: "Scorer"

    def load_context(self, context: PythonModelContext) -> None:
        """Load the package that was logged with the model."""
        # Imported here: who only logs the model needs none of the seconds that the learning libraries take.
        from seed_code.cardholders.scorer import Scorer

        self._scorer = Scorer.load(Path(context.artifacts[PACKAGE]))


class Clusters(_Packaged):
    """Columns usage_freq, amount_spend, uniq_merchant → column predicted_cluster."""

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """The endpoint's `predicted_cluster` of each row."""
        clusters = self._scorer.predicted_cluster(model_input[list(FIELDS)].to_numpy(np.float64))
        return pd.DataFrame({"predicted_cluster": clusters})


class Purchase(_Packaged):
    """Columns usage_freq, amount_spend, uniq_merchant, k and, optionally, stored features → will_spend, probability."""

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """The endpoint's `will_spend` and `probability` of each row.

        Raises:
            ValueError: when a k is not one that the model was trained for.
        """
        days = model_input["k"].to_numpy(np.int64)
        if len(days) and (days.min() < 1 or days.max() > self._scorer.max_days):
            raise ValueError(f"k is from {days.min()} to {days.max()}; expected 1 to {self._scorer.max_days}")
        batch = Batch(model_input[list(FIELDS)].to_numpy(np.float64), days, self._features(model_input))
        probability = self._scorer.probability(batch)
        return pd.DataFrame({"will_spend": probability >= self._scorer.threshold, "probability": probability})

    def _features(self, model_input: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.float64]]:
        features = np.full((len(model_input), len(self._scorer.features)), np.nan)
        for column, feature in enumerate(self._scorer.features):
            if feature.name in model_input:
                features[:, column] = model_input[feature.name].to_numpy(np.float64, na_value=np.nan)
        return features
