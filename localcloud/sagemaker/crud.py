"""Create, Describe, List and Delete of a kind of resource, derived from botocore's model over the store.

A kind says how it is named and how AWS words its errors; everything else is read from the model: Describe gives the
members of its output shape, List the members of its summary shape, and a List request's own members say which filters
there are (NameContains, CreationTimeAfter, LastModifiedTimeBefore, StatusEquals, …), how it is sorted, and how it is
cut into pages.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from botocore.model import StructureShape

from localcloud.context import Context, Request
from localcloud.errors import ServiceError, validation
from localcloud.sagemaker import shapes
from localcloud.sagemaker.arns import Arns

Document = dict[str, Any]

_PAGE = 100  # the most that MaxResults allows, and what AWS gives where it is not named: 10 or 100, by operation


@dataclass(frozen=True)
class Kind:
    """A kind of resource. Names are those of botocore's model."""

    noun: str
    """As in the operations: `Model` for CreateModel and ListModels."""
    resource: str
    """As in the ARN: `model`."""
    missing: Callable[[str, str], ServiceError]
    """The error for a resource that is not there, from its name and ARN."""
    duplicate: Callable[[str, str], ServiceError]
    """The error for a name that is taken, from the name and its ARN."""
    plural: str = ""
    default_order: str = "Descending"
    """The order of List where the request names none."""
    status: str = ""
    """The member that StatusEquals and SortBy=Status mean, for example `TrainingJobStatus`."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Members of a new document beyond the request's."""

    @property
    def store(self) -> str:
        """The kind's name in the store."""
        return f"sagemaker/{self.resource}"

    @property
    def name_member(self) -> str:
        return f"{self.noun}Name"

    @property
    def arn_member(self) -> str:
        return f"{self.noun}Arn"


class Resources:
    """The operations of one kind. `on_delete` is called with the ARN of what was deleted."""

    def __init__(self, kind: Kind, context: Context, arns: Arns) -> None:
        self.kind, self._context, self._arns = kind, context, arns

    def arn(self, name: str) -> str:
        """The ARN of the resource of that name, whether it exists or not."""
        return self._arns.of(self.kind.resource, name)

    def get(self, name: str) -> Document:
        """The stored document. Raises the kind's error if there is none."""
        document = self._context.store.get(self.kind.store, name)
        if document is None:
            raise self.kind.missing(name, self.arn(name))
        return document

    def add(self, params: Mapping[str, Any], **members: Any) -> Document:
        """Store a new resource with the request's members and `members`. Raises the kind's error for a taken name."""
        name = params[self.kind.name_member]
        now = self._context.clock.now()
        document: Document = {
            **self.kind.defaults,
            **{key: value for key, value in params.items() if key != "Tags"},
            self.kind.arn_member: self.arn(name),
            "CreationTime": now,
            "LastModifiedTime": now,
            **members,
        }
        with self._context.store.transaction():
            if not self._context.store.put(self.kind.store, name, document, if_absent=True):
                raise self.kind.duplicate(name, self.arn(name))
            if params.get("Tags"):
                self._context.store.put("sagemaker/tags", self.arn(name), {"Tags": params["Tags"]})
        return document

    def change(self, name: str, function: Callable[[Document], Document]) -> Document:
        """Replace the stored document, in one step; LastModifiedTime is set."""
        now = self._context.clock.now()
        try:
            return self._context.store.update(
                self.kind.store, name, lambda document: {**function(document), "LastModifiedTime": now}
            )
        except KeyError:
            raise self.kind.missing(name, self.arn(name)) from None

    def remove(self, name: str) -> None:
        """Delete the resource and its tags. Raises the kind's error if there is none."""
        with self._context.store.transaction():
            if not self._context.store.delete(self.kind.store, name):
                raise self.kind.missing(name, self.arn(name))
            self._context.store.delete("sagemaker/tags", self.arn(name))

    def create(self, request: Request) -> dict[str, Any]:
        """CreateX."""
        return {self.kind.arn_member: self.add(request.params)[self.kind.arn_member]}

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribeX: the stored members that its output shape knows."""
        document = self.get(request.params[self.kind.name_member])
        return shapes.project(document, shapes.output_shape(f"Describe{self.kind.noun}").name)

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteX."""
        self.remove(request.params[self.kind.name_member])
        return {}

    def list(self, request: Request) -> dict[str, Any]:
        """ListXs."""
        documents = self._context.store.list(self.kind.store, members=summary_members(request.operation))
        return listing(
            request.operation,
            [document for _, document in documents],
            request.params,
            name=self.kind.name_member,
            default_order=self.kind.default_order,
            status=self.kind.status,
        )

    @property
    def list_operation(self) -> str:
        return f"List{self.kind.plural or self.kind.noun + 's'}"


def summary_members(operation: str) -> frozenset[str]:
    """The members of a document that a List operation needs: its summary's. Filters and sort keys are among them."""
    return shapes.members(_summary(operation)[1].name)


def _summary(operation: str) -> tuple[str, StructureShape]:
    """The name of the list in a List operation's response, and the shape of its entries."""
    members = shapes.output_shape(operation).members
    items = next(member for member, shape in members.items() if shape.type_name == "list")
    return items, members[items].member


def listing(
    operation: str,
    documents: Iterable[Document],
    params: Mapping[str, Any],
    *,
    name: str,
    default_order: str,
    status: str = "",
    created: str = "CreationTime",
    key: str = "",
) -> dict[str, Any]:
    """The answer of a List operation: `documents` filtered, sorted and cut into pages as `params` say.

    `name`, `status` and `created` are the documents' members that the request's filters and sort keys mean; `key` is
    the one that tells them apart, if that is not the name.
    Documents are given in the order in which they were made. Raises ValidationException for a token of another list.
    """
    items, summary = _summary(operation)
    chosen = [document for document in documents if _matches(document, params, name, status, created)]
    sort_by = str(params.get("SortBy", "CreationTime"))
    member = {"Name": name, "Status": status, "CreationTime": created}.get(sort_by, sort_by)
    # The sort is stable, so that things made in the same instant stay in the order in which they were made; for the
    # same reason a descending list is an ascending one turned round.
    chosen.sort(key=lambda document: _sort_key(document.get(member)))
    if params.get("SortOrder", default_order) == "Descending":
        chosen.reverse()
    page, token = paginate(operation, chosen, params, lambda document: str(document.get(key or name)))
    answer: dict[str, Any] = {items: [shapes.project(document, summary.name) for document in page]}
    if token:
        answer["NextToken"] = token
    return answer


def paginate(
    operation: str, items: Sequence[Any], params: Mapping[str, Any], key: Callable[[Any], str]
) -> tuple[Sequence[Any], str | None]:
    """One page of `items`, and the token of the next. A token names the last item given, so that things that are made
    or deleted between two pages move no other thing out of sight. Raises ValidationException for a token that is not
    one of this operation's."""
    start = 0
    if params.get("NextToken"):
        position, last = _read_token(operation, params["NextToken"])
        places = [index for index, item in enumerate(items) if key(item) == last]
        start = places[0] + 1 if places else position
    end = start + params.get("MaxResults", _PAGE)
    page = items[start:end]
    if end >= len(items) or not page:
        return page, None
    token = base64.urlsafe_b64encode(json.dumps([operation, end, key(page[-1])]).encode()).decode()
    return page, token


def _read_token(operation: str, token: str) -> tuple[int, str]:
    try:
        given_by, position, last = json.loads(base64.urlsafe_b64decode(token.encode()))
        if given_by != operation or type(position) is not int or position < 1 or not isinstance(last, str):
            raise ValueError("not this operation's name, a position and a key")
        return position, last
    except (ValueError, TypeError, RecursionError, binascii.Error):
        raise validation(f"The NextToken {token!r} is not one that an earlier call of this operation gave") from None


def _matches(document: Document, params: Mapping[str, Any], name: str, status: str, created: str) -> bool:
    if "NameContains" in params and params["NameContains"].lower() not in str(document.get(name, "")).lower():
        return False
    if "StatusEquals" in params and document.get(status) != params["StatusEquals"]:
        return False
    moments = {"CreationTime": created, "Created": created, "LastModifiedTime": "LastModifiedTime"}
    for prefix, member in moments.items():
        moment: datetime | None = document.get(member)
        after, before = params.get(f"{prefix}After"), params.get(f"{prefix}Before")
        if after is not None and (moment is None or moment <= after):
            return False
        if before is not None and (moment is None or moment >= before):
            return False
    return True


def _sort_key(value: Any) -> tuple[bool, Any]:
    return (value is not None, value if value is not None else 0)
