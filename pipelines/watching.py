"""How the stages of a workload do right now, read in one go: what `mlops watch` shows."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipelines import names as n
from pipelines import retrainings, stages
from pipelines.account_time import account_time
from pipelines.executions import FINISHED
from pipelines.monitoring import Alarm, Evaluation, Known, alarms, evaluations
from pipelines.names import Names
from pipelines.retrainings import Retrainings
from pipelines.stages import Serving

__all__ = ["Clients", "Run", "StageSeen", "WorkloadSeen", "look"]

HOURS = 24
# Of a pipeline: what runs is among the newest.
_RUNS = 5


@dataclass(frozen=True)
class Run:
    """An execution of one of the workload's pipelines."""

    arn: str
    kind: str
    name: str
    status: str
    started: datetime

    @property
    def running(self) -> bool:
        return self.status not in FINISHED


@dataclass(frozen=True)
class StageSeen:
    """A monitored stage: what it serves, its newest evaluations, oldest first, and its alarms by kind."""

    stage: str
    serving: Serving | None
    evaluations: Sequence[Evaluation]
    alarms: Mapping[str, Alarm]

    @property
    def newest(self) -> Evaluation | None:
        return self.evaluations[-1] if self.evaluations else None


@dataclass(frozen=True)
class WorkloadSeen:
    """A workload at a moment, the account's `now`. `runs` are the newest executions of its pipelines."""

    workload: str
    now: datetime
    stages: Sequence[StageSeen]
    runs: Sequence[Run]
    retrainings: Retrainings


@dataclass
class Clients:
    """Where it is read, and what need not be read again."""

    sagemaker: Any
    s3: Any
    ssm: Any
    cloudwatch: Any
    dynamodb: Any
    sts: Any
    known: MutableMapping[Known, Evaluation | None] = field(default_factory=dict)


def look(clients: Clients, names: Names, workload: str, wanted: Sequence[str]) -> WorkloadSeen:
    """The workload as it is now. wanted: the stages that are of interest, monitored ones."""
    seen = [
        StageSeen(
            stage=stage,
            serving=stages.serving(clients.ssm, names, workload, stage),
            evaluations=evaluations(clients.s3, names, workload, stage, newest=HOURS, known=clients.known),
            alarms=alarms(clients.cloudwatch, names, workload, stage),
        )
        for stage in wanted
    ]
    runs = [run for kind in n.KINDS for run in _runs(clients.sagemaker, names, workload, kind)]
    happened = [one.newest.time for one in seen if one.newest] + [run.started for run in runs]
    return WorkloadSeen(
        workload=workload,
        now=account_time(clients.sts, happened),
        stages=seen,
        runs=runs,
        retrainings=retrainings.read(clients.dynamodb, names, workload),
    )


def _runs(sagemaker: Any, names: Names, workload: str, kind: str) -> list[Run]:
    try:
        listed = sagemaker.list_pipeline_executions(
            PipelineName=names.pipeline(workload, kind),
            SortBy="CreationTime",
            SortOrder="Descending",
            MaxResults=_RUNS,
        )["PipelineExecutionSummaries"]
    except sagemaker.exceptions.ResourceNotFound:
        return []
    return [
        Run(
            arn=one["PipelineExecutionArn"],
            kind=kind,
            name=one.get("PipelineExecutionDisplayName") or one["PipelineExecutionArn"].rpartition("/")[2],
            status=one["PipelineExecutionStatus"],
            started=one["StartTime"],
        )
        for one in listed
    ]
