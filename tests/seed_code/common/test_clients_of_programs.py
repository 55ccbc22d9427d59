"""Clients of short programs: botocore's own, and quickly made."""

from __future__ import annotations

import json
import subprocess
import sys

import boto3
import pytest

from seed_code.common import clients

# Each takes as long to import as an evaluation may take in all, or a good part of it.
HEAVY = ("mlflow", "pandas", "scipy", "sklearn", "torch", "pyarrow", "narwhals", "boto3", "s3transfer")


@pytest.fixture(autouse=True)
def account(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    clients.session.cache_clear()
    yield
    clients.session.cache_clear()


@pytest.mark.parametrize("service", ["s3", "cloudwatch", "sagemaker", "sagemaker-featurestore-runtime"])
def test_a_client_is_the_one_that_boto3_makes(service):
    found, expected = clients.client(service, read_seconds=3, attempts=2).meta, boto3.client(service).meta
    assert (found.endpoint_url, found.region_name) == ("http://127.0.0.1:9", "eu-west-1")
    assert found.method_to_api_mapping.items() <= {**expected.method_to_api_mapping}.items()
    assert found.service_model.operation_names == expected.service_model.operation_names
    assert (found.config.read_timeout, found.config.retries) == (3, {"mode": "standard", "total_max_attempts": 2})


def test_descriptions_of_services_may_lie_elsewhere(monkeypatch, tmp_path):
    loader = boto3.Session()._session.get_component("data_loader")
    # Not in place: the loader, and all who share it, keep what they have read.
    model = dict(loader.load_service_model("cloudwatch", "service-2"))
    model["operations"] = {"PutMetricData": model["operations"]["PutMetricData"]}
    for name, document in (("service-2", model), ("endpoint-rule-set-1", None)):
        file = tmp_path / "cloudwatch" / "2099-01-01" / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document or loader.load_service_model("cloudwatch", name)))
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    assert clients.client("cloudwatch").meta.service_model.operation_names == ["PutMetricData"]


@pytest.mark.parametrize("workload", ["forecaster", "cardholders"])
def test_a_monitor_starts_without_the_libraries_that_take_long(workload):
    code = f"import sys, seed_code.{workload}.monitor; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
