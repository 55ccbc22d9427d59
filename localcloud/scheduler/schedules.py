"""Schedules as they are described."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from localcloud.context import Context, Request
from localcloud.errors import ServiceError, validation
from localcloud.resource_policies import allows
from localcloud.scheduler import expressions, targets
from localcloud.scheduler.firing import SCHEDULE, Firing, key_of
from localcloud.scheduler.groups import DEFAULT, Document, Groups, missing, page, projected

_DELETED = "scheduler/deleted"
_PRINCIPAL = "scheduler.amazonaws.com"
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d*:role/(?:.*/)?(?P<name>[^/]+)")
_SETTINGS = (
    "ActionAfterCompletion",
    "Description",
    "EndDate",
    "FlexibleTimeWindow",
    "ScheduleExpression",
    "ScheduleExpressionTimezone",
    "StartDate",
    "State",
)
_TIMING = ("ScheduleExpression", "ScheduleExpressionTimezone", "StartDate")
_RETRY_POLICY = {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185}
_OLDEST_START = timedelta(minutes=5)


class Schedules:
    """The operations on schedules. All methods may be called from any thread."""

    def __init__(self, context: Context, firing: Firing) -> None:
        self._context, self._firing = context, firing
        self.groups = Groups(context, self._empty)

    def create(self, request: Request) -> dict[str, Any]:
        """CreateSchedule; again with the same token, it is the first one's answer."""
        params, group = request.params, self.groups.named(request.params.get("GroupName", DEFAULT))
        key = key_of(group["Name"], params["Name"])
        document = self._document(group, params)
        with self._context.store.transaction():
            before = self._context.store.get(SCHEDULE, key)
            if before is not None:
                if _repeats(before, params):
                    return {"ScheduleArn": before["Arn"]}
                raise ServiceError("ConflictException", f"Schedule {params['Name']} already exists.", 409)
            # It may have gone since it was looked up.
            self.groups.named(group["Name"])
            self._put(key, document)
        return {"ScheduleArn": document["Arn"]}

    def update(self, request: Request) -> dict[str, Any]:
        """UpdateSchedule: what the request leaves out gets its default again.

        A rate counts from where it did, unless expression, zone or start change.
        """
        params = request.params
        group = self.groups.named(params.get("GroupName", DEFAULT))
        key = key_of(group["Name"], params["Name"])
        document = self._document(group, params, self._named(key).get("StartDate"))
        with self._context.store.transaction():
            before = self._named(key)
            if _repeats(before, params):
                return {"ScheduleArn": before["Arn"]}
            document |= {"CreationDate": before["CreationDate"]}
            if all(before.get(member) == document.get(member) for member in _TIMING):
                document |= {"Anchor": before["Anchor"]}
            self._put(key, document)
        return {"ScheduleArn": document["Arn"]}

    def get(self, request: Request) -> dict[str, Any]:
        """GetSchedule."""
        group = self.groups.named(request.params.get("GroupName", DEFAULT))
        return projected(self._named(key_of(group["Name"], request.params["Name"])), "GetScheduleOutput")

    def list(self, request: Request) -> dict[str, Any]:
        """ListSchedules, of one group or of all."""
        params = request.params
        group, prefix = params.get("GroupName"), params.get("NamePrefix", "")
        if group is not None:
            self.groups.named(group)
        found = [
            document
            for _, document in self._context.store.list(SCHEDULE, "" if group is None else key_of(group, prefix))
            if document["Name"].startswith(prefix) and document["State"] == params.get("State", document["State"])
        ]
        chosen, token = page(request, sorted(found, key=lambda document: str(document["Arn"])))
        summaries = [projected(one, "ScheduleSummary") | {"Target": {"Arn": one["Target"]["Arn"]}} for one in chosen]
        return {"Schedules": summaries, "NextToken": token}

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteSchedule: what it has begun to deliver is delivered. Again with the same token, it is no error."""
        params = request.params
        group, token = self.groups.named(params.get("GroupName", DEFAULT)), params.get("ClientToken")
        key = key_of(group["Name"], params["Name"])
        with self._context.store.transaction():
            if self._context.store.get(SCHEDULE, key) is None:
                deleted = self._context.store.get(_DELETED, key)
                if token is not None and deleted is not None and deleted["ClientToken"] == token:
                    return {}
            self._named(key)
            self._remove(key)
            self._context.store.put(_DELETED, key, {"ClientToken": token})
        return {}

    def _put(self, key: str, document: Document) -> None:
        self._context.store.put(SCHEDULE, key, document)
        self._context.store.delete(_DELETED, key)
        self._firing.plan(key, document)

    def _remove(self, key: str) -> None:
        self._context.store.delete(SCHEDULE, key)
        self._firing.forget(key)

    def _empty(self, group: str) -> None:
        for key, _ in self._context.store.list(SCHEDULE, key_of(group, ""), members=("Name",)):
            self._remove(key)

    def _named(self, key: str) -> Document:
        document = self._context.store.get(SCHEDULE, key)
        if document is None:
            raise missing(f"Schedule {key.partition('/')[2]} does not exist.")
        return document

    def _document(self, group: Document, params: Mapping[str, Any], start_before: datetime | None = None) -> Document:
        """A schedule as a valid request describes it. Raises ValidationException."""
        self._check(group, params, start_before)
        now = self._context.clock.now()
        target = {**params["Target"]}
        return {
            "ActionAfterCompletion": "NONE",
            "ScheduleExpressionTimezone": "UTC",
            "State": "ENABLED",
            **{member: params[member] for member in _SETTINGS if member in params},
            "Target": {**target, "RetryPolicy": {**_RETRY_POLICY, **target.get("RetryPolicy", {})}},
            "Name": params["Name"],
            "GroupName": group["Name"],
            "Arn": self._arn(group["Name"], params["Name"]),
            "CreationDate": now,
            "LastModificationDate": now,
            # From where a rate counts.
            "Anchor": now.replace(microsecond=0),
            "ClientToken": params.get("ClientToken"),
            "Asked": _asked(params),
        }

    def _check(self, group: Document, params: Mapping[str, Any], start_before: datetime | None) -> None:
        if params.get("KmsKeyArn"):
            raise validation(f"localcloud's schedules have no KmsKeyArn; got {params['KmsKeyArn']!r}")
        try:
            expression = expressions.parse(params["ScheduleExpression"])
        except expressions.ExpressionError as error:
            raise validation(f"Invalid Schedule Expression {params['ScheduleExpression']}. Reason: {error}") from error
        try:
            expressions.zone_of(params.get("ScheduleExpressionTimezone"))
        except expressions.ExpressionError as error:
            raise validation(f"Invalid ScheduleExpressionTimezone. Reason: {error}") from error
        window = params["FlexibleTimeWindow"]
        minutes = window.get("MaximumWindowInMinutes")
        if (window["Mode"] == "FLEXIBLE") != (minutes is not None):
            raise validation(
                "MaximumWindowInMinutes is required with the FlexibleTimeWindow mode FLEXIBLE, and with no other; got"
                f" {window['Mode']} and {minutes}"
            )
        start, end = params.get("StartDate"), params.get("EndDate")
        if start is not None and not isinstance(expression, expressions.Once):
            # A start that stays may lie in the past: the schedule has begun.
            if start != start_before and start < self._context.clock.now() - _OLDEST_START:
                raise validation("The StartDate you specify cannot be earlier than 5 minutes ago.")
            if end is not None and end <= start:
                raise validation("The StartDate you specify must come before the EndDate.")
        targets.check(params["Target"])
        self._check_role(group, params["Target"]["RoleArn"])

    def _check_role(self, group: Document, arn: str) -> None:
        """A trust policy may ask for the group by `aws:SourceArn`, never for the schedule."""
        match = _ROLE.fullmatch(arn)
        try:
            found = self._context.clients.of("iam").get_role(RoleName=match["name"])["Role"] if match else None
        except ClientError:
            found = None
        if (
            found is None
            or found["Arn"] != arn
            or not allows(
                json.dumps(found["AssumeRolePolicyDocument"]),
                service=_PRINCIPAL,
                action="sts:AssumeRole",
                source_arn=group["Arn"],
                account=self._context.account_id,
            )
        ):
            raise validation(
                "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."
                f" {arn} must be a role whose trust policy lets {_PRINCIPAL} do sts:AssumeRole for {group['Arn']}"
            )

    def _arn(self, group: str, name: str) -> str:
        return f"arn:aws:scheduler:{self._context.region}:{self._context.account_id}:schedule/{key_of(group, name)}"


def _asked(params: Mapping[str, Any]) -> Document:
    return {member: value for member, value in params.items() if member != "ClientToken"}


def _repeats(before: Document, params: Mapping[str, Any]) -> bool:
    """Whether a request is the one that made the schedule what it is."""
    token = params.get("ClientToken")
    return token is not None and before["ClientToken"] == token and before["Asked"] == _asked(params)
