"""Register in MLflow what was registered as a model package, see `seed_code.common.mlflow_registration`.

python3 -m seed_code.cardholders.register --model-package-arn ARN --run-id ID
    --clusters-model NAME --purchase-model NAME [--execution-arn ARN] [--git-commit SHA]
"""

from seed_code.cardholders.mlflow_models import MODELS
from seed_code.common import mlflow_registration
from seed_code.common.failure import reports_failure


@reports_failure
def main() -> None:
    """Register the run's two models, and tell the model package."""
    mlflow_registration.main({part: f"the {part} model" for part in MODELS})


if __name__ == "__main__":
    main()
