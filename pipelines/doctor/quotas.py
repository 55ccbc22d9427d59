"""The account's quotas of SageMaker's machines against what the configuration may ask for at once.

New accounts have 0 of many machines. An endpoint counts with its scaling's upper bound, and an update wants a second
fleet beside the first (blue/green). Jobs count as they may run at once: each workload's pipeline runs `parallel_steps`,
and an hour's evaluations begin together.

Source: "Amazon SageMaker AI endpoints and quotas" in the AWS General Reference.
"""

from __future__ import annotations

from typing import Any

from pipelines import names as n
from pipelines.config import Configuration, Workloads
from pipelines.cost.budget import use_of
from pipelines.doctor.finding import Finding, bad, good, unchecked

__all__ = ["needed", "quotas"]

_NAMES = {
    "hosting": "{} for endpoint usage",
    "processing": "{} for processing job usage",
    "training": "{} for training job usage",
    "transform": "{} for transform job usage",
}
_CHECK = "quotas"


def needed(configuration: Configuration) -> dict[tuple[str, str], int]:
    """Machines at once, by use (`hosting`, `processing`, `training`, `transform`) and type."""
    counts: dict[tuple[str, str], int] = {}
    largest: dict[str, int] = {}
    workloads = len(Workloads.model_fields)
    for name in n.STAGES:
        stage = getattr(configuration.stages, name)
        machine, count = stage.endpoint.instance_type, stage.endpoint.instance_count
        if machine is None or count is None:
            continue
        most = count if stage.scaling is None else stage.scaling.max_instances
        counts["hosting", machine] = counts.get(("hosting", machine), 0) + workloads * most
        largest[machine] = max(largest.get(machine, 0), most)
    for machine, fleet in largest.items():
        counts["hosting", machine] += fleet
    for name in Workloads.model_fields:
        workload = getattr(configuration.workloads, name)
        for key, count in _jobs(workload, len(n.MONITORED.get(name, ()))).items():
            counts[key] = counts.get(key, 0) + count
    return counts


def _jobs(workload: Any, monitored: int) -> dict[tuple[str, str], int]:
    """The machines of a workload's jobs at once."""
    of_build: dict[tuple[str, str], list[int]] = {}
    counts: dict[tuple[str, str], int] = {}
    for step in type(workload.steps).model_fields:
        job = getattr(workload.steps, step)
        key = (use_of(step), job.instance_type)
        if step == "monitor":
            counts[key] = counts.get(key, 0) + monitored * job.instance_count
        elif step != "drift_report":  # follows an evaluation, on its machine's like
            of_build.setdefault(key, []).append(job.instance_count)
    for key, found in of_build.items():
        at_once = sorted(found, reverse=True)[: workload.execution.parallel_steps]
        counts[key] = counts.get(key, 0) + sum(at_once)
    return counts


def quotas(service_quotas: Any, configuration: Configuration) -> list[Finding]:
    """One finding for each quota that is too small or not known; one for all where none is."""
    values: dict[str, float] = {}
    for page in service_quotas.get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker"):
        values |= {quota["QuotaName"]: quota["Value"] for quota in page["Quotas"]}
    found: list[Finding] = []
    wanted = needed(configuration)
    for (use, machine), count in sorted(wanted.items()):
        name = _NAMES[use].format(machine)
        value = values.get(name)
        if value is None:
            do = f"look in the console of Service Quotas for a value of at least {count}"
            found.append(unchecked(_CHECK, f"Service Quotas lists no `{name}`", do))
        elif value < count:
            do = f"ask for at least {count} in {configuration.project.region}, or configure another machine"
            found.append(bad(_CHECK, f"`{name}` is {value:g}, and up to {count} are asked for at once", do))
    return found or [good(_CHECK, f"{len(wanted)} of SageMaker's machines, enough of each")]
