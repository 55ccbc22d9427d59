"""Register in MLflow what was registered as a model package, and make each lead to the other.

It runs after the quality gate, so that MLflow's registry holds what passed it and nothing else. Each of the run's
models becomes a version of its registered model, with alias `challenger` and tags `model_package_arn`,
`execution_arn`, `git_commit`; the model package's customer metadata gets the run and the versions. Run again for the
same package, it finds the versions that it made.
"""

import sys
from collections.abc import Mapping

import boto3
import mlflow
from botocore.exceptions import BotoCoreError
from botocore.exceptions import ClientError as AwsError
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from seed_code.common import mlflow_connection
from seed_code.common.arguments import ArgumentParser
from seed_code.common.errors import ClientError

CHALLENGER = "challenger"
_PACKAGE_TAG = "model_package_arn"


def main(models: Mapping[str, str]) -> None:
    """Do as the command line says: --model-package-arn ARN --run-id ID [--execution-arn ARN] [--git-commit SHA], and
    --{model}-model NAME for each model of the run.

    Args:
        models: the names under which the run's models were logged, and what each is, for the help.

    Raises:
        ClientError: when an argument is wrong, the tracking server or SageMaker does not do as asked, or the run lacks
            a model.
    """
    parser = ArgumentParser(prog="register")
    parser.add_argument("--model-package-arn", required=True)
    parser.add_argument("--run-id", required=True, help="MLflow run that holds the models")
    for model, meaning in models.items():
        parser.add_argument(f"--{model}-model", required=True, help=f"registered model of {meaning}")
    parser.add_argument("--execution-arn", default="")
    parser.add_argument("--git-commit", default="")
    arguments = parser.parse_args()
    client = mlflow_connection.connect()
    tags = {
        _PACKAGE_TAG: arguments.model_package_arn,
        "execution_arn": arguments.execution_arn,
        "git_commit": arguments.git_commit,
    }
    names = {model: getattr(arguments, f"{model}_model") for model in models}
    versions = register(client, arguments.run_id, names, {key: value for key, value in tags.items() if value})
    describe_package(arguments.model_package_arn, arguments.run_id, versions)
    for model, version in versions.items():
        sys.stdout.write(f"register: {model} is {version.name} version {version.version}, alias {CHALLENGER}\n")


def register(
    client: mlflow.MlflowClient, run_id: str, names: Mapping[str, str], tags: Mapping[str, str]
) -> dict[str, ModelVersion]:
    """A version of each registered model `names[model]`, from the run's `model`; those that exist are reused.

    Raises:
        ClientError: when the run does not exist or lacks a model.
    """
    logged = _models_of(client, run_id)
    versions = {}
    for model, name in names.items():
        if model not in logged:
            raise ClientError(f"MLflow run {run_id} has no model `{model}`; it has: {', '.join(logged) or 'none'}")
        version = _existing(client, name, tags[_PACKAGE_TAG])
        if version is None:
            version = mlflow.register_model(f"models:/{logged[model]}", name, tags=dict(tags))
        for key, value in tags.items():
            client.set_model_version_tag(version.name, version.version, key, value)
        client.set_registered_model_alias(version.name, CHALLENGER, version.version)
        versions[model] = version
    for key, value in tags.items():
        client.set_tag(run_id, key, value)
    return versions


def describe_package(model_package_arn: str, run_id: str, versions: Mapping[str, ModelVersion]) -> None:
    """Write the run and the versions into the model package's customer metadata.

    Raises:
        ClientError: when SageMaker refuses.
    """
    metadata = {"mlflow_run_id": run_id}
    for model, version in versions.items():
        metadata[f"mlflow_{model}_model"] = version.name
        metadata[f"mlflow_{model}_version"] = str(version.version)
    try:
        boto3.client("sagemaker").update_model_package(
            ModelPackageArn=model_package_arn, CustomerMetadataProperties=metadata
        )
    except (BotoCoreError, AwsError) as error:
        raise ClientError(f"the model package {model_package_arn} could not be updated: {error}") from error


def _models_of(client: mlflow.MlflowClient, run_id: str) -> dict[str, str]:
    """Ids of the models that a run logged, by name."""
    try:
        outputs = client.get_run(run_id).outputs
    except MlflowException as error:
        raise ClientError(f"MLflow run {run_id} cannot be read: {error.message}") from error
    logged = [client.get_logged_model(output.model_id) for output in (outputs.model_outputs if outputs else [])]
    return {model.name: model.model_id for model in logged}


def _existing(client: mlflow.MlflowClient, name: str, model_package_arn: str) -> ModelVersion | None:
    found = client.search_model_versions(f"name = '{name}' AND tags.`{_PACKAGE_TAG}` = '{model_package_arn}'")
    return found[0] if found else None
