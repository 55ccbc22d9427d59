"""EventBridge as a service: its parts put together, and its operations by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from localcloud.context import Context, Request
from localcloud.errors import ServiceError, validation
from localcloud.events.delivery import Deliveries
from localcloud.events.rules import Rules
from localcloud.events.timer import Timer
from localcloud.service import Handler

_MOST_ENTRIES, _MOST_BYTES = 10, 1_048_576


class EventBridge:
    """The service. Events of localcloud's own services come to the default bus by the context's signals. `settle` is
    called after each delivery, while the clock still waits for it: what it has led to may have to be taken up."""

    name = "events"

    def __init__(self, context: Context, settle: Callable[[], None] | None = None) -> None:
        self._context = context
        self._timer = Timer(context, lambda keys, due: self._deliveries.take_due(keys, due))
        self._rules = Rules(context, self._timer)
        self._deliveries = Deliveries(context, self._rules, self._timer, settle)
        context.signals.on_event(self._deliveries.take_signal)
        rules = self._rules
        self._operations: dict[str, Handler] = {
            "PutEvents": self.put_events,
            "PutRule": rules.put_rule,
            "DescribeRule": rules.describe_rule,
            "ListRules": rules.list_rules,
            "DeleteRule": rules.delete_rule,
            "EnableRule": rules.enable_rule,
            "DisableRule": rules.disable_rule,
            "PutTargets": rules.put_targets,
            "RemoveTargets": rules.remove_targets,
            "ListTargetsByRule": rules.list_targets,
            "ListRuleNamesByTarget": rules.list_names,
            "CreateEventBus": rules.create_bus,
            "DescribeEventBus": rules.describe_bus,
            "ListEventBuses": rules.list_buses,
            "DeleteEventBus": rules.delete_bus,
            "TestEventPattern": rules.test_pattern,
            "TagResource": rules.tag,
            "UntagResource": rules.untag,
            "ListTagsForResource": rules.tags,
        }

    @property
    def operations(self) -> Mapping[str, Handler]:
        """What is implemented, by name."""
        return self._operations

    def start(self) -> None:
        """Go on with what an earlier localcloud had not delivered."""
        self._deliveries.recover()
        self._timer.start()

    def stop(self) -> None:
        """End the tries under way; what is not delivered stays in the store."""
        self._timer.stop()
        self._deliveries.close()
        self._deliveries.join()

    def put_events(self, request: Request) -> dict[str, Any]:
        """PutEvents: each entry is taken or refused by itself."""
        entries = request.params["Entries"]
        if request.params.get("EndpointId"):
            raise validation("localcloud has no global endpoints; leave EndpointId out")
        if len(entries) > _MOST_ENTRIES:
            raise validation(
                f"1 validation error detected: Value '{len(entries)} entries' at 'entries' failed to satisfy"
                f" constraint: Member must have length less than or equal to {_MOST_ENTRIES}"
            )
        size = sum(
            len(entry.get(name, "").encode()) for entry in entries for name in ("Detail", "Source", "DetailType")
        )
        if size > _MOST_BYTES:
            raise validation(
                f"Total size of the entries in the request is over the limit: {size} of {_MOST_BYTES} bytes."
            )
        results = [self._put(entry) for entry in entries]
        return {"FailedEntryCount": sum("ErrorCode" in result for result in results), "Entries": results}

    def _put(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        for name in ("Source", "DetailType", "Detail"):
            if not entry.get(name):
                message = f"Parameter {name} is not valid. Reason: {name} is a required argument."
                return {"ErrorCode": "InvalidArgument", "ErrorMessage": message}
        if entry["Source"].startswith("aws."):
            return {"ErrorCode": "NotAuthorizedForSourceException", "ErrorMessage": "Not authorized for the source."}
        try:
            detail = json.loads(entry["Detail"])
        except (ValueError, RecursionError):
            detail = None
        if not isinstance(detail, dict):
            return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
        try:
            bus = self._rules.bus_of(entry.get("EventBusName"))
        except ServiceError as error:
            return {"ErrorCode": error.code, "ErrorMessage": error.message}
        time = entry.get("Time") or self._context.clock.now()
        event = self._deliveries.event(entry["Source"], entry["DetailType"], detail, time, entry.get("Resources", []))
        self._deliveries.take(bus, event)
        return {"EventId": event["id"]}
