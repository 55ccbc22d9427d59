"""Making ready an account: the project's stack, the images, the stream's stack, and missing runtime values.

The same on AWS and on this machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import boto3

from pipelines import functions, images, infrastructure, parameters
from pipelines.config import Configuration
from pipelines.cost import budget
from pipelines.infrastructure import Wanted
from pipelines.ingestion import control
from pipelines.names import HOLDERS, MINUTES, NO_REPOSITORY, LocalPaths, Names
from pipelines.session import client

__all__ = ["configured", "deploy", "provision", "register_images"]

DEEPAR_REPOSITORY, DEEPAR_TAG = "forecasting-deepar", "1"
FORECASTER, _ = MINUTES
CARDHOLDERS, _ = HOLDERS


def provision(
    session: boto3.Session,
    configuration: Configuration,
    root: Path,
    *,
    tracking_uri: str,
    poll_seconds: float = 1.0,
    tell: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Deploy the stacks, register the images and create the missing runtime values; gives what was made, as people say.

    root: the working copy. tracking_uri: MLflow's. poll_seconds: how often CloudFormation is asked how far it is. tell:
    called with what is under way. Raises ServiceError when a stack fails, ImageError when ECR lacks an image's layers.
    """
    names = configuration.names
    changes = deploy(session, configuration, root, tracking_uri=tracking_uri, poll_seconds=poll_seconds, tell=tell)
    made = [f"the stack {names.stack}: {_counted(changes)}"] if changes else []
    made += [f"image {image.uri}" for image in register_images(session, names, root) if image.new]
    # After the images: its services start with it.
    changes = control.bring(session, configuration, root, poll_seconds=poll_seconds, tell=tell)
    made += [f"the stack {names.ingestion_stack}: {_counted(changes)}"] if changes else []
    created = parameters.ensure(session, configuration)
    return [*made, f"{len(created)} runtime values in Parameter Store"] if created else made


def deploy(
    session: boto3.Session,
    configuration: Configuration,
    root: Path,
    *,
    tracking_uri: str,
    poll_seconds: float = 1.0,
    tell: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Make the project's stack what template/project.yml says; gives what was done. Raises as `provision` does."""
    names = configuration.names
    tell("packing the functions")
    parameters = {
        "SageMakerProjectName": names.project,
        # Whoever runs this has the repository already, and starts the pipelines by verbs.
        "RepositoryProvider": NO_REPOSITORY,
        "CodeBucket": names.code_bucket,
        "CodeKey": functions.upload(session, names, root, functions.PIPELINES),
        "MlflowTrackingUri": tracking_uri,
        **configured(configuration),
    }
    tell(f"deploying the stack {names.stack}")
    template = LocalPaths(root).template.read_text(encoding="utf-8")
    return infrastructure.deploy(session, names, names.stack, Wanted(template, parameters), poll_seconds)


def configured(configuration: Configuration) -> dict[str, str]:
    """The parameters of template/project.yml that come of the configuration.

    Raises PriceMissing when executions have a cap and a machine of theirs has no price.
    """
    forecaster = configuration.workloads.forecaster.monitoring
    cardholders = configuration.workloads.cardholders.monitoring
    retraining = {
        CARDHOLDERS: cardholders.retraining.model_dump(),
        FORECASTER: forecaster.retraining.model_dump(),
    }
    return {
        **budget.template_parameters(configuration),
        "ArchiveDays": str(configuration.ingestion.archive.days),
        "ForecasterQualityHours": str(forecaster.quality_alarm.hours),
        "ForecasterQualityBreaches": str(forecaster.quality_alarm.breaches),
        "ForecasterMaxFreshnessMinutes": str(forecaster.max_freshness_minutes),
        "CardholdersQualityHours": str(cardholders.quality_alarm.hours),
        "CardholdersQualityBreaches": str(cardholders.quality_alarm.breaches),
        "Retraining": json.dumps(retraining, sort_keys=True),
        "NoticesEmail": configuration.project.notices.email,
    }


def register_images(session: boto3.Session, names: Names, root: Path) -> list[images.Registered]:
    """Register the image of each workload, and the forecaster's also where SageMaker's DeepAR is looked for."""
    registered = images.register_all(session, names, root)
    for image in registered:
        if image.workload == FORECASTER:
            _stand_in_for_deepar(session, image.uri)
    return registered


def _counted(changes: list[str]) -> str:
    """`48 created, 2 updated`."""
    verbs = [change.partition(" ")[0] for change in changes]
    return ", ".join(f"{verbs.count(verb)} {verb}" for verb in dict.fromkeys(verbs))


def _stand_in_for_deepar(session: boto3.Session, image_uri: str) -> None:
    """Put an image where SageMaker's DeepAR is looked for: under its repository's name.

    image_uri: the forecaster's own, registered before; it keeps DeepAR's contract. AWS has the true one, in an account
    of its own.
    """
    ecr = client(session, "ecr")
    _, _, name = image_uri.partition("/")
    repository, _, tag = name.rpartition(":")
    [image] = ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": tag}])["images"]
    with suppress(ecr.exceptions.RepositoryAlreadyExistsException):
        ecr.create_repository(repositoryName=DEEPAR_REPOSITORY)
    with suppress(ecr.exceptions.ImageAlreadyExistsException):
        ecr.put_image(
            repositoryName=DEEPAR_REPOSITORY,
            imageManifest=image["imageManifest"],
            imageManifestMediaType=image["imageManifestMediaType"],
            imageTag=DEEPAR_TAG,
        )
