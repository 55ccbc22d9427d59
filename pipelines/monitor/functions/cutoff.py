"""Evaluations that were cut off, or failed: each is made up for once, by the next hour's.

What is cut off leaves no state, and so has not happened; but nobody asks for its hour again, and the hour's loss is in
no metric then. An hour is made up for when all that was ever started for it is one execution, which has failed. One
that fails again has a cause that repetition does not mend (people were told of both), and one that somebody stopped is
left alone.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta

from pipelines.carried import serving
from pipelines.carried.project import client, names
from pipelines.monitor.functions.start import KIND, display_name

# Older ones are left: CloudWatch's alarms look back no farther than that either, and people were told.
MADE_UP = timedelta(hours=6)
_HOUR = timedelta(hours=1)
# Of two stages, with those that alarms start: more than there can be in so many hours.
_NEWEST = 100


def hours(workload: str, stage: str, moment: datetime) -> list[datetime]:
    """The evaluation times before a moment (aware) that are to be made up for, oldest first."""
    statuses = _statuses(workload)
    wanted = [moment - number * _HOUR for number in range(MADE_UP // _HOUR, 0, -1)]
    found = [time for time in wanted if statuses[display_name(stage, time)] == ["Failed"]]
    if not found:
        return []
    served = serving.find(client("ssm"), names().serving_parameter(workload, stage))
    # What serves now is not to be blamed for an hour in which something else did.
    return [time for time in found if served is not None and served.since.astimezone(UTC) <= time - _HOUR]


def _statuses(workload: str) -> dict[str, list[str]]:
    """What became of the newest executions, by their names."""
    sagemaker = client("sagemaker")
    found: dict[str, list[str]] = defaultdict(list)
    try:
        listed = sagemaker.list_pipeline_executions(
            PipelineName=names().pipeline(workload, KIND),
            SortBy="CreationTime",
            SortOrder="Descending",
            MaxResults=_NEWEST,
        )["PipelineExecutionSummaries"]
    except sagemaker.exceptions.ResourceNotFound:
        return found
    for one in listed:
        found[one.get("PipelineExecutionDisplayName", "")].append(one["PipelineExecutionStatus"])
    return found
