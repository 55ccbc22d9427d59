"""Amazon ECS as a service: its parts put together, and its operations by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from localcloud.context import Context
from localcloud.ecs.clusters import Clusters
from localcloud.ecs.container import Surroundings
from localcloud.ecs.definitions import Definitions
from localcloud.ecs.keeper import Keeper
from localcloud.ecs.pace import Pace
from localcloud.ecs.records import Records
from localcloud.ecs.running import Running
from localcloud.ecs.services import Services
from localcloud.ecs.tags import Tags
from localcloud.ecs.tasks import Tasks
from localcloud.jobs.images import Image
from localcloud.jobs.reaper import Reaper
from localcloud.service import Handler


class Ecs:
    """The service. `image` finds an image by its URI, `reaper` kills what runs when localcloud dies; both are
    SageMaker's, whose jobs run programs of the same images."""

    name = "ecs"

    def __init__(
        self, context: Context, image: Callable[[str], Image], reaper: Reaper, pace: Pace | None = None
    ) -> None:
        pace = pace or Pace()
        tags = Tags(context)
        clusters, definitions = Clusters(context, tags), Definitions(context, tags)
        records = Records(context, tags)
        around = Surroundings(context.endpoint_url, context.region, reaper, pace)
        self._running = running = Running(context, records, definitions, image, around)
        tasks = Tasks(context, clusters, definitions, records, running, tags)
        self._keeper = keeper = Keeper(context, definitions, records, running, tasks, tags, pace)
        running.on_change(keeper.task_changed)
        services = Services(context, clusters, definitions, records, keeper, tags)
        self._operations: dict[str, Handler] = {
            "CreateCluster": clusters.create,
            "DescribeClusters": clusters.describe,
            "ListClusters": clusters.list,
            "DeleteCluster": clusters.delete,
            "PutClusterCapacityProviders": clusters.put_providers,
            "RegisterTaskDefinition": definitions.register,
            "DescribeTaskDefinition": definitions.describe,
            "DeregisterTaskDefinition": definitions.deregister,
            "ListTaskDefinitions": definitions.list,
            "RunTask": tasks.run,
            "StopTask": tasks.stop,
            "DescribeTasks": tasks.describe,
            "ListTasks": tasks.list,
            "CreateService": services.create,
            "UpdateService": services.update,
            "DeleteService": services.delete,
            "DescribeServices": services.describe,
            "ListServices": services.list,
            "TagResource": tags.tag,
            "UntagResource": tags.untag,
            "ListTagsForResource": tags.list,
        }

    @property
    def operations(self) -> Mapping[str, Handler]:
        """What is implemented, by name."""
        return self._operations

    def start(self) -> None:
        """Take up the tasks of services that an earlier localcloud has left, and end the others."""
        self._running.recover()
        self._keeper.start()

    def stop(self) -> None:
        """End all programs; services go on at the next start."""
        self._keeper.close()
        self._running.close()
