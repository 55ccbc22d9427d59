"""An hour has passed, or an alarm has fired: starts the monitor pipeline of the stage.

    {"workload": …, "stage": …, "time": …}     from the schedule, at its moment: the hour before it is evaluated. Once a
                                               day people get a report of drift in production with it.
    CloudWatch Alarm State Change, to ALARM    of one of the stage's alarms: the last full hour again, with a report

Both come more than once at times; the same one starts one execution. A stage that serves nothing yet is passed over.
With the schedule's, hours of late whose evaluation was cut off are evaluated once more (`cutoff`).

Source: "Alarm state change events" and "Alarm events and EventBridge" in the CloudWatch User Guide.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from pipelines import names as n
from pipelines.carried.project import Session, log, moment_of, names
from pipelines.monitor.functions import cutoff
from pipelines.monitor.functions.start import NotServed, start
from pipelines.starter import PipelineMissing

# Daily, of production alone: what staging is asked is what production is asked, or nothing.
REPORT_HOUR, REPORTED = 6, "prod"  # UTC
DAILY = "daily"


@log.inject_lambda_context
def handler(event: dict[str, Any], _: LambdaContext) -> str:
    """Start an evaluation; gives the execution's ARN, or nothing if there is nothing to evaluate."""
    if "detail" in event:
        alarm = event["detail"]["alarmName"]
        found = names().monitored_by(alarm)
        if found is None:
            log.info("no alarm of a monitored stage", extra={"alarm": alarm})
            return ""
        workload, stage = found[:2]
        fired = moment_of(event).astimezone(UTC)
        moment = fired.replace(minute=0, second=0, microsecond=0)
        return _start(workload, stage, moment, report=alarm, token=f"{alarm} {fired.isoformat()}")
    moment = moment_of(event).astimezone(UTC)
    workload, stage = event["workload"], event["stage"]
    token = f"{workload} {stage}"
    for lost in cutoff.hours(workload, stage, moment):
        _start(workload, stage, lost, report=_daily(stage, lost), token=f"{token} {lost.isoformat()} again")
    return _start(workload, stage, moment, report=_daily(stage, moment), token=f"{token} {moment.isoformat()}")


def _daily(stage: str, moment: datetime) -> str | None:
    return DAILY if stage == REPORTED and moment.hour == REPORT_HOUR else None


def _start(workload: str, stage: str, moment: datetime, *, report: str | None, token: str) -> str:
    about = {"workload": workload, "stage": stage, "evaluation_time": moment.isoformat()}
    try:
        arn = start(
            Session(),
            names(),
            workload,
            stage,
            moment,
            tracking_uri=os.environ[n.MLFLOW_TRACKING_URI_VARIABLE],
            report=report,
            token=f"{names().project} {token}",
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConflictException":
            raise
        # The same token with other parameters: the stage serves another model by now, or the threshold has moved.
        log.info("the same event has started one before", extra={**about, "because": str(error)})
        return ""
    except (NotServed, PipelineMissing) as error:
        log.info("nothing to evaluate", extra={**about, "because": str(error)})
        return ""
    log.info("started", extra={**about, "execution": arn, "report": report})
    return arn
