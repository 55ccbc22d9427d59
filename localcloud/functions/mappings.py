"""Event source mappings as they are described: which queue or stream feeds which function, and how.

`sources` says what may be set, `poller` feeds functions from queues and `streams` from streams.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence, Set
from typing import Any, Protocol

from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.functions.destinations import service_of
from localcloud.functions.functions import Document, Functions, page_of
from localcloud.functions.packages import refused
from localcloud.functions.poller import MAPPING
from localcloud.functions.sources import Kind
from localcloud.protocols import models

_NAMES = {"sqs": "SQS", "kinesis": "Kinesis"}
_MEMBERS = frozenset({"EventSourceArn", "FunctionName", "Enabled", "Tags"})


class Feeder(Protocol):
    """Does what the mappings of a kind of source say."""

    def set(self, document: Document) -> None:
        """A mapping is new, or has changed."""
        ...

    def drop(self, identifier: str) -> None:
        """A mapping is gone."""
        ...


class Mappings:
    """The operations on mappings."""

    def __init__(
        self, context: Context, functions: Functions, kinds: Mapping[str, Kind], feeders: Mapping[str, Feeder]
    ) -> None:
        """kinds, feeders: by the service that the source is of."""
        self._context, self._functions, self._kinds, self._feeders = context, functions, kinds, feeders

    def recover(self) -> None:
        """Take up the mappings that are in the store."""
        for _, document in self._context.store.list(MAPPING):
            self._feeder(document).set(document)

    def named(self, identifier: str) -> Document:
        """A stored mapping. Raises ResourceNotFoundException."""
        document = self._context.store.get(MAPPING, identifier)
        if document is None:
            raise _missing()
        return document

    def create(self, request: Request) -> dict[str, Any]:
        """CreateEventSourceMapping: of an SQS queue, or of a Kinesis stream."""
        params = request.params
        source = params.get("EventSourceArn", "")
        service = service_of(source)
        kind = self._kinds.get(service)
        if kind is None:
            raise refused(
                f"localcloud's event sources are SQS queues and Kinesis streams; got EventSourceArn {source!r}"
            )
        settings = {*kind.settings, *kind.first_settings}
        _check_members(params, service, _MEMBERS | settings)
        function = self._functions.named(params["FunctionName"])
        identifier = str(uuid.uuid4())
        document: Document = {
            **kind.defaults,
            **{member: params[member] for member in settings if member in params},
            "UUID": identifier,
            "EventSourceArn": source,
            "EventSourceMappingArn": self._arn(identifier),
            "FunctionArn": function["FunctionArn"],
            "FunctionName": function["FunctionName"],
            "State": "Enabled" if params.get("Enabled", True) else "Disabled",
            "StateTransitionReason": "USER_INITIATED",
            "LastModified": self._context.clock.now(),
            "Tags": params.get("Tags", {}),
        }
        kind.check(document, function)
        document |= kind.begin(document)
        with self._context.store.transaction():
            for _, other in self._context.store.list(MAPPING):
                if (other["EventSourceArn"], other["FunctionArn"]) == (source, function["FunctionArn"]):
                    raise ServiceError(
                        "ResourceConflictException",
                        f'An event source mapping with {_NAMES[service]} arn (" {source} ") and function ("'
                        f' {function["FunctionName"]} ") already exists. Please update or delete the existing mapping'
                        f" with UUID {other['UUID']}",
                        409,
                    )
            self._context.store.put(MAPPING, identifier, document)
        self._feeder(document).set(document)
        return _described(document)

    def get(self, request: Request) -> dict[str, Any]:
        """GetEventSourceMapping."""
        return _described(self.named(request.params["UUID"]))

    def list(self, request: Request) -> dict[str, Any]:
        """ListEventSourceMappings: all, or those of a queue or a function."""
        params = request.params
        documents = [document for _, document in self._context.store.list(MAPPING)]
        if params.get("EventSourceArn"):
            documents = [one for one in documents if one["EventSourceArn"] == params["EventSourceArn"]]
        if params.get("FunctionName"):
            arn = self._functions.named(params["FunctionName"])["FunctionArn"]
            documents = [one for one in documents if one["FunctionArn"] == arn]
        page, marker = page_of(request, documents, "UUID")
        return {"EventSourceMappings": [_described(document) for document in page], "NextMarker": marker}

    def update(self, request: Request) -> dict[str, Any]:
        """UpdateEventSourceMapping: what the request leaves out stays."""
        params = request.params
        before = self.named(params["UUID"])
        service = service_of(before["EventSourceArn"])
        kind = self._kinds[service]
        _check_members(params, service, {"UUID", "FunctionName", "Enabled", *kind.settings})
        members: Document = {member: params[member] for member in kind.settings if member in params}
        function = self._functions.named(str(params.get("FunctionName", before["FunctionArn"])))
        members |= {name: function[name] for name in ("FunctionArn", "FunctionName")}
        if "Enabled" in params:
            members["State"] = "Enabled" if params["Enabled"] else "Disabled"
        members["LastModified"] = self._context.clock.now()
        kind.check({**before, **members}, function)
        document = self._change(params["UUID"], members)
        self._feeder(document).set(document)
        return _described(document)

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteEventSourceMapping: a batch under way is handled to its end."""
        document = self.named(request.params["UUID"])
        if not self._context.store.delete(MAPPING, document["UUID"]):
            raise _missing()
        self._feeder(document).drop(document["UUID"])
        return _described({**document, "State": "Deleting"})

    def tag(self, arn: str, tags: Mapping[str, str]) -> None:
        """Set tags of a mapping."""
        document = self.named(arn.rpartition(":")[2])
        self._change(document["UUID"], {"Tags": {**document["Tags"], **tags}})

    def untag(self, arn: str, keys: Sequence[str]) -> None:
        """Remove tags of a mapping; keys that are not there are no error."""
        document = self.named(arn.rpartition(":")[2])
        self._change(document["UUID"], {"Tags": {k: v for k, v in document["Tags"].items() if k not in keys}})

    def _change(self, identifier: str, members: Document) -> Document:
        try:
            return self._context.store.update(MAPPING, identifier, lambda stored: {**stored, **members})
        except KeyError:
            raise _missing() from None

    def _arn(self, identifier: str) -> str:
        return f"arn:aws:lambda:{self._context.region}:{self._context.account_id}:event-source-mapping:{identifier}"

    def _feeder(self, document: Document) -> Feeder:
        return self._feeders[service_of(document["EventSourceArn"])]


def _check_members(params: Mapping[str, Any], service: str, known: Set[str]) -> None:
    for member in params.keys() - known:
        raise refused(f"localcloud's {_NAMES[service]} event source mappings have no {member}; got {params[member]!r}")


def _missing() -> ServiceError:
    return ServiceError("ResourceNotFoundException", "The resource you requested does not exist.", 404)


def _described(document: Document) -> dict[str, Any]:
    known = models.service_model("lambda").shape_for("EventSourceMappingConfiguration").members
    return {member: value for member, value in document.items() if member in known}
