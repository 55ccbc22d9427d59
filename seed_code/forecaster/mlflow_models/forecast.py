"""What MLflow executes to make the logged model; it wants the model set when this file is run."""

from mlflow.models import set_model

from seed_code.forecaster.pyfunc import Forecast

set_model(Forecast())
