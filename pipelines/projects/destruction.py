"""Destroying a project, so that nothing of it is left: what its stacks made, and what outlives them.

Plan, then execute: `look` finds what there is and calls only what reads; `destroy` halts, deletes, and looks again.
It is safe at any time to run it again: what is gone is passed over, and what an interruption left is found by the
project's names, with or without its stacks.

    halt         schedules and rules off; CodePipeline, builds and executions stopped
    endpoints    first: they cost by the hour, and use what is deleted later
    stacks       the API's, the stream's, then the project's own (by SageMaker, where it knows the project)
    the rest     what stacks retain, and what the pipelines made
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from pipelines.errors import ProjectError, ServiceError
from pipelines.projects import following, halting, reading
from pipelines.projects.models import ENDPOINTS, KINDS_OF_MODELS
from pipelines.projects.reading import Stack
from pipelines.projects.storage import ARTIFACTS, KINDS_OF_STORAGE
from pipelines.projects.things import Account, Kind, Thing, is_absent

__all__ = ["Found", "Outcome", "Remaining", "destroy", "look"]

_LONGEST_SECONDS = 3600.0
_FAILED = "DeleteFailed"


@dataclass(frozen=True)
class Found:
    """What there is of a project.

    Attributes:
        status: of SageMaker's project; None where it knows none.
        stacks: with how many resources each has, the first to be deleted first.
        things: by kind, what is outside of the stacks, outlives them, or is worth knowing.
    """

    status: str | None
    stacks: tuple[tuple[Stack, int], ...]
    things: tuple[tuple[Kind, tuple[Thing, ...]], ...]

    @property
    def empty(self) -> bool:
        return self.status is None and not self.stacks and not any(things for _, things in self.things)

    def without_data(self) -> Found:
        """Less what `--keep-data` keeps."""
        kept = tuple((kind, things) for kind, things in self.things if not kind.data)
        return Found(self.status, self.stacks, kept)


@dataclass(frozen=True)
class Remaining:
    """Something that is still there, and why."""

    what: str
    reason: str


@dataclass(frozen=True)
class Outcome:
    """What was halted, how many things were removed, and what is still there."""

    halted: tuple[str, ...]
    removed: int
    remaining: tuple[Remaining, ...]


def look(account: Account) -> Found:
    """Everything that there is of a project."""
    record = reading.describe(account.session, account.names)
    known = record is not None and record.status != reading.NO_PROJECT
    kinds = (ENDPOINTS, *KINDS_OF_MODELS, *KINDS_OF_STORAGE)
    return Found(
        record.status if record is not None and known else None,
        tuple((stack, _size(account, stack)) for stack in _stacks(account)),
        tuple((kind, tuple(sorted(kind.find(account), key=lambda thing: thing.name))) for kind in kinds),
    )


def destroy(account: Account, *, keep_data: bool = False, tell: Callable[[str], None] = lambda _: None) -> Outcome:
    """Destroy a project; whatever cannot be removed is named with its reason, and everything else is removed.

    tell: called with what is under way.
    """
    found = look(account)
    reasons: dict[str, str] = {}
    _settle(account, tell)
    halted = halting.halt(account, [stack for stack, _ in found.stacks], tell)
    _remove_all(account, (ENDPOINTS,), reasons, tell)
    # CloudFormation deletes no bucket that holds anything.
    _remove_all(account, (ARTIFACTS,), reasons, tell)
    _delete_stacks(account, reasons, tell)
    rest = [kind for kind in (*KINDS_OF_MODELS, *KINDS_OF_STORAGE) if not (kind.data and keep_data)]
    _remove_all(account, rest, reasons, tell)
    tell("looking what is left")
    after = look(account)
    left = after.without_data() if keep_data else after
    return Outcome(tuple(halted), _count(found) - _count(after), tuple(_remaining(account, left, reasons)))


def _stacks(account: Account) -> list[Stack]:
    """A project's stacks in the order in which they are deleted: what uses another comes before it."""
    names = account.names
    main = reading.stacks_of(account.session, names)
    by_name = {stack.name: stack for stack in reading.stacks(account.session)}
    return [*(by_name[name] for name in (names.api_stack, names.ingestion_stack) if name in by_name), *main]


def _size(account: Account, stack: Stack) -> int:
    resources = account.pages("cloudformation", "list_stack_resources", "StackResourceSummaries", StackName=stack.id)
    return sum(1 for resource in resources if resource["ResourceStatus"] != "DELETE_COMPLETE")


def _settle(account: Account, tell: Callable[[str], None]) -> None:
    """Wait until nobody makes or changes the project: SageMaker deletes none that is being made."""
    deadline = time.monotonic() + _LONGEST_SECONDS
    while True:
        project = reading.describe(account.session, account.names)
        if project is None or not (project.status == "Pending" or project.status.endswith("InProgress")):
            return
        if time.monotonic() > deadline:
            raise ServiceError(
                f"the project `{account.names.project}` is {project.status} for an hour; try again later"
            )
        tell(f"waiting: the project is {project.status}")
        time.sleep(account.poll_seconds)


def _delete_stacks(account: Account, reasons: dict[str, str], tell: Callable[[str], None]) -> None:
    names = account.names
    for stack in _stacks(account):
        if stack.name in (names.api_stack, names.ingestion_stack):
            _delete_stack(account, stack, reasons, tell)
    project = reading.describe(account.session, names)
    if project is not None and project.status != reading.NO_PROJECT:
        tell(f"deleting the project {names.project}")
        _delete_project(account, reasons)
    # Those that SageMaker knows nothing of, or could not delete.
    for stack in _stacks(account):
        _delete_stack(account, stack, reasons, tell)


def _delete_project(account: Account, reasons: dict[str, str]) -> None:
    try:
        account.client("sagemaker").delete_project(ProjectName=account.names.project)
        *_, last = following.follow(account.session, account.names, account.poll_seconds)
        if last.status == _FAILED:
            reasons["project"] = "SageMaker could not delete it"
    except (ClientError, BotoCoreError, ProjectError) as error:
        reasons["project"] = str(error)


def _delete_stack(account: Account, stack: Stack, reasons: dict[str, str], tell: Callable[[str], None]) -> None:
    tell(f"deleting the stack {stack.name}")
    try:
        account.client("cloudformation").delete_stack(StackName=stack.name)
        following.stack_gone(account.session, stack.name, account.poll_seconds)
    except (ClientError, BotoCoreError, ProjectError) as error:
        reasons[f"stack {stack.name}"] = str(error)


def _remove_all(account: Account, kinds: Any, reasons: dict[str, str], tell: Callable[[str], None]) -> None:
    for kind in kinds:
        for thing in list(kind.find(account)):
            tell(f"removing the {thing.kind} {thing.name}")
            try:
                kind.remove(account, thing)
            except (ClientError, BotoCoreError, ProjectError, RuntimeError) as error:
                if not (isinstance(error, ClientError) and is_absent(error)):
                    reasons[f"{thing.kind} {thing.name}"] = str(error)


def _remaining(account: Account, found: Found, reasons: dict[str, str]) -> Iterator[Remaining]:
    unknown = "it has been made again, or something uses it; run this again"
    if found.status is not None:
        yield Remaining(f"project {account.names.project} ({found.status})", reasons.get("project", unknown))
    for stack, _ in found.stacks:
        yield Remaining(f"stack {stack.name} ({stack.status})", reasons.get(f"stack {stack.name}", unknown))
    for _, things in found.things:
        for thing in things:
            what = f"{thing.kind} {thing.name}"
            yield Remaining(what, reasons.get(what, unknown))


def _count(found: Found) -> int:
    in_stacks = sum(1 + size for _, size in found.stacks)
    return (found.status is not None) + in_stacks + sum(len(things) for _, things in found.things)
