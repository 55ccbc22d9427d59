"""The service cloudwatch: metrics of users and of localcloud's own services, alarms and dashboards."""

from __future__ import annotations

from collections.abc import Mapping

from localcloud.cloudwatch.actions import Actions, RunPolicy
from localcloud.cloudwatch.alarms import Alarms
from localcloud.cloudwatch.dashboards import Dashboards
from localcloud.cloudwatch.data import MetricData
from localcloud.cloudwatch.history import History
from localcloud.cloudwatch.metrics import Metrics
from localcloud.cloudwatch.watch import Watch
from localcloud.context import Context
from localcloud.gathering import Gathering
from localcloud.service import Handler
from localcloud.signals import Measurement

_GATHER_SECONDS = 0.02


class CloudWatch:
    """The service. `run_policy` is what runs the scaling policies that are actions of alarms."""

    name = "cloudwatch"

    def __init__(self, context: Context, run_policy: RunPolicy | None = None) -> None:
        folder = context.state_dir / "cloudwatch"
        self._metrics, self._history = Metrics(folder / "metrics.sqlite"), History(folder / "history.sqlite")
        self._inlet: Gathering[Measurement] = Gathering(
            "measurements", context.timetable, lambda measurements: data.take(measurements), seconds=_GATHER_SECONDS
        )
        self._actions = Actions(context, self._history, run_policy)
        self._watch = Watch(context, self._metrics, self._history, self._actions, self._inlet.drain)
        data = MetricData(context, self._metrics, self._watch.samples_came, self._inlet.drain)
        context.signals.on_measurement(self._inlet.put)
        alarms = Alarms(context, self._watch, self._history, self._actions)
        dashboards = Dashboards(context)
        self._operations: dict[str, Handler] = {
            "PutMetricData": data.put,
            "GetMetricData": data.get_data,
            "GetMetricStatistics": data.get_statistics,
            "ListMetrics": data.list_metrics,
            "PutMetricAlarm": alarms.put_metric,
            "PutCompositeAlarm": alarms.put_composite,
            "DescribeAlarms": alarms.describe,
            "DescribeAlarmsForMetric": alarms.describe_for_metric,
            "DescribeAlarmHistory": alarms.describe_history,
            "DeleteAlarms": alarms.delete,
            "SetAlarmState": alarms.set_state,
            "EnableAlarmActions": alarms.enable,
            "DisableAlarmActions": alarms.disable,
            "PutDashboard": dashboards.put,
            "GetDashboard": dashboards.get,
            "ListDashboards": dashboards.list,
            "DeleteDashboards": dashboards.delete,
            "TagResource": alarms.tag,
            "UntagResource": alarms.untag,
            "ListTagsForResource": alarms.list_tags,
        }

    @property
    def operations(self) -> Mapping[str, Handler]:
        """What is implemented, by name."""
        return self._operations

    def start(self) -> None:
        """Do the actions that an earlier process left to be done, and look at every alarm."""
        self._actions.start()
        self._watch.start()

    def stop(self) -> None:
        """Keep what was measured, and end."""
        self._inlet.stop()
        self._actions.stop()
        self._metrics.close()
        self._history.close()
