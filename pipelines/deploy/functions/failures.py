"""The net below the deploy pipelines: an execution has failed or was stopped, with or without its own roll-back.

What it left half done is undone: an endpoint that it changed, and that it did not come to mark as serving, goes back to
the configuration that it had; and the stage is given back, so that the next deployment can begin.

An update of an endpoint cannot be stopped, and lasts longer than Lambda tries again. The endpoint's own event, with
which it ends, therefore starts this function, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from pipelines.carried.project import log, names
from pipelines.deploy.functions import deployments, endpoints, serving
from pipelines.names import DEPLOY_KINDS, STAGES

_CHANGING = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")


@log.inject_lambda_context
def handler(event: dict[str, Any], _: LambdaContext) -> None:
    """Take an event of an execution that has ended, or of an endpoint that has changed."""
    detail = event["detail"]
    if "EndpointName" in detail:
        found = _stage_of(detail["EndpointName"], {stage: stage for stage in STAGES})
    else:
        found = _stage_of(detail["pipelineArn"].rpartition("/")[2], DEPLOY_KINDS)
    if found is None:
        return
    workload, stage = found
    endpoint = names().endpoint(workload, stage)
    held = deployments.find(endpoint)
    if held is None or (held.execution != detail.get("pipelineExecutionArn") and deployments.is_live(held.execution)):
        return
    now = serving.find(workload, stage)
    if held.config and (now is None or now.endpoint_config != held.config):
        there = endpoints.describe(endpoint)
        # While it changes an endpoint names the configuration that it had before.
        if there is not None and there["EndpointStatus"] in _CHANGING:
            log.info("the endpoint is still changing", extra={"endpoint": endpoint, "status": there["EndpointStatus"]})
            return
        if there is not None and there["EndpointConfigName"] == held.config:
            endpoints.roll_back(endpoint, held.config, held.previous)
            log.warning("rolled back", extra={"endpoint": endpoint, "execution": held.execution})
    deployments.release(endpoint, held.execution)


def _stage_of(name: str, endings: Mapping[str, str]) -> tuple[str, str] | None:
    """The workload and stage of a deploy pipeline, or an endpoint, of this project; None for any other.

    endings: by stage, how such names end.
    """
    start = f"{names().project}-"
    for stage, ending in endings.items():
        if name.startswith(start) and name.endswith(f"-{ending}"):
            return name[len(start) : -len(ending) - 1], stage
    return None
