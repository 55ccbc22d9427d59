"""The operations on scalable targets and their activities."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from localcloud.autoscaling.resources import (
    DIMENSION,
    NAMESPACE,
    Variant,
    check_scope,
    described,
    object_not_found,
    variant_of,
)
from localcloud.autoscaling.scaler import ACTIVITIES, TARGETS, Document, Scaler
from localcloud.context import Context, Request
from localcloud.errors import ServiceError, validation
from localcloud.sagemaker.crud import paginate

_OWN_TARGET = ("Tags", "Unenforced", "LastOut", "LastIn")
_SUSPENDED = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
_OWN_ACTIVITY = ("Before", "Desired", "ByPolicy")
_MOST_TAGS = 50


class Targets:
    """`on_deregister` deletes the policies of a variant."""

    def __init__(
        self, context: Context, scaler: Scaler, role_arn: str, on_deregister: Callable[[Variant], None]
    ) -> None:
        self._context, self._scaler, self._role_arn = context, scaler, role_arn
        self._on_deregister = on_deregister

    def register(self, request: Request) -> dict[str, Any]:
        """RegisterScalableTarget: a new one, or other members of one that is there. A variant whose capacity is out of
        bounds is brought within them. Raises ValidationException."""
        params = request.params
        variant = variant_of(params)
        if self._scaler.capacity(variant) is None:
            raise validation(f"SageMaker variant with instances doesn't exist: {variant.resource_id}")
        store = self._context.store
        with store.transaction():
            before = store.get(TARGETS, variant.resource_id)
            target = {**(before or self._new(variant)), **_bounds(params), "Unenforced": True}
            target["SuspendedState"] = {**target["SuspendedState"], **params.get("SuspendedState", {})}
            if before is None:
                target["Tags"] = _checked_tags(params.get("Tags", {}))
            elif params.get("Tags"):
                raise validation("Tags can be given with a new scalable target only; use TagResource for this one")
            _check_bounds(target)
            store.put(TARGETS, variant.resource_id, target)
        self._scaler.enforce(variant)
        return {"ScalableTargetARN": target["ScalableTargetARN"]}

    def deregister(self, request: Request) -> dict[str, Any]:
        """DeregisterScalableTarget, and its policies with their alarms. Raises ObjectNotFoundException."""
        variant = variant_of(request.params)
        self.get(variant)
        self._on_deregister(variant)
        self._context.store.delete(TARGETS, variant.resource_id)
        return {}

    def get(self, variant: Variant) -> Document:
        """A registered target. Raises ObjectNotFoundException."""
        target = self._context.store.get(TARGETS, variant.resource_id)
        if target is None:
            raise object_not_found(f"No scalable target registered for {described(variant)}")
        return target

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribeScalableTargets."""
        params = request.params
        check_scope(params)
        ids = params.get("ResourceIds")
        found = [target for key, target in self._context.store.list(TARGETS) if not ids or key in ids]
        page, token = cut(request.operation, found, params, "ResourceId")
        shown = [{name: value for name, value in target.items() if name not in _OWN_TARGET} for target in page]
        return {"ScalableTargets": shown, "NextToken": token}

    def describe_activities(self, request: Request) -> dict[str, Any]:
        """DescribeScalingActivities, the newest first."""
        params = request.params
        check_scope(params)
        if params.get("IncludeNotScaledActivities"):
            raise validation("localcloud keeps no activities that did not scale; got IncludeNotScaledActivities=true")
        found = [
            {member: value for member, value in activity.items() if member not in _OWN_ACTIVITY}
            for _, activity in self._context.store.list(ACTIVITIES)
            if params.get("ResourceId", activity["ResourceId"]) == activity["ResourceId"]
        ]
        page, token = cut(request.operation, found[::-1], params, "ActivityId")
        return {"ScalingActivities": page, "NextToken": token}

    def tag(self, request: Request) -> dict[str, Any]:
        """TagResource."""
        params = request.params
        self._change_tags(params["ResourceARN"], lambda tags: {**tags, **params["Tags"]})
        return {}

    def untag(self, request: Request) -> dict[str, Any]:
        """UntagResource."""
        gone = set(request.params["TagKeys"])
        self._change_tags(
            request.params["ResourceARN"],
            lambda tags: {key: value for key, value in tags.items() if key not in gone},
        )
        return {}

    def list_tags(self, request: Request) -> dict[str, Any]:
        """ListTagsForResource."""
        return {"Tags": self._by_arn(request.params["ResourceARN"])["Tags"]}

    def _new(self, variant: Variant) -> Document:
        region, account_id = self._context.region, self._context.account_id
        # AWS's ids are of this form: four digits, then hexadecimal ones.
        number = f"0{uuid.uuid4().hex}"
        return {
            "ServiceNamespace": NAMESPACE,
            "ResourceId": variant.resource_id,
            "ScalableDimension": DIMENSION,
            "RoleARN": self._role_arn,
            "CreationTime": self._context.clock.now(),
            "SuspendedState": dict.fromkeys(_SUSPENDED, False),
            "ScalableTargetARN": f"arn:aws:application-autoscaling:{region}:{account_id}:scalable-target/{number}",
        }

    def _change_tags(self, arn: str, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
        with self._context.store.transaction():
            target = self._by_arn(arn)
            changed = {**target, "Tags": _checked_tags(change(target["Tags"]), arn)}
            self._context.store.put(TARGETS, target["ResourceId"], changed)

    def _by_arn(self, arn: str) -> Document:
        for _, target in self._context.store.list(TARGETS):
            if target["ScalableTargetARN"] == arn:
                return target
        message = f"The specified resource doesn't exist: {arn}"
        raise ServiceError("ResourceNotFoundException", message, fields={"ResourceName": arn})


def _bounds(params: Mapping[str, Any]) -> dict[str, int]:
    return {member: params[member] for member in ("MinCapacity", "MaxCapacity") if member in params}


def _check_bounds(target: Mapping[str, Any]) -> None:
    for member in ("MinCapacity", "MaxCapacity"):
        if member not in target:
            raise validation(f"{member} is required to register a new scalable target")
    low, high = target["MinCapacity"], target["MaxCapacity"]
    if low < 1:
        raise validation(
            f"MinCapacity must be 1 or more, since a variant cannot be scaled to no instance at all; it is {low}"
        )
    if high < low:
        raise validation(f"Maximum capacity cannot be less than minimum capacity; they are {high} and {low}")


def _checked_tags(tags: Mapping[str, str], arn: str = "") -> dict[str, str]:
    if len(tags) > _MOST_TAGS:
        message = f"a scalable target has {_MOST_TAGS} tags at most; it would have {len(tags)}"
        raise ServiceError("TooManyTagsException", message, fields={"ResourceName": arn})
    return dict(tags)


def cut(
    operation: str, items: Sequence[Document], params: Mapping[str, Any], key: str
) -> tuple[Sequence[Document], str | None]:
    """A page of a list. Raises InvalidNextTokenException."""
    try:
        return paginate(operation, items, params, lambda item: str(item[key]))
    except ServiceError as error:
        raise ServiceError("InvalidNextTokenException", error.message) from None
