"""Which server a request goes to: a fleet by its part of the traffic, a variant by its weight, the least busy instance.

Parts are exact rather than left to chance: of a hundred requests at ten per cent every tenth goes to the new servers.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from localcloud.sagemaker.endpoints.capture import Capture
from localcloud.sagemaker.endpoints.instance import Instance


class NoSuchVariant(Exception):
    """The variant that a request names is none of the endpoint's."""


class NoServer(Exception):
    """No server of the variant can take a request at this moment."""


class TooMany(Exception):
    """A serverless variant has as many requests as it may."""


@dataclass
class Variant:
    """The servers of one variant in one fleet."""

    name: str
    weight: float
    instances: list[Instance] = field(default_factory=list)
    capture: Capture | None = None
    concurrency: int | None = None
    """The most requests at once, of a serverless variant."""

    @property
    def busy(self) -> int:
        return sum(instance.busy for instance in self.instances)


@dataclass
class Route:
    """A variant, and its fleet's part of the traffic."""

    variant: Variant
    share: float
    credit: float = 0.0
    """What it is owed: the one that is owed most gets the next request."""

    @property
    def weight(self) -> float:
        return self.share * self.variant.weight


class Traffic:
    """The requests of one endpoint. Safe to call from any thread."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._routes: list[Route] = []
        self._turn = itertools.count()
        self._last: dict[Instance, int] = {}
        self._coming = False

    def await_servers(self) -> None:
        """Requests wait from now on, until there are routes: the servers are on their way."""
        self._coming = True

    def route(self, routes: Sequence[Route]) -> None:
        """Send requests this way from now on."""
        with self._condition:
            self._routes = list(routes)
            self._coming = False
            known = {instance for route in routes for instance in route.variant.instances}
            self._last = {instance: turn for instance, turn in self._last.items() if instance in known}
            self._condition.notify_all()

    @property
    def is_open(self) -> bool:
        """Whether there are routes, or will be."""
        return bool(self._routes) or self._coming

    def changed(self) -> None:
        """Some instance has begun or ceased to serve."""
        with self._condition:
            self._condition.notify_all()

    @contextmanager
    def pick(self, name: str | None, wait_seconds: float) -> Iterator[tuple[Variant, Instance]]:
        """A server for a request, of the variant `name` if there is one, which counts as busy within the block.

        Raises NoSuchVariant, NoServer, or TooMany.
        """
        with self._condition:
            if self._coming:
                self._condition.wait_for(lambda: not self._coming, wait_seconds)
            variant, instance = self._choose(name)
            instance.busy += 1
            self._last[instance] = next(self._turn)
        try:
            yield variant, instance
        finally:
            with self._condition:
                instance.busy -= 1
                if not instance.busy:
                    self._condition.notify_all()

    def drain(self, instances: Sequence[Instance], limit_seconds: float) -> bool:
        """Wait until these have no request any more; False if they still do when the time is over."""
        with self._condition:
            return self._condition.wait_for(lambda: not any(one.busy for one in instances), limit_seconds)

    def _choose(self, name: str | None) -> tuple[Variant, Instance]:
        routes = self._routes
        if name is not None:
            routes = [route for route in routes if route.variant.name == name]
            if not routes:
                raise NoSuchVariant(name)
            # A variant that is asked for by name gets its request whatever its weight.
            route = _next(routes, lambda route: route.share)
        else:
            route = _next(routes, lambda route: route.weight)
        variant, instance = route.variant, self._least_busy(route.variant)
        if instance is None:
            # Traffic goes round a fleet that has no server left.
            others = [other.variant for other in routes if other.variant.name == variant.name]
            found = ((other, self._least_busy(other)) for other in others)
            variant, instance = next(((other, one) for other, one in found if one is not None), (variant, None))
        if instance is None:
            raise NoServer(variant.name)
        if variant.concurrency is not None and variant.busy >= variant.concurrency:
            raise TooMany(variant.name)
        return variant, instance

    def _least_busy(self, variant: Variant) -> Instance | None:
        serving = [instance for instance in variant.instances if instance.serving]
        return min(serving, key=lambda one: (one.busy, self._last.get(one, -1)), default=None)


def _next(routes: Sequence[Route], weight: Callable[[Route], float]) -> Route:
    """The next by weight: every route is owed its part of each request, and the one that is owed most gets it."""
    total = sum(weight(route) for route in routes)
    if total <= 0:
        raise NoServer("none")
    for route in routes:
        route.credit += weight(route) / total
    chosen = max((route for route in routes if weight(route) > 0), key=lambda route: route.credit)
    chosen.credit -= 1.0
    return chosen
