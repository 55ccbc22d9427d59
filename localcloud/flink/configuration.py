"""What an application is made of: checked, completed with the service's defaults, and changed by updates.

Sources: "CreateApplication", "UpdateApplication", "FlinkApplicationConfiguration" (Managed Service for Apache Flink API
Reference), "Create and run a Managed Service for Apache Flink for Python application" (its Developer Guide).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.flink.errors import invalid, refused, unfit

Document = dict[str, Any]
Params = Mapping[str, Any]

RUNTIME = "FLINK-2_3"
RUN_OPTIONS = "kinesis.analytics.flink.run.options"
"""The property group that names the program of a Python application, and its jar."""
_KNOWN = frozenset(
    {
        "ApplicationCodeConfiguration", "ApplicationSnapshotConfiguration", "EnvironmentProperties",
        "FlinkApplicationConfiguration",
    }
)  # fmt: skip
_PLAIN = {"EnvironmentPropertyUpdates": "EnvironmentProperties"}
# What a part is where its ConfigurationType is DEFAULT, or where it is not named at all.
_CHECKPOINTS = {
    "ConfigurationType": "DEFAULT",
    "CheckpointingEnabled": True,
    "CheckpointInterval": 60_000,
    "MinPauseBetweenCheckpoints": 5_000,
}
_MONITORING = {"ConfigurationType": "DEFAULT", "MetricsLevel": "APPLICATION", "LogLevel": "INFO"}
_PARALLELISM = {
    "ConfigurationType": "DEFAULT",
    "Parallelism": 1,
    "ParallelismPerKPU": 1,
    "AutoScalingEnabled": False,
}


def configured(params: Params) -> Document:
    """An ApplicationConfiguration as it is kept: whole. Raises InvalidArgumentException for what cannot be."""
    if unknown := sorted(name for name, value in params.items() if name not in _KNOWN and value):
        raise refused(unknown, "application")
    code = params.get("ApplicationCodeConfiguration")
    if not code or code["CodeContentType"] != "ZIPFILE" or "S3ContentLocation" not in (code.get("CodeContent") or {}):
        raise invalid("ApplicationCodeConfiguration must be a ZIPFILE with an S3ContentLocation")
    flink = params.get("FlinkApplicationConfiguration") or {}
    groups = (params.get("EnvironmentProperties") or {}).get("PropertyGroups") or []
    found = {
        "Code": dict(code["CodeContent"]["S3ContentLocation"]),
        "Snapshots": (params.get("ApplicationSnapshotConfiguration") or {"SnapshotsEnabled": True})["SnapshotsEnabled"],
        "Groups": [
            {"PropertyGroupId": group["PropertyGroupId"], "PropertyMap": dict(group["PropertyMap"])} for group in groups
        ],
        "Checkpoints": _part(flink.get("CheckpointConfiguration"), _CHECKPOINTS),
        "Monitoring": _part(flink.get("MonitoringConfiguration"), _MONITORING),
        "Parallelism": _part(flink.get("ParallelismConfiguration"), _PARALLELISM),
    }
    return found


def updated(before: Params, update: Params) -> Document:
    """The configuration after an ApplicationConfigurationUpdate, whose members' names end in Update."""
    plain = _without_suffix(update)
    known = {
        "ApplicationCodeConfiguration", "ApplicationSnapshotConfiguration", "EnvironmentProperties",
        "FlinkApplicationConfiguration",
    }  # fmt: skip
    if unknown := sorted(name for name, value in plain.items() if name not in known and value):
        raise refused(unknown, "update of an application")
    found = {**before}
    code = plain.get("ApplicationCodeConfiguration") or {}
    if code.get("CodeContentType", "ZIPFILE") != "ZIPFILE" or set(code.get("CodeContent") or ()) - {
        "S3ContentLocation"
    }:
        raise invalid("ApplicationCodeConfigurationUpdate must be a ZIPFILE with an S3ContentLocationUpdate")
    if location := (code.get("CodeContent") or {}).get("S3ContentLocation"):
        if "FileKey" in location and "ObjectVersion" not in location:
            found["Code"] = {name: value for name, value in found["Code"].items() if name != "ObjectVersion"}
        found["Code"] = {**found["Code"], **location}
    if snapshots := plain.get("ApplicationSnapshotConfiguration"):
        found["Snapshots"] = snapshots["SnapshotsEnabled"]
    if "EnvironmentProperties" in plain:
        # All groups are replaced, as AWS does.
        found["Groups"] = plain["EnvironmentProperties"]["PropertyGroups"]
    flink = plain.get("FlinkApplicationConfiguration") or {}
    for member, name, defaults in (
        ("CheckpointConfiguration", "Checkpoints", _CHECKPOINTS),
        ("MonitoringConfiguration", "Monitoring", _MONITORING),
        ("ParallelismConfiguration", "Parallelism", _PARALLELISM),
    ):
        if member in flink:
            found[name] = _part({**found[name], **flink[member]}, defaults)
    return found


def check(configuration: Params) -> None:
    """Raise InvalidApplicationConfigurationException for a configuration that cannot be started here."""
    program = options(configuration).get("python", "")
    if not program.endswith(".py"):
        raise unfit(
            f"localcloud runs Python applications: the property group {RUN_OPTIONS} must name the program's file as"
            f" `python`; it is {program!r}"
        )
    mounts = mounted(configuration)
    if mounts and configuration["Parallelism"]["Parallelism"] != 1:
        raise unfit(
            "streams that are mounted as files are read in their order, by one subtask; Parallelism is"
            f" {configuration['Parallelism']['Parallelism']}, expected 1"
        )
    if not mounts:
        raise unfit(
            "localcloud mounts streams as files, and the job reads and writes those: expected property groups with"
            " `connector` filesystem and a `path` of /streams/NAME (configs/ingestion.yml: aggregate, connector)"
        )
    if both := sorted({one for one, source in mounts if source} & {one for one, source in mounts if not source}):
        raise unfit(
            f"the streams {', '.join(both)} are mounted both to be read and to be written; expected one of them"
        )


def options(configuration: Params) -> dict[str, str]:
    """The run options: `python`, and what else is there."""
    groups = {group["PropertyGroupId"]: group["PropertyMap"] for group in configuration["Groups"]}
    return dict(groups.get(RUN_OPTIONS, {}))


def mounted(configuration: Params) -> set[tuple[str, bool]]:
    """The streams that property groups name as files, each with whether it is read: one that is watched for new files
    (`source.monitor-interval`) is."""
    found = set()
    for group in configuration["Groups"]:
        properties = group["PropertyMap"]
        path = properties.get("path", "")
        if properties.get("connector") == "filesystem" and path.startswith("/streams/"):
            found.add((path.removeprefix("/streams/").strip("/"), "source.monitor-interval" in properties))
    return found


def described(configuration: Params, run: Params) -> Document:
    """As DescribeApplication shows it."""
    return {
        "ApplicationCodeConfigurationDescription": {
            "CodeContentType": "ZIPFILE",
            "CodeContentDescription": {"S3ApplicationCodeLocationDescription": configuration["Code"]},
        },
        "RunConfigurationDescription": run or None,
        "FlinkApplicationConfigurationDescription": {
            "CheckpointConfigurationDescription": configuration["Checkpoints"],
            "MonitoringConfigurationDescription": configuration["Monitoring"],
            "ParallelismConfigurationDescription": {
                **configuration["Parallelism"],
                "CurrentParallelism": configuration["Parallelism"]["Parallelism"],
            },
        },
        "EnvironmentPropertyDescriptions": {"PropertyGroupDescriptions": configuration["Groups"]},
        "ApplicationSnapshotConfigurationDescription": {"SnapshotsEnabled": configuration["Snapshots"]},
    }


def _part(given: Params | None, defaults: Params) -> Document:
    if not given or given["ConfigurationType"] == "DEFAULT":
        return dict(defaults)
    found = {**defaults, **given}
    if found.get("AutoScalingEnabled"):
        raise refused(["AutoScalingEnabled"], "application")
    return found


def _without_suffix(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_suffix(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {
        # Property groups are the user's own.
        _PLAIN.get(name, name.removesuffix("Update")): item if name == "PropertyGroups" else _without_suffix(item)
        for name, item in value.items()
    }
