"""Bringing image, data and pipeline into an account: done once, and left alone when nothing has changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines import deployment
from pipelines.errors import UsageError
from tests.pipelines.furnished import furnish


@pytest.fixture
def ready(project: Any) -> Any:
    furnish(project.session, project.configuration)
    return project


def _request(project: Any, **changes: Any) -> dict[str, Any]:
    steps = [{"Name": "No", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}]
    definition = {"Version": "2020-12-01", "Metadata": {}, "Parameters": [], "Steps": steps}
    return {
        "PipelineName": project.names.pipeline("cardholders", "build"),
        "PipelineDefinition": json.dumps(definition),
        "RoleArn": project.names.role_arn,
        "ParallelismConfiguration": {"MaxParallelExecutionSteps": 2},
        **changes,
    }


def test_a_pipeline_is_created_updated_and_left_alone(ready: Any) -> None:
    sagemaker = ready.session.client("sagemaker")
    assert deployment.upsert(ready.session, _request(ready)) == "created"
    before = sagemaker.describe_pipeline(PipelineName=_request(ready)["PipelineName"])
    assert deployment.upsert(ready.session, _request(ready)) == "unchanged"
    spaced = json.dumps(json.loads(_request(ready)["PipelineDefinition"]), indent=4)
    assert deployment.upsert(ready.session, _request(ready, PipelineDefinition=spaced)) == "unchanged"
    after = sagemaker.describe_pipeline(PipelineName=_request(ready)["PipelineName"])
    assert after["LastModifiedTime"] == before["LastModifiedTime"]
    wider = _request(ready, ParallelismConfiguration={"MaxParallelExecutionSteps": 3})
    assert deployment.upsert(ready.session, wider) == "updated"
    assert deployment.upsert(ready.session, wider) == "unchanged"
    other = json.loads(wider["PipelineDefinition"])
    other["Steps"][0]["Arguments"]["ErrorMessage"] = "never"
    assert deployment.upsert(ready.session, {**wider, "PipelineDefinition": json.dumps(other)}) == "updated"


def test_the_same_bytes_have_one_place(ready: Any, tmp_path: Path) -> None:
    one, other, different = tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "c.csv"
    one.write_bytes(b"x" * 1000)
    other.write_bytes(b"x" * 1000)
    different.write_bytes(b"y")
    sent: list[str] = []
    ready.session.events.register("provide-client-params.s3.PutObject", lambda params, **_: sent.append(params["Key"]))
    uri = deployment.upload(ready.session, ready.names, "cardholders", one)
    assert len(sent) == 1
    assert deployment.upload(ready.session, ready.names, "cardholders", other) == uri
    assert len(sent) == 1
    assert deployment.upload(ready.session, ready.names, "cardholders", different) != uri
    prefix = uri.removeprefix(f"s3://{ready.names.bucket}/")
    assert prefix.startswith("cardholders/uploads/sha256-")
    listed = ready.session.client("s3").list_objects_v2(Bucket=ready.names.bucket, Prefix=prefix)
    assert [entry["Key"] for entry in listed["Contents"]] == [f"{prefix}a.csv"]


@pytest.mark.parametrize(("name", "said"), [("nothing.csv", "No such file"), (".", "is a folder")])
def test_what_cannot_be_read_is_refused(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        deployment.content_name(tmp_path / name)
