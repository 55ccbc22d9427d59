"""Event source mappings as they are described: which queue feeds which function, and how. `poller` does it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.events.patterns import Pattern, PatternError
from localcloud.functions.destinations import queue_url, service_of
from localcloud.functions.functions import Document, Functions, page_of
from localcloud.functions.packages import refused
from localcloud.functions.poller import MAPPING, Poller
from localcloud.protocols import models

_KEPT = (
    "BatchSize",
    "FilterCriteria",
    "FunctionResponseTypes",
    "MaximumBatchingWindowInSeconds",
    "MetricsConfig",
    "ScalingConfig",
)
_MOST_WITHOUT_WINDOW = 10


class Mappings:
    """The operations on mappings."""

    def __init__(self, context: Context, functions: Functions, poller: Poller) -> None:
        self._context, self._functions, self._poller = context, functions, poller

    def recover(self) -> None:
        """Take up the mappings that are in the store."""
        for _, document in self._context.store.list(MAPPING):
            self._poller.set(document)

    def named(self, identifier: str) -> Document:
        """A stored mapping. Raises ResourceNotFoundException."""
        document = self._context.store.get(MAPPING, identifier)
        if document is None:
            raise _missing()
        return document

    def create(self, request: Request) -> dict[str, Any]:
        """CreateEventSourceMapping: of an SQS queue."""
        params = request.params
        _check_members(params, {"EventSourceArn", "FunctionName", "Enabled", "Tags", *_KEPT})
        function = self._functions.named(params["FunctionName"])
        source = params.get("EventSourceArn", "")
        if service_of(source) != "sqs":
            raise refused(f"localcloud's event sources are SQS queues; got EventSourceArn {source!r}")
        identifier = str(uuid.uuid4())
        document: Document = {
            "BatchSize": 10,
            "MaximumBatchingWindowInSeconds": 0,
            **{member: params[member] for member in _KEPT if member in params},
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
        self._check(document, function)
        with self._context.store.transaction():
            for _, other in self._context.store.list(MAPPING):
                if (other["EventSourceArn"], other["FunctionArn"]) == (source, function["FunctionArn"]):
                    raise ServiceError(
                        "ResourceConflictException",
                        f'An event source mapping with SQS arn (" {source} ") and function ("'
                        f' {function["FunctionName"]} ") already exists. Please update or delete the existing mapping'
                        f" with UUID {other['UUID']}",
                        409,
                    )
            self._context.store.put(MAPPING, identifier, document)
        self._poller.set(document)
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
        _check_members(params, {"UUID", "FunctionName", "Enabled", *_KEPT})
        before = self.named(params["UUID"])
        members: Document = {member: params[member] for member in _KEPT if member in params}
        function = self._functions.named(str(params.get("FunctionName", before["FunctionArn"])))
        members |= {name: function[name] for name in ("FunctionArn", "FunctionName")}
        if "Enabled" in params:
            members["State"] = "Enabled" if params["Enabled"] else "Disabled"
        members["LastModified"] = self._context.clock.now()
        self._check({**before, **members}, function)
        document = self._change(params["UUID"], members)
        self._poller.set(document)
        return _described(document)

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteEventSourceMapping: a batch under way is handled to its end."""
        document = self.named(request.params["UUID"])
        if not self._context.store.delete(MAPPING, document["UUID"]):
            raise _missing()
        self._poller.drop(document["UUID"])
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

    def _check(self, document: Document, function: Document) -> None:
        source, window = document["EventSourceArn"], document["MaximumBatchingWindowInSeconds"]
        fifo = source.endswith(".fifo")
        if document["BatchSize"] > _MOST_WITHOUT_WINDOW and not window:
            raise refused(
                "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than"
                f" {_MOST_WITHOUT_WINDOW}"
            )
        if fifo and window:
            raise refused("Batching window is not supported for FIFO queues")
        for number, entry in enumerate(document.get("FilterCriteria", {}).get("Filters", [])):
            try:
                Pattern.parse(entry.get("Pattern", ""))
            except PatternError as error:
                raise refused(
                    f"Invalid filter pattern definition in FilterCriteria.Filters[{number}]: {error}"
                ) from error
        sqs = self._context.leaf.client("sqs")
        try:
            attributes = sqs.get_queue_attributes(
                QueueUrl=queue_url(sqs, source), AttributeNames=["VisibilityTimeout"]
            )["Attributes"]
        except ClientError as error:
            found = error.response["Error"]
            raise refused(
                f"Error occurred while ReceiveMessage. SQS Error Code: {found['Code']}. SQS Error Message:"
                f" {found['Message']}"
            ) from error
        if int(attributes["VisibilityTimeout"]) < function["Timeout"]:
            raise refused(
                f"Queue visibility timeout: {attributes['VisibilityTimeout']} seconds is less than Function timeout:"
                f" {function['Timeout']} seconds"
            )


def _check_members(params: Mapping[str, Any], known: set[str]) -> None:
    for member in params.keys() - known:
        raise refused(f"localcloud's event source mappings have no {member}; got {params[member]!r}")


def _missing() -> ServiceError:
    return ServiceError("ResourceNotFoundException", "The resource you requested does not exist.", 404)


def _described(document: Document) -> dict[str, Any]:
    known = models.service_model("lambda").shape_for("EventSourceMappingConfiguration").members
    return {member: value for member, value in document.items() if member in known}
