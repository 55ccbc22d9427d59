"""A stage in a localcloud with what the monitor looks at: an endpoint, its package, captured requests, ground truth."""

from __future__ import annotations

import json
import urllib.request
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import numpy as np
from botocore.config import Config

from seed_code.cardholders import monitor, profile
from seed_code.cardholders.monitor import Clients, Settings
from seed_code.common import drift
from seed_code.common.monitoring import Evaluation
from tests.conftest import Localcloud
from tests.contract.sagemaker_account import INSTANCE, Account, until

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
THRESHOLD = 0.2


def training_profile() -> dict[str, Any]:
    """Of a thousand training examples: 0 to 99 uses, ten times as much spent, half as many merchants."""
    uses = np.arange(1000) % 100
    columns = {"usage_freq": uses, "amount_spend": uses * 10.0, "uniq_merchant": uses // 2, "gap_mean": uses / 7}
    return profile.document(profile.of_fields(columns), [0.75, 0.25])


@dataclass
class Deployments:
    """An account with two endpoints in service and a package, which all tests share."""

    client: Any
    account: Account
    endpoints: tuple[str, str]
    package_arn: str
    began: datetime
    """A full hour by which both endpoints had been in service."""

    @classmethod
    def furnish(cls, localcloud: Localcloud) -> Deployments:
        """Make them."""
        session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-west-1")
        clients: dict[str, Any] = {}

        def client(service: str) -> Any:
            if service not in clients:
                config = Config(retries={"total_max_attempts": 1})
                clients[service] = session.client(service, endpoint_url=localcloud.endpoint, config=config)
            return clients[service]

        account = Account(client, "eu-west-1")
        sagemaker = account.sagemaker
        model, names = account.name("monitored"), (account.name("first"), account.name("second"))
        sagemaker.create_model(
            ModelName=model, PrimaryContainer={"Image": account.image}, ExecutionRoleArn=account.role
        )
        variant = {"VariantName": "AllTraffic", "ModelName": model, "InstanceType": INSTANCE, "InitialInstanceCount": 1}
        for name in names:
            sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
            sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        account.s3.put_object(Bucket=account.bucket, Key="profile.json", Body=json.dumps(training_profile()).encode())
        sagemaker.create_model_package_group(ModelPackageGroupName=model)
        package = sagemaker.create_model_package(
            ModelPackageGroupName=model,
            InferenceSpecification={
                "Containers": [{"Image": account.image, "ModelDataUrl": f"s3://{account.bucket}/model.tar.gz"}],
                "SupportedContentTypes": ["application/json"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
            CustomerMetadataProperties={monitor.PROFILE_KEY: f"s3://{account.bucket}/profile.json"},
        )

        def described() -> list[Any]:
            return [sagemaker.describe_endpoint(EndpointName=name) for name in names]

        until(lambda: all(one["EndpointStatus"] == "InService" for one in described()), "both endpoints serve")
        served = max(one["LastModifiedTime"].astimezone(UTC) for one in described())
        began = served.replace(minute=0, second=0, microsecond=0) + HOUR
        # CloudWatch takes no metrics of the future.
        _advance(localcloud.endpoint, 7 * DAY)
        return cls(client, account, names, package["ModelPackageArn"], began)

    def stage(self) -> Stage:
        """A stage that nobody has looked at."""
        return Stage(self, f"s3://{self.account.bucket}/{uuid.uuid4().hex}")


@dataclass
class Stage:
    """A stage's data, and its evaluations."""

    deployments: Deployments
    root: str
    endpoint: str = ""
    settings: Settings = field(init=False)

    def __post_init__(self) -> None:
        self.endpoint = self.endpoint or self.deployments.endpoints[0]
        self.settings = Settings(
            f"{self.root}/truth", 72, 4, 20, 0.25, drift.PageHinkley(0.005, 3.0, 10), drift.Adwin(0.0001)
        )

    @property
    def began(self) -> datetime:
        return self.deployments.began

    def evaluation(self, time: datetime, **changed: Any) -> Evaluation:
        given = Evaluation(
            project="demo",
            workload="cardholders",
            stage=self.root.rpartition("/")[2],  # metrics of a test apart from those of the others
            time=time,
            endpoint=self.endpoint,
            endpoint_config=self.endpoint,
            model_package_arn=self.deployments.package_arn,
            model_version=1,
            root=f"{self.root}/monitor/prod",
            capture_uri=f"{self.root}/capture",
            experiment="demo-cardholders",
            threshold=THRESHOLD,
        )
        return replace(given, **changed)

    def evaluate(self, time: datetime, **changed: Any) -> dict[str, Any]:
        """Evaluate the hour before a time, and give the report that is in S3 then."""
        of = self.evaluation(time, **changed)
        client = self.deployments.client
        clients = Clients(client("s3"), client("cloudwatch"), lambda: client("sagemaker"))
        given = monitor.evaluate(of, self.settings, clients)
        kept: dict[str, Any] = json.loads(self.content(of.report_uri))
        assert kept == given
        return kept

    # --- what is there --------------------------------------------------------------------------------------------

    def capture(self, *lines: str, at: datetime) -> str:
        """Keep lines as captured at a time, in an object of their own; gives its URI."""
        uri = f"{self.root}/capture/{self.endpoint}/AllTraffic/{at:%Y/%m/%d/%H/%M-%S}-{uuid.uuid4()}.jsonl"
        self.put(uri, "".join(f"{line}\n" for line in lines))
        return uri

    def tell(self, identity: str, purchased: bool | str, at: datetime, name: str = "") -> None:
        """Keep what became of an answer. at: when it was asked for."""
        data = purchased if isinstance(purchased, str) else str(int(purchased))
        self.put(f"{self.settings.ground_truth_uri}/{at:%Y/%m/%d/%H}/{name or identity}.jsonl", truth(identity, data))

    def tell_all(self, ids: Sequence[str], purchased: bool, at: datetime) -> None:
        """Keep what became of many answers in one object, which is quicker."""
        text = "".join(truth(identity, str(int(purchased))) for identity in ids)
        self.put(f"{self.settings.ground_truth_uri}/{at:%Y/%m/%d/%H}/{uuid.uuid4()}.jsonl", text)

    def put(self, uri: str, text: str) -> None:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self.deployments.account.s3.put_object(Bucket=bucket, Key=key, Body=text.encode())

    def content(self, uri: str) -> bytes:
        return self.deployments.account.content(uri)

    def rows(self, uri: str) -> list[dict[str, Any]]:
        """The documents of an object with one a line."""
        return [json.loads(line) for line in self.content(uri).splitlines()]

    def joined(self, time: datetime) -> list[dict[str, Any]]:
        return self.rows(self.evaluation(time).joined_uri)

    def state(self, time: datetime) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.content(self.evaluation(time).state_uri))
        return found

    def keys(self, kind: str) -> list[str]:
        return self.deployments.account.keys(f"{self.root}/monitor/prod/{kind}")

    def metrics(self, name: str, time: datetime, **dimensions: str) -> list[float]:
        """The values of a metric in the hour before a time."""
        of = self.evaluation(time)
        where = {"Project": "demo", "Workload": "cardholders", "Stage": of.stage, **dimensions}
        found = self.deployments.client("cloudwatch").get_metric_statistics(
            Namespace="MLOps/Monitoring",
            MetricName=name,
            Dimensions=[{"Name": key, "Value": value} for key, value in where.items()],
            StartTime=time - HOUR,
            EndTime=time,
            Period=3600,
            Statistics=["Average"],
        )
        return [point["Average"] for point in found["Datapoints"]]


def _advance(endpoint: str, by: timedelta) -> None:
    request = urllib.request.Request(
        f"{endpoint}/_localcloud/advance", data=str(by.total_seconds()).encode(), method="POST"
    )
    with urllib.request.urlopen(request) as answered:
        answered.read()


def truth(identity: str, data: str) -> str:
    """A line of ground truth."""
    document = {
        "groundTruthData": {"data": data, "encoding": "CSV"},
        "eventMetadata": {"eventId": identity},
        "eventVersion": "0",
    }
    return json.dumps(document) + "\n"


def record(k: int = 1, uses: int = 10, **more: Any) -> dict[str, Any]:
    """A request."""
    return {"usage_freq": uses, "amount_spend": uses * 10, "uniq_merchant": uses // 2, "k": k, **more}


def answer(probability: float = 0.25, cluster: int = 0) -> dict[str, Any]:
    """What a model answers."""
    return {"predicted_cluster": cluster, "will_spend": probability >= 0.5, "probability": probability}


def line(
    identity: str | None, time: datetime, request: Any = None, response: Any = None, *, kind: str = "application/json"
) -> str:
    """A line of the capture, of one record or (lists) of a batch."""
    request = record() if request is None else request
    response = answer() if response is None else response
    if kind == "application/jsonlines":
        asked, said = ("".join(f"{json.dumps(one)}\n" for one in part) for part in (request, _responses(response)))
    else:
        asked, said = json.dumps(request), json.dumps({"response": response})
    document = {
        "captureData": {
            "endpointInput": {"observedContentType": kind, "mode": "INPUT", "data": asked, "encoding": "JSON"},
            "endpointOutput": {"observedContentType": kind, "mode": "OUTPUT", "data": said, "encoding": "JSON"},
        },
        "eventMetadata": {
            "eventId": str(uuid.uuid4()),
            **({} if identity is None else {"inferenceId": identity}),
            "inferenceTime": f"{time:%Y-%m-%dT%H:%M:%SZ}",
        },
        "eventVersion": "0",
    }
    return json.dumps(document)


def _responses(response: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"response": one} for one in response]


def made(time: datetime, number: int) -> str:
    """An inference id as the REST API makes it."""
    return f"{time:%Y%m%dT%H%M%SZ}-{number:016x}"
