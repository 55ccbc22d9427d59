"""What an alarm does when its state changes: calls a Lambda function, publishes to an SNS topic, runs a scaling policy.

A change is stored together with what is still to be done for it, and that is done, in order, on a thread of its own; a
localcloud that is ended in between does it at its next start. How each ended is in the alarm's history.
"""

from __future__ import annotations

import fnmatch
import json
import logging
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.cloudwatch import messages, moments
from localcloud.cloudwatch.errors import refused, unsupported
from localcloud.cloudwatch.history import ACTION, History
from localcloud.cloudwatch.worker import Worker
from localcloud.context import Context

_LOG = logging.getLogger(__name__)
_KIND = "cloudwatch/due"
_PRINCIPAL = "lambda.alarms.cloudwatch.amazonaws.com"
_TO_TOPICS = "cloudwatch.amazonaws.com"
_ARN = re.compile(r"arn:(?P<partition>[^:]+):(?P<service>[^:]+):(?P<region>[^:]*):(?P<account>[^:]*):(?P<rest>.+)")

Document = dict[str, Any]
RunPolicy = Callable[[str, Mapping[str, Any], float | None], None]
"""Runs a scaling policy: its ARN, the alarm, and the newest value of the alarm's metric."""


class ActionFailed(Exception):
    """An action that could not be done; the message says why."""


class Actions:
    """The actions of all alarms. Without `run_policy` there are no scaling policies."""

    def __init__(self, context: Context, history: History, run_policy: RunPolicy | None = None) -> None:
        self._context, self._history, self._run_policy = context, history, run_policy
        self._worker = Worker("alarm-actions", context.timetable)

    def check(self, arn: str) -> None:
        """Raise ValidationError for an action that is none, or that localcloud cannot do."""
        found = _ARN.fullmatch(arn)
        if found is None:
            raise refused(f"Invalid arn syntax: {arn}")
        if kind_of(arn) is None:
            raise unsupported("does three kinds of alarm actions: Lambda functions, SNS topics, scaling policies", arn)
        here = (self._context.region, self._context.account_id)
        if (found["region"], found["account"]) != here:
            raise unsupported(f"does alarm actions in region {here[0]} and account {here[1]}", arn)
        if found["service"] == "lambda" and found["rest"].count(":") > 1:
            raise unsupported("has no versions and aliases of functions, only the function itself as an action", arn)

    def store(self, before: Document, after: Document, value: float | None) -> str:
        """Keep what a change asks for, within the transaction that makes the change; gives its key."""
        key = str(uuid.uuid4())
        enabled = after.get("ActionsEnabled", True)
        member = {"OK": "OKActions", "ALARM": "AlarmActions"}.get(after["StateValue"], "InsufficientDataActions")
        document = {"Before": before, "After": after, "Arns": after[member] if enabled else [], "Value": value}
        self._context.store.put(_KIND, key, document)
        return key

    def perform(self, key: str) -> None:
        """Tell of the change that was stored, and do its actions later."""
        document = self._context.store.get(_KIND, key)
        if document is None:
            return
        if not document.get("Told"):
            self._context.signals.event(messages.state_change(document["Before"], document["After"]))
            document["Told"] = True
        if not document["Arns"]:
            self._context.store.delete(_KIND, key)
            return
        self._context.store.put(_KIND, key, document)
        self._worker.submit(lambda: self._finish(document, key))

    def repeat_policies(self, alarm: Document, value: float | None) -> None:
        """Run the scaling policies of an alarm that is still in ALARM. Unlike other actions they are run every minute:
        one step may not have been enough, or have come within a cooldown."""
        arns = [arn for arn in alarm["AlarmActions"] if kind_of(arn) == "autoscaling"]
        if arns and alarm.get("ActionsEnabled", True):
            document = {"Before": alarm, "After": alarm, "Arns": arns, "Value": value, "Repeated": True}
            self._worker.submit(lambda: self._do_all(document))

    def start(self) -> None:
        """Do what an earlier process left to be done."""
        self._worker.start()
        for key, _ in self._context.store.list(_KIND):
            self.perform(key)

    def stop(self) -> None:
        """End after the action that is being done. What is left stays in the store."""
        self._worker.stop()

    def _finish(self, document: Document, key: str) -> None:
        self._do_all(document)
        self._context.store.delete(_KIND, key)

    def _do_all(self, document: Document) -> None:
        alarm = document["After"]
        for arn in document["Arns"]:
            error = None
            try:
                self._do(arn, document)
            except (ActionFailed, ClientError, BotoCoreError) as failure:
                error = str(failure)
                _LOG.warning("the action %s of the alarm %s failed: %s", arn, alarm["AlarmName"], error)
            if not document.get("Repeated") or error:
                self._record(alarm, arn, error)

    def _do(self, arn: str, document: Document) -> None:
        before, alarm = document["Before"], document["After"]
        account_id, region = self._context.account_id, self._context.region
        kind = kind_of(arn)
        if kind == "lambda":
            self._check_permission(arn, alarm["AlarmArn"])
            payload = messages.for_lambda(before, alarm, account_id, region)
            self._context.clients.of("lambda").invoke(
                FunctionName=arn, InvocationType="Event", Payload=json.dumps(payload).encode()
            )
        elif kind == "sns":
            if not self._context.authority.lets_in(_TO_TOPICS, "sns:Publish", arn, alarm["AlarmArn"]):
                raise ActionFailed(f"the policy of {arn} does not let {_TO_TOPICS} do sns:Publish for this alarm")
            subject, message = messages.for_topic(before, alarm, account_id, region)
            self._context.clients.of("sns").publish(TopicArn=arn, Subject=subject, Message=json.dumps(message))
        else:
            if self._run_policy is None:
                raise ActionFailed(f"no scaling policy {arn} is known")
            self._run_policy(arn, alarm, document["Value"])

    def _check_permission(self, function_arn: str, alarm_arn: str) -> None:
        try:
            answer = self._context.clients.of("lambda").get_policy(FunctionName=function_arn)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            # Either there is no function, which the call itself will tell, or nobody was given leave to call it.
            self._context.clients.of("lambda").get_function_configuration(FunctionName=function_arn)
            policy: Mapping[str, Any] = {}
        else:
            policy = json.loads(answer["Policy"])
        if not may_invoke(policy, alarm_arn, self._context.account_id):
            raise ActionFailed(
                f"CloudWatch Alarms is not authorized to perform: lambda:InvokeFunction on the resource {function_arn}"
                f" because no resource-based policy allows it to {_PRINCIPAL} (AddPermission) for {alarm_arn}"
            )

    def _record(self, alarm: Document, arn: str, error: str | None) -> None:
        ending = "Failed to execute" if error else "Successfully executed"
        data = {
            "actionState": "Failed" if error else "Succeeded",
            "stateUpdateTimestamp": int(alarm["StateUpdatedTimestamp"].timestamp() * 1000),
            "notificationResource": arn,
            **({"error": error[:2000]} if error else {}),
        }
        now = self._context.clock.now()
        self._history.add(
            alarm["AlarmName"],
            alarm["AlarmType"],
            ACTION,
            now,
            f"{ending} action {arn}",
            json.dumps({**data, "time": moments.exact(now)}),
        )


def kind_of(arn: str) -> str | None:
    """`lambda`, `sns` or `autoscaling`; None for what is none of them."""
    found = _ARN.fullmatch(arn)
    if found is None:
        return None
    service, rest = found["service"], found["rest"]
    if service == "lambda" and rest.startswith("function:"):
        return "lambda"
    if service == "sns":
        return "sns"
    if service == "autoscaling" and rest.startswith("scalingPolicy:") and ":resource/sagemaker/" in rest:
        return "autoscaling"
    return None


def may_invoke(policy: Mapping[str, Any], alarm_arn: str, account_id: str) -> bool:
    """Whether a function's policy lets alarms call it."""
    asked = {"aws:sourcearn": alarm_arn, "aws:sourceaccount": account_id}
    effects = {
        statement["Effect"]
        for statement in policy.get("Statement", ())
        if _is_for_alarms(statement) and _conditions_hold(statement.get("Condition") or {}, asked)
    }
    return effects == {"Allow"}


def _is_for_alarms(statement: Mapping[str, Any]) -> bool:
    principal = statement.get("Principal")
    services = _several(principal.get("Service", ())) if isinstance(principal, Mapping) else [principal]
    actions = [action.lower() for action in _several(statement.get("Action", ()))]
    return bool({_PRINCIPAL, "*"} & set(services)) and any(
        fnmatch.fnmatchcase("lambda:invokefunction", action) for action in actions
    )


def _conditions_hold(conditions: Mapping[str, Any], asked: Mapping[str, str]) -> bool:
    for operator, keys in conditions.items():
        if operator not in ("StringEquals", "StringLike", "ArnEquals", "ArnLike"):
            return False
        for key, wanted in keys.items():
            found = asked.get(key.lower())
            exact = operator == "StringEquals"
            if found is None or not any(
                found == value if exact else fnmatch.fnmatchcase(found, value) for value in _several(wanted)
            ):
                return False
    return True


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
