"""Buses, rules and targets as they are described, and which rules an event matches."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from localcloud.context import Context, Request
from localcloud.errors import ServiceError, validation
from localcloud.events import inputs, targets, timer
from localcloud.events.patterns import Pattern, PatternError
from localcloud.events.timer import RULE, Timer
from localcloud.protocols import models
from localcloud.sagemaker.crud import paginate

BUS = "events/bus"
DEFAULT = "default"
Document = dict[str, Any]
_SETTINGS = ("EventPattern", "ScheduleExpression", "State", "Description", "RoleArn")
_MOST_TARGETS = 5
_BUS_NAME = re.compile(r"[./_A-Za-z0-9-]{1,256}")


class Rules:
    """The operations on buses, rules and targets. All methods may be called from any thread."""

    def __init__(self, context: Context, timer: Timer) -> None:
        self._context, self._timer = context, timer
        self._patterns: dict[str, Pattern] = {}

    def rule_arn(self, bus: str, name: str) -> str:
        """The ARN of a rule; that of the default bus is not in it."""
        place = name if bus == DEFAULT else f"{bus}/{name}"
        return f"arn:aws:events:{self._context.region}:{self._context.account_id}:rule/{place}"

    def bus_arn(self, name: str) -> str:
        """The ARN of a bus."""
        return f"arn:aws:events:{self._context.region}:{self._context.account_id}:event-bus/{name}"

    def bus_of(self, name_or_arn: str | None) -> str:
        """The name of a bus that there is. Raises ResourceNotFoundException."""
        name = name_or_arn or DEFAULT
        if name.startswith("arn:"):
            if not name.startswith(self.bus_arn("")):
                raise _not_found(f"Event bus {name} does not exist.")
            name = name.removeprefix(self.bus_arn(""))
        if name != DEFAULT and self._context.store.get(BUS, name) is None:
            raise _not_found(f"Event bus {name} does not exist.")
        return name

    def matching(self, bus: str, event: Mapping[str, Any]) -> Iterator[Document]:
        """The enabled rules of a bus that an event matches."""
        for _, rule in self._context.store.list(RULE, f"{bus}/"):
            # A bus's name may hold a slash: rules of another bus may begin with this one's.
            reacts = rule["EventBusName"] == bus and rule["State"] == "ENABLED" and rule.get("EventPattern")
            if reacts and self._pattern(rule).matches(event):
                yield rule

    def stored(self, bus: str, name: str) -> Document | None:
        """A rule, or None."""
        return self._context.store.get(RULE, f"{bus}/{name}")

    # Buses.

    def create_bus(self, request: Request) -> dict[str, Any]:
        """CreateEventBus."""
        params = request.params
        _refuse(params, "EventSourceName", "KmsKeyIdentifier", "DeadLetterConfig", "LogConfig")
        name = params["Name"]
        if name == DEFAULT or not _BUS_NAME.fullmatch(name) or "/" in name:
            raise validation(
                f"Event bus name {name!r} is not valid: letters, digits, '.', '-' and '_', and not 'default'."
            )
        now = self._context.clock.now()
        document: Document = {
            "Name": name,
            "Arn": self.bus_arn(name),
            "Description": params.get("Description"),
            "CreationTime": now,
            "LastModifiedTime": now,
            "Tags": params.get("Tags", []),
        }
        if not self._context.store.put(BUS, name, document, if_absent=True):
            raise ServiceError("ResourceAlreadyExistsException", f"Event bus {name} already exists.")
        return {"EventBusArn": document["Arn"], "Description": document["Description"]}

    def describe_bus(self, request: Request) -> dict[str, Any]:
        """DescribeEventBus; the default one where no name is given."""
        return self._described_bus(self.bus_of(request.params.get("Name")))

    def list_buses(self, request: Request) -> dict[str, Any]:
        """ListEventBuses."""
        prefix = request.params.get("NamePrefix", "")
        names = [DEFAULT, *(name for name, _ in self._context.store.list(BUS))]
        chosen = [self._described_bus(name) for name in names if name.startswith(prefix)]
        page, token = _page(request, chosen, "Name")
        return {"EventBuses": page, "NextToken": token}

    def delete_bus(self, request: Request) -> dict[str, Any]:
        """DeleteEventBus: one without rules. That there is none is no error."""
        name = request.params["Name"].removeprefix(self.bus_arn(""))
        if name == DEFAULT:
            raise validation(f"Cannot delete event bus {DEFAULT}.")
        with self._context.store.transaction():
            if any(rule["EventBusName"] == name for _, rule in self._context.store.list(RULE, f"{name}/")):
                raise validation(f"Cannot delete event bus {name}: it has rules. Delete them first.")
            self._context.store.delete(BUS, name)
        return {}

    def _described_bus(self, name: str) -> dict[str, Any]:
        document = self._context.store.get(BUS, name) or {"Name": name, "Arn": self.bus_arn(name)}
        known = models.service_model("events").shape_for("EventBus").members
        return {member: value for member, value in document.items() if member in known and value is not None}

    # Rules.

    def put_rule(self, request: Request) -> dict[str, Any]:
        """PutRule: a new one, or new settings of one that keeps its targets. A rate that stays counts on as it did."""
        params = request.params
        bus, name = self.bus_of(params.get("EventBusName")), params["Name"]
        pattern, schedule = params.get("EventPattern"), params.get("ScheduleExpression")
        if not pattern and not schedule:
            raise validation("Parameter(s) EventPattern or ScheduleExpression must be specified.")
        if pattern:
            read_pattern(pattern)
        if schedule:
            timer.check(schedule)
            if bus != DEFAULT:
                raise validation("ScheduleExpression is supported only on the default event bus.")
        arn = self.rule_arn(bus, name)
        with self._context.store.transaction():
            before = self.stored(bus, name)
            if before is not None and params.get("Tags"):
                raise validation(f"Tags can be given to a new rule only; tag {arn} by TagResource.")
            document: Document = {
                "State": "ENABLED",
                **{member: params[member] for member in _SETTINGS if params.get(member)},
                "Name": name,
                "Arn": arn,
                "EventBusName": bus,
                "CreatedBy": self._context.account_id,
                "Targets": before["Targets"] if before else {},
                "Tags": before["Tags"] if before else params.get("Tags", []),
                # From where a rate counts.
                "Anchor": self._context.clock.now().replace(microsecond=0),
            }
            if before is not None and before.get("ScheduleExpression") == schedule and "Anchor" in before:
                document["Anchor"] = before["Anchor"]
            self._context.store.put(RULE, f"{bus}/{name}", document)
            self._timer.plan(f"{bus}/{name}", document)
        return {"RuleArn": arn}

    def describe_rule(self, request: Request) -> dict[str, Any]:
        """DescribeRule."""
        return _projected(self._rule(request.params["Name"], request), "DescribeRuleResponse")

    def list_rules(self, request: Request) -> dict[str, Any]:
        """ListRules of a bus."""
        bus, prefix = self.bus_of(request.params.get("EventBusName")), request.params.get("NamePrefix", "")
        rules = [rule for rule in self._rules_of(bus) if rule["Name"].startswith(prefix)]
        page, token = _page(request, rules, "Name")
        return {"Rules": [_projected(rule, "Rule") for rule in page], "NextToken": token}

    def delete_rule(self, request: Request) -> dict[str, Any]:
        """DeleteRule: one without targets. That there is none is no error."""
        bus, name = self.bus_of(request.params.get("EventBusName")), request.params["Name"]
        with self._context.store.transaction():
            rule = self.stored(bus, name)
            if rule is not None and rule["Targets"]:
                raise validation("Rule can't be deleted since it has targets.")
            self._context.store.delete(RULE, f"{bus}/{name}")
            self._timer.forget(f"{bus}/{name}")
        return {}

    def enable_rule(self, request: Request) -> dict[str, Any]:
        """EnableRule."""
        return self._set_state(request, "ENABLED")

    def disable_rule(self, request: Request) -> dict[str, Any]:
        """DisableRule: what has matched already is delivered."""
        return self._set_state(request, "DISABLED")

    # Targets.

    def put_targets(self, request: Request) -> dict[str, Any]:
        """PutTargets: a target with a known id is replaced."""
        given = request.params["Targets"]
        for target in given:
            targets.check(target)
            try:
                inputs.check(target)
            except inputs.InputError as error:
                raise validation(str(error)) from error

        def changed(rule: Document) -> Document:
            kept = {**rule["Targets"], **{target["Id"]: target for target in given}}
            if len(kept) > _MOST_TARGETS:
                raise ServiceError(
                    "LimitExceededException", "The requested resource exceeds the maximum number allowed."
                )
            return {**rule, "Targets": kept}

        self._change(request.params["Rule"], request, changed)
        return {"FailedEntryCount": 0, "FailedEntries": []}

    def remove_targets(self, request: Request) -> dict[str, Any]:
        """RemoveTargets: those that are not there are named in the answer."""
        gone = request.params["Ids"]
        missing: list[str] = []

        def changed(rule: Document) -> Document:
            missing.extend(one for one in gone if one not in rule["Targets"])
            return {**rule, "Targets": {key: value for key, value in rule["Targets"].items() if key not in gone}}

        self._change(request.params["Rule"], request, changed)
        failed = [
            {
                "TargetId": one,
                "ErrorCode": "ResourceNotFoundException",
                "ErrorMessage": f"Rule {request.params['Rule']} does not have target {one}.",
            }
            for one in missing
        ]
        return {"FailedEntryCount": len(failed), "FailedEntries": failed}

    def list_targets(self, request: Request) -> dict[str, Any]:
        """ListTargetsByRule."""
        found = list(self._rule(request.params["Rule"], request)["Targets"].values())
        page, token = _page(request, found, "Id")
        # The model has no list without members.
        return {"Targets": page or None, "NextToken": token}

    def list_names(self, request: Request) -> dict[str, Any]:
        """ListRuleNamesByTarget."""
        arn = request.params["TargetArn"]
        rules = [
            rule
            for rule in self._rules_of(self.bus_of(request.params.get("EventBusName")))
            if any(target["Arn"] == arn for target in rule["Targets"].values())
        ]
        page, token = _page(request, rules, "Name")
        return {"RuleNames": [rule["Name"] for rule in page], "NextToken": token}

    # Tags, of rules and buses.

    def tag(self, request: Request) -> dict[str, Any]:
        """TagResource: a tag with a known key gets the new value."""
        given = {tag["Key"]: tag["Value"] for tag in request.params["Tags"]}
        self._retag(request.params["ResourceARN"], lambda tags: {**tags, **given})
        return {}

    def untag(self, request: Request) -> dict[str, Any]:
        """UntagResource: keys that are not there are no error."""
        gone = request.params["TagKeys"]
        self._retag(request.params["ResourceARN"], lambda tags: {k: v for k, v in tags.items() if k not in gone})
        return {}

    def tags(self, request: Request) -> dict[str, Any]:
        """ListTagsForResource."""
        kind, key = self._tagged(request.params["ResourceARN"])
        document = self._context.store.get(kind, key)
        if document is None:
            raise _not_found(f"{request.params['ResourceARN']} does not exist.")
        return {"Tags": document["Tags"]}

    def test_pattern(self, request: Request) -> dict[str, Any]:
        """TestEventPattern."""
        pattern = read_pattern(request.params["EventPattern"])
        try:
            event = json.loads(request.params["Event"])
        except (ValueError, RecursionError) as error:
            raise validation(f"Parameter Event is not valid. Reason: it is not JSON: {error}") from error
        if not isinstance(event, dict):
            raise validation("Parameter Event is not valid. Reason: it is not an object.")
        wanted = {"id", "account", "source", "time", "region", "resources", "detail-type"}
        if missing := sorted(wanted - event.keys()):
            raise validation(
                f"Parameter Event is not valid. Reason: it lacks the mandatory fields {', '.join(missing)}."
            )
        return {"Result": pattern.matches(event)}

    def _pattern(self, rule: Document) -> Pattern:
        text: str = rule["EventPattern"]
        if text not in self._patterns:
            if len(self._patterns) > 1000:
                self._patterns.clear()
            self._patterns[text] = Pattern.parse(text)
        return self._patterns[text]

    def _rules_of(self, bus: str) -> list[Document]:
        return [rule for _, rule in self._context.store.list(RULE, f"{bus}/") if rule["EventBusName"] == bus]

    def _rule(self, name: str, request: Request) -> Document:
        bus = self.bus_of(request.params.get("EventBusName"))
        rule = self.stored(bus, name)
        if rule is None:
            raise _not_found(f"Rule {name} does not exist on EventBus {bus}.")
        return rule

    def _change(self, name: str, request: Request, function: Any) -> Document:
        bus = self.bus_of(request.params.get("EventBusName"))
        try:
            return self._context.store.update(RULE, f"{bus}/{name}", function)
        except KeyError:
            raise _not_found(f"Rule {name} does not exist on EventBus {bus}.") from None

    def _set_state(self, request: Request, state: str) -> dict[str, Any]:
        with self._context.store.transaction():
            rule = self._change(request.params["Name"], request, lambda rule: {**rule, "State": state})
            self._timer.plan(f"{rule['EventBusName']}/{rule['Name']}", rule)
        return {}

    def _retag(self, arn: str, function: Any) -> None:
        def changed(document: Document) -> Document:
            tags = function({tag["Key"]: tag["Value"] for tag in document["Tags"]})
            return {**document, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

        kind, key = self._tagged(arn)
        try:
            self._context.store.update(kind, key, changed)
        except KeyError:
            raise _not_found(f"{arn} does not exist.") from None

    def _tagged(self, arn: str) -> tuple[str, str]:
        if arn.startswith(self.bus_arn("")):
            return BUS, arn.removeprefix(self.bus_arn(""))
        place = arn.removeprefix(self.rule_arn(DEFAULT, ""))
        return RULE, place if "/" in place else f"{DEFAULT}/{place}"


def read_pattern(text: str) -> Pattern:
    """The pattern in a request. Raises InvalidEventPatternException."""
    try:
        return Pattern.parse(text)
    except PatternError as error:
        raise ServiceError("InvalidEventPatternException", f"Event pattern is not valid. Reason: {error}") from error


def _refuse(params: Mapping[str, Any], *members: str) -> None:
    for member in members:
        if params.get(member):
            raise validation(f"localcloud's event buses have no {member}; got {params[member]!r}")


def _not_found(message: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", message)


def _projected(rule: Document, shape: str) -> dict[str, Any]:
    known = models.service_model("events").shape_for(shape).members
    return {member: value for member, value in rule.items() if member in known}


def _page(request: Request, items: Sequence[Document], key: str) -> tuple[Sequence[Document], str | None]:
    params = {"MaxResults": request.params.get("Limit", 100)}
    if request.params.get("NextToken"):
        params["NextToken"] = request.params["NextToken"]
    return paginate(request.operation, items, params, lambda item: str(item[key]))
