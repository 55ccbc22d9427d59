"""What a task definition may be on Fargate, and here. A pure function of the request.

Sources: "Amazon ECS task definition parameters for Fargate", "Amazon ECS task definition differences for Fargate" and
"Restart individual containers in Amazon ECS tasks with container restart policies" (Amazon ECS Developer Guide).

CPU and memory are checked, not enforced. A container runs as the user that localcloud runs as, whatever `user` says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.ecs.errors import client_error, refused

Definition = Mapping[str, Any]

_GIGABYTE = 1024
# Megabytes that go with so many CPU units: from, to, in steps of.
_SIZES: Mapping[int, Sequence[int]] = {
    256: (512, 1024, 2048),
    512: range(1 * _GIGABYTE, 4 * _GIGABYTE + 1, _GIGABYTE),
    1024: range(2 * _GIGABYTE, 8 * _GIGABYTE + 1, _GIGABYTE),
    2048: range(4 * _GIGABYTE, 16 * _GIGABYTE + 1, _GIGABYTE),
    4096: range(8 * _GIGABYTE, 30 * _GIGABYTE + 1, _GIGABYTE),
    8192: range(16 * _GIGABYTE, 60 * _GIGABYTE + 1, 4 * _GIGABYTE),
    16384: range(32 * _GIGABYTE, 120 * _GIGABYTE + 1, 8 * _GIGABYTE),
}
_TASK = frozenset(
    {
        "containerDefinitions", "cpu", "ephemeralStorage", "executionRoleArn", "family", "memory", "networkMode",
        "requiresCompatibilities", "runtimePlatform", "tags", "taskRoleArn", "volumes",
    }
)  # fmt: skip
_CONTAINER = frozenset(
    {
        "command", "cpu", "dockerLabels", "entryPoint", "environment", "essential", "healthCheck", "image",
        "linuxParameters", "logConfiguration", "memory", "memoryReservation", "mountPoints", "name",
        "readonlyRootFilesystem", "restartPolicy", "stopTimeout", "user", "versionConsistency", "workingDirectory",
    }
)  # fmt: skip
_LINUX = frozenset({"capabilities", "initProcessEnabled"})
_LOG_OPTIONS = frozenset(
    {"awslogs-group", "awslogs-region", "awslogs-stream-prefix", "awslogs-create-group", "max-buffer-size", "mode"}
)
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,255}")
# What a member must lie between, and what it is where it is not named.
_HEALTH = {"interval": (5, 300), "timeout": (2, 60), "retries": (1, 10), "startPeriod": (0, 300)}
_STOP_SECONDS, _RESTART_SECONDS = (0, 120), (60, 1800)
_EPHEMERAL_GIGABYTES = (21, 200)


def check(params: Definition) -> None:
    """Raise ClientException or InvalidParameterException for a definition that cannot run, naming what is wrong."""
    _only(params, _TASK, "task definition")
    if not _NAME.fullmatch(params["family"]):
        raise client_error(
            f"Family contains invalid characters: {params['family']!r}; letters, numbers, - and _ are expected"
        )
    if "FARGATE" not in params.get("requiresCompatibilities", ()):
        raise client_error(
            f"localcloud runs tasks on Fargate; requiresCompatibilities is {params.get('requiresCompatibilities', [])},"
            " expected [FARGATE]"
        )
    if params.get("networkMode") != "awsvpc":
        raise client_error("Fargate only supports network mode 'awsvpc'.")
    _check_size(params)
    _check_platform(params)
    _check_volumes(params.get("volumes") or ())
    containers = params["containerDefinitions"]
    if not containers:
        raise client_error("Container list cannot be empty.")
    if len({container.get("name") for container in containers}) != len(containers):
        raise client_error("Container names must be unique in a task definition.")
    if not any(container.get("essential", True) for container in containers):
        raise client_error("At least one container must be essential.")
    for container in containers:
        _check_container(container, params)


def complete(container: Definition) -> dict[str, Any]:
    """A container definition with the members that AWS adds when it is registered."""
    return {
        "cpu": 0,
        "essential": True,
        "environment": [],
        "mountPoints": [],
        "portMappings": [],
        "systemControls": [],
        "volumesFrom": [],
        **container,
    }


def cpu_units(text: str) -> int:
    """CPU units of `256` or `.25 vCPU`; 0 for anything else."""
    found = re.fullmatch(r"\s*(?:(\d+)|(\d*\.?\d+)\s*vcpu)\s*", text, re.IGNORECASE)
    if found is None:
        return 0
    return int(found[1]) if found[1] else round(float(found[2]) * 1024)


def megabytes(text: str) -> int:
    """Megabytes of `512` or `0.5 GB`; 0 for anything else."""
    found = re.fullmatch(r"\s*(?:(\d+)|(\d*\.?\d+)\s*gb)\s*", text, re.IGNORECASE)
    if found is None:
        return 0
    return int(found[1]) if found[1] else round(float(found[2]) * _GIGABYTE)


def _only(given: Definition, known: frozenset[str], what: str) -> None:
    if unknown := sorted(name for name, value in given.items() if name not in known and value):
        raise refused(unknown, what)


def _check_size(params: Definition) -> None:
    if not params.get("cpu") or not params.get("memory"):
        raise client_error("Fargate requires that 'cpu' and 'memory' be defined at the task level.")
    cpu, memory = cpu_units(params["cpu"]), megabytes(params["memory"])
    if memory not in _SIZES.get(cpu, ()):
        raise client_error(
            f"No Fargate configuration exists for given values: {params['cpu']} CPU, {params['memory']} memory. See the"
            " Amazon ECS documentation for the valid values."
        )
    for member, most in (("cpu", cpu), ("memory", memory), ("memoryReservation", memory)):
        for container in params["containerDefinitions"]:
            if (container.get(member) or 0) > most:
                raise client_error(f"Invalid setting for container. '{member}' is greater than the task's: {most}")


def _check_platform(params: Definition) -> None:
    family = (params.get("runtimePlatform") or {}).get("operatingSystemFamily", "LINUX")
    if family != "LINUX":
        raise client_error(f"localcloud runs operatingSystemFamily LINUX; got {family}")
    storage = params.get("ephemeralStorage")
    if storage is not None:
        _check_between(storage["sizeInGiB"], _EPHEMERAL_GIGABYTES, "ephemeralStorage sizeInGiB")


def _check_volumes(volumes: Sequence[Definition]) -> None:
    names = [volume.get("name") for volume in volumes]
    if not all(names) or len(set(names)) != len(names):
        raise client_error(f"Volumes must have names, each its own; got {names}")
    for volume in volumes:
        _only(volume, frozenset({"name", "host"}), f"volume {volume['name']}")
        if (volume.get("host") or {}).get("sourcePath"):
            raise client_error("host.sourcePath should not be set for volumes in Fargate.")


def _check_container(container: Definition, params: Definition) -> None:
    name = container.get("name", "")
    if not _NAME.fullmatch(name):
        raise client_error(f"Container name is {name!r}; letters, numbers, - and _ are expected")
    what = f"container {name}"
    _only(container, _CONTAINER, what)
    if not container.get("image"):
        raise client_error(f"Container.image should not be null or empty: {what}")
    linux = container.get("linuxParameters") or {}
    _only(linux, _LINUX, f"linuxParameters of {what}")
    if (linux.get("capabilities") or {}).get("add"):
        raise refused(["capabilities.add"], f"linuxParameters of {what}")
    if container.get("stopTimeout") is not None:
        _check_between(container["stopTimeout"], _STOP_SECONDS, f"stopTimeout of {what}")
    period = (container.get("restartPolicy") or {}).get("restartAttemptPeriod")
    if period is not None:
        _check_between(period, _RESTART_SECONDS, f"restartAttemptPeriod of {what}")
    volumes = {volume["name"] for volume in params.get("volumes") or ()}
    for mount in container.get("mountPoints") or ():
        if mount.get("sourceVolume") not in volumes:
            raise client_error(f"Unknown volume '{mount.get('sourceVolume')}'.")
        if not str(mount.get("containerPath", "")).startswith("/"):
            raise client_error(f"containerPath of {what} must be an absolute path; got {mount.get('containerPath')!r}")
        if mount.get("readOnly"):
            raise refused(["mountPoints.readOnly"], what)
    _check_health(container.get("healthCheck"), what)
    _check_log(container, params)
    if not params.get("executionRoleArn"):
        raise client_error("Fargate requires task definition to have execution role ARN to support ECR images.")


def _check_health(health: Definition | None, what: str) -> None:
    if health is None:
        return
    kind = health["command"][0] if health["command"] else ""
    if kind not in ("CMD", "CMD-SHELL", "NONE") or (kind != "NONE" and len(health["command"]) < 2):
        raise client_error(
            f"healthCheck.command of {what} must be NONE, or CMD or CMD-SHELL and what to run; got {health['command']}"
        )
    for member, bounds in _HEALTH.items():
        if health.get(member) is not None:
            _check_between(health[member], bounds, f"healthCheck.{member} of {what}")


def _check_log(container: Definition, params: Definition) -> None:
    log, what = container.get("logConfiguration"), f"container {container['name']}"
    if log is None:
        return
    if log["logDriver"] != "awslogs":
        raise client_error(f"localcloud has the log driver awslogs; got {log['logDriver']} for {what}")
    if log.get("secretOptions"):
        raise refused(["secretOptions"], f"logConfiguration of {what}")
    options = log.get("options") or {}
    if unknown := sorted(set(options) - _LOG_OPTIONS):
        raise refused(unknown, f"logConfiguration of {what}")
    for option in ("awslogs-group", "awslogs-region", "awslogs-stream-prefix"):
        if not options.get(option):
            raise client_error(f"Log driver awslogs requires options: {option} (in {what})")


def _check_between(value: int, bounds: tuple[int, int], what: str) -> None:
    least, most = bounds
    if not least <= value <= most:
        raise client_error(f"{what} must be from {least} to {most}; got {value}")
