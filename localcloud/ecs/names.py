"""Names and ARNs of clusters, services, task definitions and tasks."""

from __future__ import annotations

from dataclasses import dataclass

from localcloud.context import Context

DEFAULT_CLUSTER = "default"


@dataclass(frozen=True)
class Names:
    """The names of one account and region."""

    region: str
    account_id: str

    @classmethod
    def of(cls, context: Context) -> Names:
        """Those of a localcloud."""
        return cls(context.region, context.account_id)

    def cluster_arn(self, name: str) -> str:
        return self._arn(f"cluster/{name}")

    def service_arn(self, cluster: str, name: str) -> str:
        return self._arn(f"service/{cluster}/{name}")

    def task_arn(self, cluster: str, task_id: str) -> str:
        return self._arn(f"task/{cluster}/{task_id}")

    def container_arn(self, cluster: str, task_id: str, container_id: str) -> str:
        return self._arn(f"container/{cluster}/{task_id}/{container_id}")

    def definition_arn(self, family: str, revision: int) -> str:
        return self._arn(f"task-definition/{family}:{revision}")

    def provider_arn(self, name: str) -> str:
        return self._arn(f"capacity-provider/{name}")

    def _arn(self, resource: str) -> str:
        return f"arn:aws:ecs:{self.region}:{self.account_id}:{resource}"


def short(text: str) -> str:
    """The name at the end of an ARN, or the name that was given."""
    return text.rpartition("/")[2]


def definition_key(text: str) -> str:
    """`family` or `family:revision` of a task definition's name or ARN."""
    return text.rpartition("task-definition/")[2]


def key(cluster: str, name: str) -> str:
    """Under which a service or a task is in the store."""
    return f"{cluster}/{name}"
