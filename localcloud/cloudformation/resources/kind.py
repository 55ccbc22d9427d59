"""What a resource type is to a deployment, and what it is given."""

from __future__ import annotations

import json
import random
import string
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from botocore.exceptions import ClientError

from localcloud.cloudformation.errors import ResourceFailed

if TYPE_CHECKING:
    from localcloud.cloudformation.answers import Answers

Properties = Mapping[str, Any]
Tags = Mapping[str, str]

_RANDOM = random.SystemRandom()
_ALPHABET = string.ascii_uppercase + string.digits
_RANDOM_LENGTH = 12
_PARTITION = "aws"


class Until(Protocol):
    """Asks again and again until the answer is true; the text says what is waited for. Raises ResourceFailed when it
    takes too long, Interrupted when the deployment is to end."""

    def __call__(self, ask: Callable[[], bool], what: str, longest_seconds: float = ...) -> None: ...


@dataclass(frozen=True)
class Call:
    """One resource of one stack, on whose behalf a service is called."""

    stack_name: str
    stack_id: str
    logical_id: str
    region: str
    account_id: str
    endpoint_url: str
    """Where users reach localcloud: in what has an address."""
    client: Callable[[str], Any]
    """A boto3 client, by service, whose calls are those of the stack's role or of who deploys it."""
    until: Until
    tags: Tags = field(default_factory=dict)
    """The resource's own and the stack's."""
    tags_before: Tags = field(default_factory=dict)
    taking_back: bool = False
    """Whether an update is rolled back: what cannot be undone stays then."""
    type_name: str = ""
    """As the template has it: a custom resource's is not the name of its kind."""
    answers: Answers | None = None
    """Where custom resources answer."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What one method of the kind leaves for those that follow it."""

    def arn(self, service: str, resource: str) -> str:
        """An ARN in the stack's account and region."""
        return f"arn:{_PARTITION}:{service}:{self.region}:{self.account_id}:{resource}"

    def new_name(self, longest: int, *, lower: bool = False, suffix: str = "") -> str:
        """A name as CloudFormation makes them: stack, logical id and twelve random characters."""
        end = "".join(_RANDOM.choices(_ALPHABET, k=_RANDOM_LENGTH)) + suffix
        left = longest - len(end) - 2
        logical = self.logical_id[: max(left - len(self.stack_name), left // 2)]
        name = f"{self.stack_name[: left - len(logical)]}-{logical}-{end}"
        return name.lower() if lower else name

    def retag(self, add: Callable[[dict[str, str]], Any], remove: Callable[[list[str]], Any]) -> None:
        """Change the tags of a resource to what they are to be: the service's two calls, each made if it is needed."""
        wanted = {key: value for key, value in self.tags.items() if self.tags_before.get(key) != value}
        if gone := sorted(self.tags_before.keys() - self.tags.keys()):
            remove(gone)
        if wanted:
            add(wanted)


class ResourceType(ABC):
    """A resource type. `create` makes the thing and gives its physical id, `finish` follows when that is on record.

    Properties are resolved, of the types that the schema asks for, and valid by it. What a service answers with an
    error is raised as the client raises it.
    """

    name: ClassVar[str]
    honours: ClassVar[frozenset[str]]
    """The paths (`BucketEncryption`, `LifecycleConfiguration.Rules`) of the properties that have an effect, each with
    all that is below it. A template with another one is refused."""
    attributes: ClassVar[frozenset[str]] = frozenset()
    """What Fn::GetAtt gives."""
    name_property: ClassVar[str | None] = None
    """The property by which a template gives the resource a name of its own."""
    tags_property: ClassVar[str] = "Tags"
    """The property that holds its tags, which those of the stack join if the type honours it."""
    replaced_by: ClassVar[frozenset[str]] = frozenset()
    """Properties of the first level whose change asks for a new resource, beyond what the schema says."""
    changing: ClassVar[frozenset[str]] = frozenset()
    """Those of `attributes` that may be another value after an update in place."""
    is_open: ClassVar[bool] = False
    """Whether it takes any property, and gives any attribute: what they are, only who makes the thing knows."""

    @abstractmethod
    def create(self, call: Call, properties: Properties) -> str:
        """Make the thing, with its tags; gives its physical id. If this raises, nothing was made."""

    def finish(self, call: Call, physical_id: str, properties: Properties) -> None:  # noqa: B027, most have no more to do
        """What follows the creation: settings with calls of their own, and waiting until it is ready."""

    @abstractmethod
    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> str | None:
        """Change it in place. `before` may be what an update that failed half-way had in mind. A physical id that is
        given, and another one, is that of a new thing, which takes the place of the old one."""

    @abstractmethod
    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        """Delete it. That it is gone already is no error, whoever tells so."""

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        """The value of each of `attributes`."""
        return {}


def pick(properties: Properties, *names: str) -> dict[str, Any]:
    """Those of the properties that are there, as parameters of a call."""
    return {name: properties[name] for name in names if name in properties}


def changed(before: Properties, after: Properties, *names: str) -> bool:
    """Whether any of these properties differs."""
    return any(before.get(name) != after.get(name) for name in names)


def tag_list(tags: Tags) -> list[dict[str, str]]:
    """Tags as most services take them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def document(value: Any) -> str:
    """A policy, or any JSON member that a template may write as an object or as text, as text."""
    return value if isinstance(value, str) else json.dumps(value)


def code_of(error: ClientError) -> str:
    """The code of a service's error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_missing(error: ClientError) -> bool:
    """Whether a service says that what it was asked for is not there."""
    code = code_of(error)
    return code == "404" or any(word in code for word in ("NotFound", "NoSuch", "NonExistent", "DoesNotExist"))


def exists(ask: Callable[[], Any]) -> bool:
    """Whether what is asked for is there."""
    try:
        ask()
    except ClientError as error:
        if is_missing(error):
            return False
        raise
    return True


def refuse_existing(type_name: str, identifier: str) -> None:
    """Raise: a stack does not take over what somebody else made."""
    raise ResourceFailed(f"Resource of type '{type_name}' with identifier '{identifier}' already exists.")
