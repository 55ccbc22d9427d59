"""kinesisanalyticsv2 as a service: its parts put together, and its operations by name."""

from __future__ import annotations

from collections.abc import Mapping

from localcloud.context import Context
from localcloud.flink.applications import Applications
from localcloud.flink.supervisor import Runs, Supervisor
from localcloud.kinesis.streams import Streams
from localcloud.service import Handler


class ManagedFlink:
    """The service. `streams` are what jobs read and write, `engine` runs them."""

    name = "kinesisanalyticsv2"

    def __init__(self, context: Context, streams: Streams, engine: Runs) -> None:
        self._supervisor = Supervisor(context, streams, engine)
        self._applications = applications = Applications(context, self._supervisor)
        self._operations: dict[str, Handler] = {
            "CreateApplication": applications.create,
            "DescribeApplication": applications.describe,
            "ListApplications": applications.list,
            "UpdateApplication": applications.update,
            "DeleteApplication": applications.delete,
            "StartApplication": applications.start,
            "StopApplication": applications.stop,
            "CreateApplicationSnapshot": applications.create_snapshot,
            "ListApplicationSnapshots": applications.list_snapshots,
            "DescribeApplicationSnapshot": applications.describe_snapshot,
            "DeleteApplicationSnapshot": applications.delete_snapshot,
            "AddApplicationCloudWatchLoggingOption": applications.add_logging,
            "DeleteApplicationCloudWatchLoggingOption": applications.delete_logging,
            "TagResource": applications.tag,
            "UntagResource": applications.untag,
            "ListTagsForResource": applications.tags,
        }

    @property
    def operations(self) -> Mapping[str, Handler]:
        """What is implemented, by name."""
        return self._operations

    def start(self) -> None:
        """Take up the applications that ran when an earlier localcloud ended."""
        self._supervisor.recover()

    def stop(self) -> None:
        """End all jobs; they go on at the next start."""
        self._supervisor.close()
        self._applications.join()
