"""EventBridge Scheduler as a service: its parts put together, and its operations by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from localcloud.context import Context
from localcloud.scheduler.firing import Firing
from localcloud.scheduler.schedules import Schedules
from localcloud.service import Handler


class Scheduler:
    """The service. `settle` is called after deliveries, while the clock still waits for them: what they have led to may
    have to be taken up."""

    name = "scheduler"

    def __init__(self, context: Context, settle: Callable[[], None]) -> None:
        self._firing = Firing(context, settle)
        schedules = Schedules(context, self._firing)
        self._groups = groups = schedules.groups
        self._operations: dict[str, Handler] = {
            "CreateSchedule": schedules.create,
            "GetSchedule": schedules.get,
            "UpdateSchedule": schedules.update,
            "DeleteSchedule": schedules.delete,
            "ListSchedules": schedules.list,
            "CreateScheduleGroup": groups.create,
            "GetScheduleGroup": groups.get,
            "ListScheduleGroups": groups.list,
            "DeleteScheduleGroup": groups.delete,
            "TagResource": groups.tag,
            "UntagResource": groups.untag,
            "ListTagsForResource": groups.tags,
        }

    @property
    def operations(self) -> Mapping[str, Handler]:
        """What is implemented, by name."""
        return self._operations

    def start(self) -> None:
        """Enter the next occurrence of every schedule, and deliver what an earlier localcloud had not."""
        self._groups.start()
        self._firing.start()

    def stop(self) -> None:
        """Begin nothing more; what is not delivered stays in the store."""
        self._firing.stop()
