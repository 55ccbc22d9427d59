"""How long the steps of the last executions took, where an account tells of them."""

from __future__ import annotations

from typing import Any

from pipelines import executions
from pipelines.config import Configuration, Workloads
from pipelines.cost.estimate import title_of

__all__ = ["measured"]

_MONITOR_STEPS = ("monitor", "drift_report")
_SECONDS = 60


def measured(sagemaker: Any, configuration: Configuration) -> dict[tuple[str, str], float]:
    """Minutes by workload and field of `steps`; nothing of a step that did not run, or whose result was used again."""
    found: dict[tuple[str, str], float] = {}
    for workload in Workloads.model_fields:
        steps = getattr(configuration.workloads, workload).steps
        for kind in ("build", "monitor"):
            arn = executions.latest(sagemaker, configuration.names.pipeline(workload, kind))
            if arn is None:
                continue
            execution = executions.read(sagemaker, arn)
            for field in type(steps).model_fields:
                run = execution.step(title_of(field))
                if run is None or (field in _MONITOR_STEPS) != (kind == "monitor"):
                    continue
                if run.status == "Succeeded" and run.cached_from is None and run.job is not None:
                    seconds = run.seconds()
                    if seconds is not None:
                        found[workload, field] = round(seconds / _SECONDS, 2)
    return found
