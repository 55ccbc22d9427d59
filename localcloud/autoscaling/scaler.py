"""Scales variants: to their bounds when they are registered, and to what a policy's metric asks.

Each change is an activity. It is in progress from the call of UpdateEndpointWeightsAndCapacities until the endpoint is
in service again, which an event tells; cooldowns count from then. One thread does it all, so that two policies never
change an endpoint at the same time.
"""

from __future__ import annotations

import functools
import logging
import math
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from localcloud.autoscaling.resources import DIMENSION, NAMESPACE, Variant, read
from localcloud.cloudwatch.actions import ActionFailed
from localcloud.cloudwatch.worker import Worker
from localcloud.context import Context
from localcloud.signals import Event

_LOG = logging.getLogger(__name__)
TARGETS, POLICIES, ACTIVITIES = "autoscaling/target", "autoscaling/policy", "autoscaling/activity"
_KEPT_ACTIVITIES_DAYS = 42
_COOLDOWN_SECONDS = 300
_EVENT = "SageMaker Endpoint State Change"
_IN_SERVICE = "InService"
_HAIR = 1e-9

Document = dict[str, Any]


class Scaler:
    """What scales. `role_arn` is the service-linked role whose calls they are."""

    def __init__(self, context: Context, role_arn: str) -> None:
        self._context, self._role_arn = context, role_arn
        self._worker = Worker("autoscaling", context.timetable)
        context.signals.on_event(self._on_event)

    def start(self) -> None:
        """Take up the activities that an earlier process left in progress, and the bounds that it did not see to."""
        self._worker.start()
        targets = (target for _, target in self._context.store.list(TARGETS) if target["Unenforced"])
        endpoints = {read(left["ResourceId"]).endpoint for left in (*self._in_progress(), *targets)}
        for endpoint in sorted(endpoints):
            self._worker.submit(functools.partial(self._settle, endpoint))

    def stop(self) -> None:
        """End after what is being done."""
        self._worker.stop()

    def capacity(self, variant: Variant) -> int | None:
        """How many instances the variant shall have; None if there is no such variant, or it is serverless."""
        endpoint = self._endpoint(variant.endpoint)
        return _desired(endpoint, variant) if endpoint is not None else None

    def enforce(self, variant: Variant) -> None:
        """Bring a variant within its target's bounds, later."""
        self._worker.submit(lambda: self._enforce(variant))

    def run_policy(self, arn: str, alarm: Mapping[str, Any], value: float | None) -> None:
        """Do what a policy asks for now that its alarm is in ALARM, `value` being its metric's newest. Raises
        ActionFailed for a policy that is none."""
        policy = next((found for _, found in self._context.store.list(POLICIES) if found["PolicyARN"] == arn), None)
        if policy is None:
            raise ActionFailed(f"there is no scaling policy {arn}")
        if value is not None:
            self._worker.submit(lambda: self._follow(policy, alarm["AlarmName"], value))

    def _follow(self, policy: Document, alarm_name: str, value: float) -> None:
        variant = read(policy["ResourceId"])
        target = self._context.store.get(TARGETS, variant.resource_id)
        endpoint = self._endpoint(variant.endpoint)
        current = _desired(endpoint, variant) if endpoint is not None else None
        if target is None or endpoint is None or current is None:
            return
        if endpoint["EndpointStatus"] != _IN_SERVICE or self._in_progress(variant.endpoint):
            return  # The alarm comes again in a minute.
        out = "-AlarmHigh-" in alarm_name
        desired = self._wanted(policy, target, current, value, out)
        if desired == current or (not out and not self._all_low(policy, variant)):
            return
        cause = f"monitor alarm {alarm_name} in state ALARM triggered policy {policy['PolicyName']}"
        self._set(variant, current, desired, cause, policy)

    def _wanted(self, policy: Document, target: Document, current: int, value: float, out: bool) -> int:
        """The capacity at which the metric would be at its target, within bounds and cooldowns."""
        configuration = policy["TargetTrackingScalingPolicyConfiguration"]
        suspended = target["SuspendedState"]
        now = self._context.clock.now()
        if suspended["DynamicScalingOutSuspended" if out else "DynamicScalingInSuspended"]:
            return current
        ratio = value / configuration["TargetValue"]
        if out:
            # What was added a moment ago does not show in the metric yet: it counts towards what is asked for.
            before = _within(target.get("LastOut"), configuration.get("ScaleOutCooldown", _COOLDOWN_SECONDS), now)
            base = before if before is not None else current
            return int(max(current, min(math.ceil(base * ratio - _HAIR), target["MaxCapacity"])))
        if _within(target.get("LastIn"), configuration.get("ScaleInCooldown", _COOLDOWN_SECONDS), now) is not None:
            return current
        return int(min(current, max(math.ceil(current * ratio - _HAIR), target["MinCapacity"])))

    def _all_low(self, policy: Document, variant: Variant) -> bool:
        """Whether every other policy of the variant would scale in, too: the one that asks for most wins."""
        others = [
            alarm["AlarmName"]
            for _, other in self._context.store.list(POLICIES, f"{variant.resource_id}\n")
            for alarm in other["Alarms"]
            if other["PolicyARN"] != policy["PolicyARN"] and "-AlarmLow-" in alarm["AlarmName"]
        ]
        if not others:
            return True
        found = self._context.clients.of("cloudwatch", self._role_arn).describe_alarms(AlarmNames=others)
        return all(alarm["StateValue"] == "ALARM" for alarm in found["MetricAlarms"])

    def _enforce(self, variant: Variant) -> None:
        target = self._context.store.get(TARGETS, variant.resource_id)
        endpoint = self._endpoint(variant.endpoint)
        current = _desired(endpoint, variant) if endpoint is not None else None
        if target is None or endpoint is None or current is None:
            return
        desired = min(max(current, target["MinCapacity"]), target["MaxCapacity"])
        waits = desired != current and endpoint["EndpointStatus"] != _IN_SERVICE
        self._change_target(variant, Unenforced=waits)
        if desired != current and not waits:
            bound = "minimum" if desired > current else "maximum"
            self._set(variant, current, desired, f"{bound} capacity was set to {desired}", None)

    def _set(self, variant: Variant, current: int, desired: int, cause: str, policy: Document | None) -> None:
        now = self._context.clock.now()
        self._forget_old_activities(now)
        activity: Document = {
            "ActivityId": str(uuid.uuid4()),
            "ServiceNamespace": NAMESPACE,
            "ResourceId": variant.resource_id,
            "ScalableDimension": DIMENSION,
            "Description": f"Setting desired instance count to {desired}.",
            "Cause": cause,
            "StartTime": now,
            "StatusCode": "InProgress",
            "StatusMessage": f"Successfully set desired instance count to {desired}. Waiting for change to be fulfilled"
            " by sagemaker.",
            "Before": current,
            "Desired": desired,
            "ByPolicy": policy is not None,
        }
        self._context.store.put(ACTIVITIES, activity["ActivityId"], activity)
        wanted = {"VariantName": variant.name, "DesiredInstanceCount": desired}
        try:
            self._context.clients.of("sagemaker", self._role_arn).update_endpoint_weights_and_capacities(
                EndpointName=variant.endpoint, DesiredWeightsAndCapacities=[wanted]
            )
        except ClientError as error:
            reason = f"Failed to set desired instance count to {desired}. Reason: {error.response['Error']['Message']}"
            self._end_activity(activity, "Failed", reason)
            return
        self._settle(variant.endpoint)

    def _on_event(self, event: Event) -> None:
        if event.detail_type != _EVENT or event.detail.get("EndpointStatus") not in ("IN_SERVICE", "FAILED"):
            return
        endpoint = str(event.detail["EndpointName"])
        self._worker.submit(lambda: self._settle(endpoint))

    def _settle(self, name: str) -> None:
        """End the activities of an endpoint that is no longer being changed, and do what had to wait for that."""
        activities = self._in_progress(name)
        targets = self._context.store.list(TARGETS, f"endpoint/{name}/")
        waiting = [resource_id for resource_id, target in targets if target["Unenforced"]]
        if not activities and not waiting:
            return
        endpoint = self._endpoint(name)
        status = endpoint["EndpointStatus"] if endpoint is not None else None
        if status not in (_IN_SERVICE, "Failed", None):
            return
        for activity in activities:
            count, desired = _desired(endpoint or {}, read(activity["ResourceId"])), activity["Desired"]
            message = f"Successfully set desired instance count to {desired}."
            if status == _IN_SERVICE and count == desired:
                self._end_activity(activity, "Successful", f"{message} Change successfully fulfilled by sagemaker.")
            else:
                found = f"the endpoint is {status}, its desired count {count}" if status else "there is no endpoint"
                reason = f"{message} Change was not fulfilled by sagemaker: {found}."
                self._end_activity(activity, "Unfulfilled", reason)
        for resource_id in waiting if status == _IN_SERVICE else ():
            self._enforce(read(resource_id))

    def _end_activity(self, activity: Document, status: str, message: str) -> None:
        now = self._context.clock.now()
        ended = {**activity, "StatusCode": status, "StatusMessage": message, "EndTime": now}
        self._context.store.put(ACTIVITIES, activity["ActivityId"], ended)
        if status == "Failed":
            _LOG.warning("%s: %s", activity["ResourceId"], message)
        elif activity["ByPolicy"]:
            scaled = {"At": now, "Before": activity["Before"]}
            # A scale-out ends the cooldown of a scale-in that came before.
            members = {"LastOut": scaled, "LastIn": None}
            if activity["Desired"] < activity["Before"]:
                members = {"LastIn": scaled, "LastOut": None}
            self._change_target(read(activity["ResourceId"]), **members)

    def _change_target(self, variant: Variant, **members: Any) -> None:
        store = self._context.store
        with store.transaction():
            target = store.get(TARGETS, variant.resource_id)
            if target is not None:
                store.put(TARGETS, variant.resource_id, {**target, **members})

    def _in_progress(self, endpoint: str | None = None) -> list[Document]:
        return [
            activity
            for _, activity in self._context.store.list(ACTIVITIES)
            if activity["StatusCode"] == "InProgress"
            and (endpoint is None or read(activity["ResourceId"]).endpoint == endpoint)
        ]

    def _forget_old_activities(self, now: datetime) -> None:
        """AWS shows the activities of the last six weeks."""
        oldest = now - timedelta(days=_KEPT_ACTIVITIES_DAYS)
        for key, activity in self._context.store.list(ACTIVITIES):
            if activity["StartTime"] < oldest:
                self._context.store.delete(ACTIVITIES, key)

    def _endpoint(self, name: str) -> Document | None:
        try:
            found: Document = self._context.clients.of("sagemaker", self._role_arn).describe_endpoint(EndpointName=name)
        except ClientError as error:
            # "Could not find endpoint": SageMaker has no code of its own for it.
            if error.response["Error"]["Code"] in ("ValidationException", "ResourceNotFound"):
                return None
            raise
        return found


def _desired(endpoint: Document, variant: Variant) -> int | None:
    for found in endpoint.get("ProductionVariants", ()):
        if found["VariantName"] == variant.name:
            count = found.get("DesiredInstanceCount", found.get("CurrentInstanceCount"))
            return None if count is None else int(count)
    return None


def _within(last: Document | None, cooldown_seconds: int, now: datetime) -> int | None:
    """The capacity before the last change, if its cooldown is not over."""
    if last is None or now >= last["At"] + timedelta(seconds=cooldown_seconds):
        return None
    return int(last["Before"])
