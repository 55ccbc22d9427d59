"""What MLflow executes to make the logged purchase model; it wants the model set when this file is run."""

from mlflow.models import set_model

from seed_code.cardholders.pyfunc import Purchase

set_model(Purchase())
