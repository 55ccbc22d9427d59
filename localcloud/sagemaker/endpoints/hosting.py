"""One endpoint as it lives: brought up, updated, scaled, taken down, and taken up again after a restart.

Its document in the store is what Describe shows, and beyond that

    Served   the blueprint of the servers that answer, from which they are started again
    Wanted   the blueprint of those that a creation, an update or a scaling is about to start

Every method that changes an endpoint runs on a thread of `Background`, and one at a time: an operation is refused while
the endpoint's status says that another one is under way.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from random import Random
from typing import Any

from localcloud.sagemaker.crud import Document, Resources
from localcloud.sagemaker.endpoints import policy, reports
from localcloud.sagemaker.endpoints.deployment import AlarmStates, Deployment
from localcloud.sagemaker.endpoints.fleet import Blueprint, Fleet, FleetError, captured, counts
from localcloud.sagemaker.endpoints.instance import Host
from localcloud.sagemaker.endpoints.policy import Stage
from localcloud.sagemaker.endpoints.traffic import Traffic
from localcloud.sagemaker.jobs import cut
from localcloud.sagemaker.tags import Tags

_PING_SECONDS, _DOUBTFUL_PING_SECONDS = 60.0, 5.0
_CHANGING = ("Updating", "RollingBack")
_CUT_OFF = "localcloud stopped while the endpoint was updated: what it served before is served again."


class Hosted:
    """The live part of one endpoint."""

    def __init__(
        self, name: str, host: Host, resources: Resources, tags: Tags, states: AlarmStates, chance: Random
    ) -> None:
        self.name = name
        self.traffic = Traffic()
        self._host, self._resources, self._tags, self._states, self._chance = host, resources, tags, states, chance
        self._lock = threading.Lock()
        self._fleet: Fleet | None = None
        self._coming: Fleet | None = None
        self._deployment: Deployment | None = None
        self._gone = False
        # Set when what is to be served at first is, or never will be: until then nothing else is begun.
        self._ready = threading.Event()

    @property
    def is_there(self) -> bool:
        """Whether requests find it: from its first service on, until it is deleted."""
        return self.traffic.is_open

    # Operations ------------------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Bring up what is Wanted: Creating becomes InService, or Failed."""
        try:
            self._bring_up("Wanted", failure_reason=None)
        finally:
            self._ready.set()

    def recover(self, status: str) -> None:
        """Take up what is Served, after a restart that the endpoint met in this status; requests wait for it meanwhile.
        An update that was cut off is rolled back, and a creation completed."""
        try:
            document = self._resources.get(self.name)
            reason = document.get("FailureReason")
            if status == "Creating":
                self._bring_up("Wanted", failure_reason=None)
            elif status == "InService":
                self._bring_up("Served", failure_reason=reason, quietly=True)
            elif status in _CHANGING:
                if status != "RollingBack":
                    self._change(EndpointStatus="RollingBack", PendingDeploymentSummary=None)
                    self._tell()
                self._bring_up("Served", failure_reason=reason or _CUT_OFF)
        finally:
            self._ready.set()

    def update(self, config: policy.DeploymentConfig | None) -> None:
        """Deploy what is Wanted, by blue/green: Updating becomes InService, by way of RollingBack if it fails."""
        self._ready.wait()
        if self._fleet is None:
            # What was served did not come up after a restart: the endpoint is Failed.
            return
        wanted = self._resources.get(self.name)["Wanted"]
        settings = config or {}
        self._deployment = Deployment(
            _Update(self, wanted),
            policy.stages(config, counts(wanted)),
            self._host.background,
            alarms=[one["AlarmName"] for one in settings.get("AutoRollbackConfiguration", {}).get("Alarms", ())],
            states=self._states,
            limit_seconds=settings.get("BlueGreenUpdatePolicy", {}).get("MaximumExecutionTimeoutInSeconds"),
        )
        self._deployment.run()

    def scale(self) -> None:
        """Have the counts and weights that are Wanted: Updating becomes InService."""
        self._ready.wait()
        fleet = self._fleet
        if fleet is None:
            return
        document = self._resources.get(self.name)
        before, wanted = document["Served"], document["Wanted"]
        more = {name: count for name, count in counts(wanted).items() if count != counts(before)[name]}
        # As on AWS the endpoint shows its own variants as they change, and no deployment that is pending.
        statuses = {
            name: ("Updating", f"Scaling {_way(count, counts(before)[name])} desired instance count to {count}.")
            for name, count in more.items()
        }
        self._change(ProductionVariants=self._summaries(wanted, before, fleet, statuses))
        self._tell(deployment=True)
        try:
            fleet.scale(wanted)
        except FleetError as error:
            self._serve(fleet, before, failure_reason=str(error))
            return
        self._serve(fleet, wanted, failure_reason=None)

    def delete(self) -> None:
        """Take everything down: Deleting, then gone. Requests under way are answered."""
        with self._lock:
            self._gone = True
            coming = self._coming
        self.traffic.route([])
        if coming is not None:
            coming.kill()
        self._ready.wait()
        self.close()
        self._resources.remove(self.name)

    def on_alarm(self, name: str) -> None:
        """An alarm has gone off; returns at once."""
        deployment = self._deployment
        if deployment is not None:
            deployment.on_alarm(name)

    def flush(self) -> None:
        """Write what was captured."""
        for fleet in self._fleets():
            fleet.flush()

    def kill(self) -> None:
        """Make an end of all servers at once; `close` must follow."""
        with self._lock:
            self._gone = True
        for fleet in self._fleets():
            fleet.kill()

    def close(self) -> None:
        """Wait for the end of all servers."""
        for fleet in self._fleets():
            fleet.stop()

    # What an update does to the endpoint -----------------------------------------------------------------------------

    def launch(self, wanted: Blueprint) -> Fleet:
        """Start the servers of an update, and give them. Raises FleetError."""
        launching = {name: ("Creating", f"Launching {count} instance(s).") for name, count in counts(wanted).items()}
        self._pend(wanted, None, launching)
        return self._start(wanted)

    def abandon(self, fleet: Fleet) -> None:
        """End the servers of an update that was rolled back before it had any."""
        with self._lock:
            if self._coming is fleet:
                self._coming = None
        fleet.kill()
        fleet.stop()

    def activate(self, wanted: Blueprint, stage: Stage) -> None:
        """Give the servers of an update their part of the traffic."""
        served, coming = self._fleet, self._coming
        assert served is not None
        assert coming is not None
        left = {name: 1.0 - share for name, share in stage.shares.items()}
        # What the new configuration does not have goes on as long as the old one does.
        gone = 0.0 if all(share == 1.0 for share in stage.shares.values()) else 1.0
        self.traffic.route(
            [
                *served.routes({variant.name: left.get(variant.name, gone) for variant in served.variants}),
                *coming.routes(stage.shares),
            ]
        )
        self._pend(wanted, stage, {name: ("ActivatingTraffic", message) for name, message in stage.activating.items()})

    def bake(self, wanted: Blueprint, stage: Stage) -> None:
        """Show that it is waited before the next shift."""
        self._pend(wanted, stage, {name: ("Baking", message) for name, message in stage.baking.items()})

    def complete(self, wanted: Blueprint) -> None:
        """The update's servers are the endpoint's own, and the old ones end."""
        with self._lock:
            old, self._fleet, self._coming = self._fleet, self._coming, None
            fleet = self._fleet
        assert old is not None
        assert fleet is not None
        terminating = {
            name: ("Deleting", f"Terminating {count} instance(s).") for name, count in counts(old.plan).items()
        }
        self._change(ProductionVariants=self._summaries(old.plan, old.plan, old, terminating))
        self._tell(deployment=True)
        self._route(fleet)
        old.stop()
        self._serve(fleet, wanted, failure_reason=None)

    def roll_back(self, reason: str) -> None:
        """All traffic goes to the old servers, and those of the update end."""
        if self._host.background.closing:
            # The next start rolls it back.
            return
        with self._lock:
            coming, self._coming = self._coming, None
            fleet = self._fleet
        assert fleet is not None
        self._route(fleet)
        self._change(EndpointStatus="RollingBack", FailureReason=cut(reason))
        self._tell()
        if coming is not None:
            if not any(instance.serving for instance in coming.instances):
                coming.kill()
            coming.stop()
        self._serve(fleet, fleet.plan, failure_reason=reason)

    # Parts -----------------------------------------------------------------------------------------------------------

    def _bring_up(self, which: str, *, failure_reason: str | None, quietly: bool = False) -> None:
        """Start the servers of a blueprint where none are, and serve them, or fail."""
        plan = self._resources.get(self.name)[which]
        if not quietly and which == "Wanted":
            launching = {name: ("Creating", f"Launching {count} instance(s).") for name, count in counts(plan).items()}
            self._pend(plan, None, launching)
        try:
            self._start(plan)
        except FleetError as error:
            self.traffic.route([])
            if self._gone or self._host.background.closing:
                return
            with self._lock:
                self._coming = None
            self._change(EndpointStatus="Failed", FailureReason=cut(str(error)), PendingDeploymentSummary=None)
            self._tell()
            return
        with self._lock:
            self._fleet, self._coming = self._coming, None
            fleet = self._fleet
        assert fleet is not None
        self._serve(fleet, plan, failure_reason=failure_reason, quietly=quietly)
        self._watch()

    def _start(self, plan: Blueprint) -> Fleet:
        fleet = Fleet(self._host, self.name, plan, self.traffic, self._chance)
        with self._lock:
            if self._gone:
                raise FleetError("localcloud stopped.")
            self._coming = fleet
        fleet.start()
        return fleet

    def _serve(self, fleet: Fleet, plan: Blueprint, *, failure_reason: str | None, quietly: bool = False) -> None:
        """The endpoint is InService with this fleet; `quietly` where its document says so already."""
        self._deployment = None
        self._route(fleet)
        # What was begun when localcloud stops is taken up, or rolled back, by the next start.
        if quietly or self._host.background.closing:
            return
        self._change(
            EndpointStatus="InService",
            EndpointConfigName=plan["EndpointConfigName"],
            ProductionVariants=self._summaries(plan, plan, fleet, {}),
            DataCaptureConfig=captured(plan),
            FailureReason=cut(failure_reason),
            PendingDeploymentSummary=None,
            Served=plan,
            Wanted=None,
        )
        self._tell()
        self._tell(deployment=True)

    def _route(self, fleet: Fleet) -> None:
        if not self._gone:
            self.traffic.route(fleet.routes({variant.name: 1.0 for variant in fleet.variants}))

    def _pend(self, wanted: Blueprint, stage: Stage | None, statuses: reports.Statuses) -> None:
        """Show how far a deployment is."""
        now = self._host.context.clock.now()
        coming = self._coming
        current: Blueprint
        if stage is None or coming is None:
            current = {"ProductionVariants": []}
        else:
            current = {
                "ProductionVariants": [
                    {**given, "InitialInstanceCount": stage.instances[given["VariantName"]]}
                    for given in wanted["ProductionVariants"]
                ]
            }
        images = coming.images(now) if coming is not None else {}

        def pending(document: Document) -> Document:
            begun = (document.get("PendingDeploymentSummary") or {}).get("StartTime", now)
            summary = {
                "EndpointConfigName": wanted["EndpointConfigName"],
                "ProductionVariants": reports.summaries(
                    wanted, current=current, images=images, statuses=statuses, now=now, pending=True
                ),
                "StartTime": begun,
            }
            return {**document, "PendingDeploymentSummary": summary}

        self._resources.change(self.name, pending)
        self._tell(deployment=True)

    def _summaries(
        self, plan: Blueprint, current: Blueprint, fleet: Fleet, statuses: reports.Statuses
    ) -> list[dict[str, Any]]:
        now = self._host.context.clock.now()
        return reports.summaries(plan, current=current, images=fleet.images(now), statuses=statuses, now=now)

    def _change(self, **members: Any) -> None:
        self._resources.change(self.name, lambda document: {**document, **members})

    def _tell(self, *, deployment: bool = False) -> None:
        context = self._host.context
        document = self._resources.get(self.name)
        event = reports.deployment_event if deployment else reports.state_event
        context.signals.event(event(document, self._tags.of(document["EndpointArn"]), context.clock.now()))

    def _watch(self) -> None:
        """Ask the servers how they are, now and then, for as long as there is the endpoint."""

        asked = float("-inf")

        def look() -> None:
            nonlocal asked
            asked = time.monotonic()
            # A list, so that every one is asked.
            doubtful = any([one.check() for one in self._fleets()])
            again(_DOUBTFUL_PING_SECONDS if doubtful else _PING_SECONDS)

        def due() -> None:
            if self._gone:
                return
            # When the clock is advanced a minute takes no time, and who was well a moment ago still is.
            if time.monotonic() - asked < self._host.ping_rest_seconds:
                again(_PING_SECONDS)
            else:
                self._host.background.run(f"pings of {self.name}", look)

        def again(seconds: float) -> None:
            self._host.context.timetable.after(seconds, due, f"pings of {self.name}")

        again(_PING_SECONDS)

    def _fleets(self) -> Sequence[Fleet]:
        with self._lock:
            return [fleet for fleet in (self._fleet, self._coming) if fleet is not None]


class _Update:
    """What a deployment does, to one endpoint with one blueprint."""

    def __init__(self, hosted: Hosted, wanted: Blueprint) -> None:
        self._hosted, self._wanted = hosted, wanted
        self._fleet: Fleet | None = None

    def launch(self) -> None:
        self._fleet = self._hosted.launch(self._wanted)

    def abandon(self) -> None:
        assert self._fleet is not None
        self._hosted.abandon(self._fleet)

    def activate(self, stage: Stage) -> None:
        self._hosted.activate(self._wanted, stage)

    def bake(self, stage: Stage) -> None:
        self._hosted.bake(self._wanted, stage)

    def complete(self) -> None:
        self._hosted.complete(self._wanted)

    def roll_back(self, reason: str) -> None:
        self._hosted.roll_back(reason)


def _way(wanted: int, before: int) -> str:
    return "out" if wanted > before else "in"
