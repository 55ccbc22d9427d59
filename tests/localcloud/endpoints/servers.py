"""Instances without processes: their answers, their starts and their ends are what a test says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from localcloud.jobs.connections import Answer
from localcloud.jobs.images import Image
from localcloud.sagemaker.endpoints.instance import Host, Instance, InstanceError
from localcloud.sagemaker.models import Container

IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/model:1"


class FakeInstance(Instance):
    """Answers what its cluster says."""

    model = ""
    """The environment variable NAME of its model."""

    def __init__(self, cluster: Cluster, name: str, on_change: Callable[[], None]) -> None:
        self.id, self.busy, self.serving, self.variant = name, 0, False, name.partition("/")[0]
        self._cluster, self._changed = cluster, on_change
        self.ended = self.killed = False

    @property
    def image(self) -> Image | None:
        return Image(IMAGE, "sha256:0", Path("/"), {}, "/", (), ())

    @property
    def is_doubtful(self) -> bool:
        return False

    def start(self) -> None:
        self._cluster.on_start(self)
        if self._cluster.broken or self.killed:
            raise InstanceError(self._cluster.broken or "it was stopped before it was ready")
        self.serving = True

    def call(self, body: bytes, headers: Mapping[str, str], timeout_seconds: float) -> Answer:
        self._cluster.calls.append((self.id, body, dict(headers)))
        return self._cluster.answer(self, body)

    def check(self) -> None:
        self._cluster.checks += 1

    def kill(self) -> None:
        self.serving, self.killed = False, True
        self._cluster.on_kill(self)

    def stop(self) -> None:
        self._cluster.on_stop(self)
        self.serving, self.ended = False, True

    def fall(self) -> None:
        """Cease to serve, as a server does that crashed."""
        self.serving = False
        self._changed()


@dataclass
class Cluster:
    """Makes instances, and knows them all."""

    answer: Callable[[FakeInstance, bytes], Answer] = lambda instance, body: Answer(
        200, instance.model.encode(), {"content-type": "text/plain"}
    )
    broken: str = ""
    """Why no server comes up, if none does."""
    on_start: Callable[[FakeInstance], None] = lambda _: None
    on_kill: Callable[[FakeInstance], None] = lambda _: None
    on_stop: Callable[[FakeInstance], None] = lambda _: None
    instances: list[FakeInstance] = field(default_factory=list)
    calls: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)
    checks: int = 0

    def make(
        self,
        host: Host,
        endpoint: str,
        variant: str,
        container: Container,
        ready_limit_seconds: float,
        on_change: Callable[[], None],
    ) -> Instance:
        """As `Instance`."""
        instance = FakeInstance(self, f"{variant}/{len(self.instances)}", on_change)
        instance.model = container.environment["NAME"]
        self.instances.append(instance)
        return instance

    @property
    def alive(self) -> list[FakeInstance]:
        return [instance for instance in self.instances if instance.serving]
