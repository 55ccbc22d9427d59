"""An account with what the API stands on: two endpoints, and the two feature groups."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

from tests.conftest import Localcloud
from tests.contract.images import register
from tests.contract.sagemaker_account import INSTANCE, Account, until
from tests.model_server import program
from tests.seed_code.api.gateway import ORIGIN

SALT = "a-project-cardholders"

SERVER = program("""
# Both models' contracts, with answers that tell what was asked: their numbers are counts of what came.
#
#     k of a record       41: refused as too large; 42: fails; 43: never answers; 44: answers rubbish; 45: ends
#     the feature `odd`   refused


class Refused(Exception):
    pass


def prediction(record, where):
    features = record.get("features", {})
    if record["k"] == 41:
        raise Refused(f"{where}k", "is 41; expected an integer from 1 to 30")
    if record["k"] == 43:
        threading.Event().wait()
    if record["k"] == 45:
        os._exit(9)
    if "odd" in features:
        raise Refused(f"{where}features.odd", "is unknown; expected only recency_days")
    if record["k"] == 44:
        return {"predicted_cluster": -1, "will_spend": 1, "probability": 1.5}
    known = features.get("recency_days", 0)
    return {"predicted_cluster": len(features), "will_spend": "name" not in record, "probability": known / 100}


def forecast(document):
    (series,) = document["instances"]
    target = series["target"]
    if target[-1] == 42.0:
        raise Refused("instances[0].target", "is refused")
    last = -1 if target[-1] == "NaN" else target[-1]
    mean = [len(target), target.count("NaN"), target[0], last, int(series["start"][14:16]), *([0.5] * 25)]
    if target[-1] == 44.0:
        mean = mean[:3]
    levels = document["configuration"]["quantiles"]
    return {"predictions": [{"mean": mean, "quantiles": {level: [float(level)] * 30 for level in levels}}]}


def answer(document):
    if isinstance(document, list):
        return {"response": [prediction(one, f"[{at}].") for at, one in enumerate(document)]}
    if "instances" in document:
        return forecast(document)
    return {"response": prediction(document, "")}


def respond(document):
    if isinstance(document, dict) and document.get("k") == 42:
        return 500, {"error": {"message": "at /opt/ml/model/secret.py, line 3", "field": None}}
    try:
        return 200, answer(document)
    except Refused as refused:
        return 400, {"error": {"field": refused.args[0], "message": refused.args[1]}}
""")


@dataclass(frozen=True)
class ApiAccount:
    """Names of what was made, and clients."""

    client: Callable[[str], Any]
    bucket: str
    endpoint: str
    holders: str
    minutes: str

    @property
    def environment(self) -> dict[str, str]:
        """Of the function for predictions."""
        return {
            "ENDPOINT_NAME": self.endpoint,
            "FEATURE_GROUP_NAME": self.holders,
            "HOLDER_SALT": SALT,
            "GROUND_TRUTH_URI": f"s3://{self.bucket}/cardholders/ground-truth",
            "ALLOWED_ORIGIN": ORIGIN,
        }

    @property
    def forecasts_environment(self) -> dict[str, str]:
        """Of the function for forecasts."""
        return {
            "ENDPOINT_NAME": self.endpoint,
            "FEATURE_GROUP_NAME": self.minutes,
            "QUANTILES": "0.05,0.5,0.95",
            "ALLOWED_ORIGIN": ORIGIN,
        }

    def put(self, group: str, **values: str) -> None:
        """Write a record."""
        record = [{"FeatureName": name, "ValueAsString": value} for name, value in values.items()]
        self.client("sagemaker-featurestore-runtime").put_record(FeatureGroupName=group, Record=record)

    def text(self, key: str) -> str:
        """The content of an object below the ground truth."""
        found = self.client("s3").get_object(Bucket=self.bucket, Key=f"cardholders/ground-truth/{key}")
        return str(found["Body"].read().decode())


def furnish(localcloud: Localcloud) -> ApiAccount:
    """Make it."""
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-west-1")
    clients: dict[str, Any] = {}

    def client(service: str) -> Any:
        if service not in clients:
            config = Config(retries={"total_max_attempts": 1})
            clients[service] = session.client(service, endpoint_url=localcloud.endpoint, config=config)
        return clients[service]

    account = Account(client, "eu-west-1")
    sagemaker, name = account.sagemaker, account.name("api")
    image = register(
        account.s3, client("ecr"), account.bucket, account=account.number, region="eu-west-1",
        repository=name, content=layer(),
    )  # fmt: skip
    sagemaker.create_model(ModelName=name, PrimaryContainer={"Image": image}, ExecutionRoleArn=account.role)
    variant = {"VariantName": "AllTraffic", "ModelName": name, "InstanceType": INSTANCE, "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    counts = {"usage_freq": "Integral", "uniq_merchant": "Integral", "recency_days": "Integral"}
    amounts = {"amount_spend": "Fractional", "gap_mean": "Fractional", "odd": "Fractional"}
    _group(sagemaker, f"{name}-holders", "holder", {**counts, **amounts})
    fees = {"total_nb_trx_1min": "Integral", "total_fee_1min": "Fractional", "avg_fee_1min": "Fractional"}
    _group(sagemaker, f"{name}-minutes", "tx_minute", fees)
    until(
        lambda: sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "InService", f"{name} is InService"
    )
    return ApiAccount(client, account.bucket, name, f"{name}-holders", f"{name}-minutes")


def _group(sagemaker: Any, name: str, identifier: str, features: dict[str, str]) -> None:
    types = {identifier: "String", "event_time": "String", **features}
    sagemaker.create_feature_group(
        FeatureGroupName=name,
        RecordIdentifierFeatureName=identifier,
        EventTimeFeatureName="event_time",
        FeatureDefinitions=[{"FeatureName": one, "FeatureType": kind} for one, kind in types.items()],
        OnlineStoreConfig={"EnableOnlineStore": True},
    )
    until(
        lambda: sagemaker.describe_feature_group(FeatureGroupName=name)["FeatureGroupStatus"] == "Created",
        f"{name} is Created",
    )


def layer() -> bytes:
    """The layer of an image that serves SERVER."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", compresslevel=1) as archive:
        entry = tarfile.TarInfo("opt/program/bin/serve")
        entry.size, entry.mode = len(SERVER.encode()), 0o755
        archive.addfile(entry, io.BytesIO(SERVER.encode()))
    return content.getvalue()
