"""A project whose models serve production, with its REST API in front of them, to be asked as an application would."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import requests

from localcloud import instance
from pipelines import names as n
from pipelines.api import access, deployment
from pipelines.api.access import Access
from pipelines.cli.api import EXAMPLE
from pipelines.feature_groups import MINUTES
from pipelines.session import client
from tests.conftest import Localcloud
from tests.contract.images import register
from tests.contract.sagemaker_account import INSTANCE, until
from tests.pipelines.conftest import ROOT, Project
from tests.pipelines.furnished import furnish
from tests.seed_code.api.account import layer

CARDHOLDERS, FORECASTER = n.HOLDERS[0], n.MINUTES[0]
RECENCY_DAYS = 17
_MINUTES = 60


@dataclass
class Served:
    """The project and its API. `token` is an application's."""

    project: Project
    localcloud: Localcloud
    access: Access = field(init=False)
    token: str = field(init=False)

    def __post_init__(self) -> None:
        self.access = access.find(self.project.session, self.project.names)
        self.token = self.access.token().value

    @property
    def port(self) -> int:
        """localcloud's."""
        return int(self.localcloud.endpoint.rpartition(":")[2])

    def client(self, service: str) -> Any:
        return client(self.project.session, service)

    def ask(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        token: str | None = "",
        content: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Ask the API; token: another than the application's, or None for none. content: in place of a document."""
        given = {"Content-Type": "application/json", **(headers or {})}
        if token is not None:
            given["Authorization"] = f"Bearer {token or self.token}"
        body = json.dumps(document) if document is not None else content
        return requests.request(method, f"{self.access.url}{path}", data=body, headers=given, timeout=30)

    def predict(self, **changed: Any) -> requests.Response:
        """Ask for a prediction."""
        return self.ask("POST", "/predictions", {"input": {**EXAMPLE["input"], **changed}})

    def calls(self, role: str) -> list[dict[str, Any]]:
        """localcloud's record of what a role of the project has called."""
        names = self.project.names
        return instance.calls(self.port, f"arn:aws:iam::{names.account_id}:role/{names.project}-{role}")


def bring(project: Project) -> list[str]:
    """Deploy the API."""
    return deployment.deploy(project.session, project.configuration, n.LocalPaths(project.root), poll_seconds=0.05)


def serve(project: Project, localcloud: Localcloud) -> Served:
    """Bring the project's models to production and its API before them."""
    for folder in ("template", "seed_code/api"):
        shutil.copytree(ROOT / folder, project.root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "seed_code/__init__.py", project.root / "seed_code")
    furnish(project.session, project.configuration)
    _serve_models(project)
    _write_holder(project)
    _write_minutes(project)
    bring(project)
    return Served(project, localcloud)


def _serve_models(project: Project) -> None:
    """Both endpoints, with servers whose answers tell what they were asked."""
    names, session = project.names, project.session
    sagemaker = client(session, "sagemaker")
    image = register(
        client(session, "s3"), client(session, "ecr"), names.bucket, account=names.account_id, region=names.region,
        repository=f"{names.project}/models", content=layer(),
    )  # fmt: skip
    endpoints = [names.endpoint(workload, "prod") for workload in (CARDHOLDERS, FORECASTER)]
    for name in endpoints:
        sagemaker.create_model(ModelName=name, PrimaryContainer={"Image": image}, ExecutionRoleArn=names.role_arn)
        variant = {"VariantName": n.VARIANT, "ModelName": name, "InstanceType": INSTANCE, "InitialInstanceCount": 1}
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)

    def ready() -> bool:
        statuses = {sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] for name in endpoints}
        return statuses == {"InService"}

    until(ready, "both endpoints are InService")


def _write_holder(project: Project) -> None:
    """The holder of the example, with one stored feature."""
    names, session = project.names, project.session
    group = names.feature_group(*n.HOLDERS)
    types = {"holder": "String", "event_time": "String", "usage_freq": "Integral", "recency_days": "Integral"}
    sagemaker = client(session, "sagemaker")
    sagemaker.create_feature_group(
        FeatureGroupName=group,
        RecordIdentifierFeatureName="holder",
        EventTimeFeatureName="event_time",
        FeatureDefinitions=[{"FeatureName": name, "FeatureType": kind} for name, kind in types.items()],
        OnlineStoreConfig={"EnableOnlineStore": True},
    )
    until(
        lambda: sagemaker.describe_feature_group(FeatureGroupName=group)["FeatureGroupStatus"] == "Created",
        f"{group} is Created",
    )
    named = f"{names.experiment(CARDHOLDERS)}\x1f{EXAMPLE['input']['name']}"
    holder = hashlib.sha256(named.encode()).hexdigest()[:16]
    _put(
        session, group, holder=holder, event_time="2026-01-01T00:00:00Z", usage_freq="3", recency_days=str(RECENCY_DAYS)
    )


def _write_minutes(project: Project) -> None:
    """The last hour's minutes."""
    group, newest = MINUTES.name(project.names), datetime.now(UTC).replace(second=0, microsecond=0)
    for back in range(_MINUTES):
        minute = f"{newest - timedelta(minutes=back):%Y-%m-%dT%H:%M:%SZ}"
        _put(
            project.session, group, tx_minute=minute, event_time=minute, total_nb_trx_1min="2", total_fee_1min="200.0",
            avg_fee_1min="100.0",
        )  # fmt: skip


def _put(session: Any, group: str, **values: str) -> None:
    record = [{"FeatureName": name, "ValueAsString": value} for name, value in values.items()]
    client(session, "sagemaker-featurestore-runtime").put_record(FeatureGroupName=group, Record=record)
