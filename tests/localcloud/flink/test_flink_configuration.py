"""An application's configuration: completed, changed, refused, and as Flink's settings."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.errors import ServiceError
from localcloud.flink.configuration import check, configured, described, mounted, updated
from localcloud.flink.engine import Engine, newest_checkpoint
from localcloud.flink.supervisor import settings
from localcloud.jobs.reaper import Reaper

SOURCE = {"connector": "filesystem", "path": "/streams/transactions", "source.monitor-interval": "1s"}
SINK = {"connector": "filesystem", "path": "/streams/minutes"}


def given(parallelism: int = 1, **groups: dict[str, str]) -> dict[str, Any]:
    groups = {"in": SOURCE, "out": SINK, "kinesis.analytics.flink.run.options": {"python": "main.py"}, **groups}
    return {
        "ApplicationCodeConfiguration": {
            "CodeContentType": "ZIPFILE",
            "CodeContent": {"S3ContentLocation": {"BucketARN": "arn:aws:s3:::b", "FileKey": "k"}},
        },
        "FlinkApplicationConfiguration": {
            "CheckpointConfiguration": {"ConfigurationType": "CUSTOM", "CheckpointInterval": 1000},
            "ParallelismConfiguration": {"ConfigurationType": "CUSTOM", "Parallelism": parallelism},
        },
        "EnvironmentProperties": {
            "PropertyGroups": [{"PropertyGroupId": name, "PropertyMap": group} for name, group in groups.items()]
        },
    }


def test_what_is_not_named_is_the_services_default() -> None:
    found = configured(given())
    assert found["Checkpoints"]["MinPauseBetweenCheckpoints"] == 5000
    assert found["Monitoring"] == {"ConfigurationType": "DEFAULT", "MetricsLevel": "APPLICATION", "LogLevel": "INFO"}
    assert found["Snapshots"] is True
    shown = described(found, {})
    parallelism = shown["FlinkApplicationConfigurationDescription"]["ParallelismConfigurationDescription"]
    assert (parallelism["Parallelism"], parallelism["CurrentParallelism"]) == (1, 1)
    assert settings(found) == {
        "parallelism.default": "1",
        "taskmanager.numberOfTaskSlots": "1",
        "execution.checkpointing.interval": "1000 ms",
        "execution.checkpointing.min-pause": "5000 ms",
    }


def test_streams_are_mounted_by_the_groups_that_name_them() -> None:
    late = {**SINK, "format": "json"}
    assert mounted(configured(given(late=late))) == {("transactions", True), ("minutes", False)}


def test_an_update_changes_what_it_names() -> None:
    before = configured(given())
    groups = [{"PropertyGroupId": "a", "PropertyMap": {"pathUpdate": "x"}}]
    after = updated(
        before,
        {
            "ApplicationCodeConfigurationUpdate": {
                "CodeContentUpdate": {"S3ContentLocationUpdate": {"FileKeyUpdate": "other"}}
            },
            "EnvironmentPropertyUpdates": {"PropertyGroups": groups},
            "FlinkApplicationConfigurationUpdate": {
                "CheckpointConfigurationUpdate": {"ConfigurationTypeUpdate": "CUSTOM", "CheckpointIntervalUpdate": 5}
            },
            "ApplicationSnapshotConfigurationUpdate": {"SnapshotsEnabledUpdate": False},
        },
    )
    assert after["Code"] == {"BucketARN": "arn:aws:s3:::b", "FileKey": "other"}
    assert after["Groups"] == groups
    assert (after["Checkpoints"]["CheckpointInterval"], after["Snapshots"]) == (5, False)
    assert after["Parallelism"] == before["Parallelism"]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (given(parallelism=2), "Parallelism is 2"),
        (given(**{"kinesis.analytics.flink.run.options": {}}), "`python`"),
        (given(**{"in": {"connector": "kinesis"}, "out": {"connector": "kinesis"}}), "mounts streams"),
        (given(both={**SOURCE, "path": "/streams/minutes"}), "minutes"),
    ],
)
def test_what_cannot_run_says_why(params: dict[str, Any], said: str) -> None:
    with pytest.raises(ServiceError, match=said):
        check(configured(params))


@pytest.mark.parametrize("member", ["VpcConfigurations", "SqlApplicationConfiguration"])
def test_what_is_not_honoured_is_refused(member: str) -> None:
    with pytest.raises(ServiceError, match=member):
        configured({**given(), member: [{"x": 1}]})


def test_without_an_interpreter_it_says_what_to_do() -> None:
    with pytest.raises(ServiceError, match="--flink-python"):
        Engine(None, Reaper()).check()


def test_the_newest_whole_checkpoint_is_found(tmp_path: Any) -> None:
    assert newest_checkpoint(tmp_path) is None
    for number, name in enumerate(("a/chk-9", "b/chk-2", "b/chk-3")):
        folder = tmp_path / "checkpoints" / name
        folder.mkdir(parents=True)
        if name != "b/chk-3":
            (folder / "_metadata").write_text(str(number))
    assert newest_checkpoint(tmp_path) == str(tmp_path / "checkpoints" / "b" / "chk-2")
