"""Register in MLflow what was registered as a model package, see `seed_code.common.mlflow_registration`.

python3 -m seed_code.forecaster.register --model-package-arn ARN --run-id ID --forecast-model NAME
    [--execution-arn ARN] [--git-commit SHA]
"""

from seed_code.common import mlflow_registration
from seed_code.common.failure import reports_failure
from seed_code.forecaster.mlflow_models import FORECAST


@reports_failure
def main() -> None:
    """Register the run's model, and tell the model package."""
    mlflow_registration.main({FORECAST: "the forecaster"})


if __name__ == "__main__":
    main()
