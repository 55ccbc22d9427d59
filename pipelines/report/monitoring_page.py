"""The page of a workload's monitoring by itself. Pure, as `pipelines.report.page` is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pipelines.ingestion.minutes import Minute
from pipelines.registry import Package
from pipelines.report import monitoring, serving, stream, workloads
from pipelines.report.monitoring import Material
from pipelines.report.page import environment
from pipelines.report.serving import Stage

__all__ = ["MonitoringInputs", "render"]


@dataclass(frozen=True)
class MonitoringInputs:
    """Everything that the page tells of. `made_at` is the account's time, aware; `minutes` are the last day's of the
    stream, if the workload has one; the rest as in `page.Inputs`.
    """

    project: str
    workload: str
    made_at: datetime
    material: Material
    stages: Sequence[Stage] = ()
    packages: Sequence[Package] = ()
    mlflow_url: str | None = None
    minutes: Sequence[Minute] = ()


def render(inputs: MonitoringInputs) -> str:
    """The page."""
    headline, tone = monitoring.headline(inputs.material)
    found = serving.view(
        inputs.stages,
        inputs.packages,
        {},
        workloads.of({}, inputs.workload).measures,
        workload=inputs.workload,
        made_at=inputs.made_at,
        mlflow_url=inputs.mlflow_url,
        always_metrics=True,
    )
    return (
        environment()
        .get_template("monitoring_page.html.j2")
        .render(
            inputs=inputs,
            headline=headline,
            tone=tone,
            monitoring=monitoring.view(inputs.material, inputs.made_at),
            retrained=monitoring.retrainings(inputs.material.retrained),
            serving=found,
            stream=stream.view(inputs.minutes),
        )
    )
