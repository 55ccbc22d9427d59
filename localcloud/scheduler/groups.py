"""Groups of schedules, and their tags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from localcloud.context import Context, Request
from localcloud.errors import ServiceError, validation
from localcloud.protocols import models
from localcloud.sagemaker.crud import paginate

GROUP = "scheduler/group"
DEFAULT = "default"
Document = dict[str, Any]


class Groups:
    """The operations on groups. `empty` deletes the schedules of a group, in the transaction that deletes the group.
    All methods may be called from any thread."""

    def __init__(self, context: Context, empty: Callable[[str], None]) -> None:
        self._context, self._empty = context, empty

    def start(self) -> None:
        """Make the default group of a new account."""
        now = self._context.clock.now()
        self._context.store.put(GROUP, DEFAULT, self._document(DEFAULT, now, None, []), if_absent=True)

    def arn(self, name: str) -> str:
        """The ARN of a group."""
        return f"arn:aws:scheduler:{self._context.region}:{self._context.account_id}:schedule-group/{name}"

    def named(self, name: str) -> Document:
        """A group. Raises ResourceNotFoundException."""
        document = self._context.store.get(GROUP, name)
        if document is None:
            raise missing(f"Schedule group {name} does not exist.")
        return document

    def create(self, request: Request) -> dict[str, Any]:
        """CreateScheduleGroup; again with the same token, it is the first one's answer."""
        params = request.params
        name, token = params["Name"], params.get("ClientToken")
        document = self._document(name, self._context.clock.now(), token, params.get("Tags", []))
        with self._context.store.transaction():
            before = self._context.store.get(GROUP, name)
            if before is not None and (token is None or before["ClientToken"] != token):
                raise ServiceError("ConflictException", f"Schedule group {name} already exists.", 409)
            if before is None:
                self._context.store.put(GROUP, name, document)
        return {"ScheduleGroupArn": document["Arn"]}

    def get(self, request: Request) -> dict[str, Any]:
        """GetScheduleGroup."""
        return projected(self.named(request.params["Name"]), "GetScheduleGroupOutput")

    def list(self, request: Request) -> dict[str, Any]:
        """ListScheduleGroups."""
        prefix = request.params.get("NamePrefix", "")
        found = [document for _, document in self._context.store.list(GROUP, prefix)]
        chosen, token = page(request, sorted(found, key=_name))
        return {"ScheduleGroups": [projected(one, "ScheduleGroupSummary") for one in chosen], "NextToken": token}

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteScheduleGroup, with all that is in it, at once. A repeated request finds it gone."""
        name = request.params["Name"]
        if name == DEFAULT:
            raise validation("The default schedule group cannot be deleted.")
        with self._context.store.transaction():
            self.named(name)
            self._empty(name)
            self._context.store.delete(GROUP, name)
        return {}

    def tag(self, request: Request) -> dict[str, Any]:
        """TagResource: a tag with a known key gets the new value."""
        given = {tag["Key"]: tag["Value"] for tag in request.params["Tags"]}
        self._retag(request.params["ResourceArn"], lambda tags: {**tags, **given})
        return {}

    def untag(self, request: Request) -> dict[str, Any]:
        """UntagResource: keys that are not there are no error."""
        gone = request.params["TagKeys"]
        self._retag(request.params["ResourceArn"], lambda tags: {k: v for k, v in tags.items() if k not in gone})
        return {}

    def tags(self, request: Request) -> dict[str, Any]:
        """ListTagsForResource."""
        return {"Tags": self.named(self._name_of(request.params["ResourceArn"]))["Tags"]}

    def _retag(self, arn: str, function: Callable[[dict[str, str]], dict[str, str]]) -> None:
        name = self._name_of(arn)
        with self._context.store.transaction():
            document = self.named(name)
            tags = function({tag["Key"]: tag["Value"] for tag in document["Tags"]})
            document |= {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
            self._context.store.put(GROUP, name, document | {"LastModificationDate": self._context.clock.now()})

    def _name_of(self, arn: str) -> str:
        name = arn.removeprefix(self.arn(""))
        if name == arn:
            raise missing(f"{arn} does not exist.")
        return name

    def _document(self, name: str, now: Any, token: str | None, tags: Sequence[Document]) -> Document:
        return {
            "Name": name,
            "Arn": self.arn(name),
            "State": "ACTIVE",
            "CreationDate": now,
            "LastModificationDate": now,
            "ClientToken": token,
            "Tags": [*tags],
        }


def missing(message: str) -> ServiceError:
    """What the request names is not there."""
    return ServiceError("ResourceNotFoundException", message, 404)


def projected(document: Document, shape: str) -> dict[str, Any]:
    """The members of a document that a shape has."""
    known = models.service_model("scheduler").shape_for(shape).members
    return {member: value for member, value in document.items() if member in known and value is not None}


def page(request: Request, items: Sequence[Document]) -> tuple[Sequence[Document], str | None]:
    """A page of sorted items, as MaxResults and NextToken ask for it."""
    given = {name: request.params[name] for name in ("MaxResults", "NextToken") if request.params.get(name)}
    return paginate(request.operation, items, {"MaxResults": 100, **given}, lambda item: f"{item['Arn']}")


def _name(document: Document) -> str:
    return str(document["Name"])
