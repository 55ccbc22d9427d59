"""What the roles of a project called in its loop: recorded by localcloud, and kept in golden/calls.txt.

    make rights      runs the demo and the tests of the loop, and writes the file anew by this module

A record says nothing of when and how often, and it is the same whatever the project was called and whatever ids
services chose: of calls that the same statements allow, one is kept. A line is role, action, resource and the
statements with conditions that applied, between tabs.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.pipelines.conftest import ROOT
from tests.pipelines.rights import LOOP, PROJECT, VARIANTS, Made, RoleOf, roles

FILE = ROOT / "tests" / "pipelines" / "golden" / "calls.txt"
_DENIED = ("AccessDenied", "AccessDeniedException")
_ROLE = re.compile(r"arn:aws:iam::\d{12}:role/(?P<name>[\w+=,.@-]+)")
# What a service calls things that nobody named, longest first: ids, digests, moments and what is random in a name.
_IDS = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "ID"),
    (re.compile(r"(?<=/execution/)[0-9a-z]+"), "ID"),
    (re.compile(r"(?<=pipelines-)[0-9a-z]{12}"), "ID"),
    (re.compile(r"(?<=project/p-)[0-9a-z]+|(?<=-p-)[0-9a-z]{12}"), "ID"),
    (re.compile(r"[0-9a-f]{12,}"), "ID"),
    (re.compile(r"\d{4}-\d{2}-\d{2}T[\d:]+Z|\d{8}T\d{6}Z(_\w+)?"), "MOMENT"),
    (re.compile(r"\d{4}/\d{2}/\d{2}|year=\d{4}/month=\d{2}/day=\d{2}(/hour=\d{2})?"), "DAY"),
    (re.compile(r"(?<=-)\d{10}(?=/)"), "ID"),
)  # fmt: skip
_ACCOUNT = re.compile(r"(?<![0-9])123456789012(?![0-9])")


def kept() -> list[Made]:
    """What FILE has."""
    found = []
    for line in FILE.read_text().splitlines():
        role, action, resource, held = line.split("\t")
        found.append(Made(role, action, resource, tuple(held.split())))
    return found


def write(calls: Iterable[Made]) -> None:
    """Write FILE."""
    lines = ["\t".join((one.role, one.action, one.resource, " ".join(one.held))) for one in calls]
    FILE.write_text("".join(f"{line}\n" for line in sorted(lines)))


def recorded(calls: Iterable[Mapping[str, Any]]) -> list[Made]:
    """What is kept of localcloud's record of calls: of projects of any name, in one account.

    Calls that were denied are not kept, nor those that a resource's own policy allowed and nothing else.
    """
    calls = list(calls)
    projects = _projects(calls)
    witnesses: dict[tuple[Any, ...], Made] = {}
    for call in calls:
        found = None if call["error"] in _DENIED else _role(call["principal"])
        if found is None:
            continue
        role, own = found
        made = _made(role, call, (own,) if own else projects)
        allowing = tuple(one.name for one in role.allowing(made)) if made is not None else ()
        if made is None or not allowing:
            continue
        key = (made.role, made.action, allowing)
        if key not in witnesses or _order(made) < _order(witnesses[key]):
            witnesses[key] = made
    return list(witnesses.values())


def _made(role: RoleOf, call: Mapping[str, Any], projects: Iterable[str]) -> Made | None:
    resource = _neutral(call["resource"], projects)
    conditional = {one.name for one in role.statements if one.conditions}
    applied = {_neutral(name, projects).removeprefix(f"{PROJECT}-") for name in call["statements"]}
    return Made(role.name, call["action"], resource, tuple(sorted(applied & conditional)))


def _order(call: Made) -> tuple[int, str]:
    return len(call.resource), call.resource


def _known() -> dict[str, RoleOf]:
    """Roles of every kind of project; of one that is in several, that of the loop."""
    found: dict[str, RoleOf] = {}
    for variant in (LOOP, *(one for one in VARIANTS if one != LOOP)):
        found = {**roles(variant), **found}
    return found


_KNOWN = _known()


def _role(principal: str) -> tuple[RoleOf, str] | None:
    """The role of a template that an ARN is of, and its project, which is empty where it belongs to none."""
    match = _ROLE.fullmatch(principal)
    if match is None:
        return None
    name = match["name"]
    if name in _KNOWN:
        return _KNOWN[name], ""
    for suffix in sorted(_KNOWN, key=len, reverse=True):
        if name.endswith(f"-{suffix}"):
            return _KNOWN[suffix], name.removesuffix(f"-{suffix}")
        if f"-{suffix}-" in name and name.startswith("mlops--"):  # CloudFormation has named it
            return _KNOWN[suffix], ""
    return None


def _projects(calls: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The projects that there were, the longest name first: by the roles that were made for them, and that called."""
    arns = {call["principal"] for call in calls}
    arns |= {call["resource"] for call in calls if call["action"] == "iam:CreateRole"}
    found = {project for arn in arns for role in [_role(arn)] if role is not None for project in [role[1]] if project}
    return tuple(sorted(found, key=lambda name: (-len(name), name)))


def _neutral(text: str, projects: Iterable[str]) -> str:
    """A resource, or the name of a statement, as it would be in the one project, with no id of a service's making."""
    for project in projects:
        text = re.sub(rf"(?<![\w.-]){re.escape(project)}(?![\w.])|(?<=/SP-){re.escape(project)}(?=-)", PROJECT, text)
    account = "\ue000"
    text = _ACCOUNT.sub(account, text)
    for pattern, instead in _IDS:
        text = pattern.sub(instead, text)
    return text.replace(account, "123456789012")


def _read(paths: Iterable[str]) -> Iterator[dict[str, Any]]:
    for path in paths:
        yield from json.loads(Path(path).read_text())


def main(paths: list[str]) -> int:
    """Write FILE of the records in files, as `localcloud calls --json` prints them."""
    # One by one: what is one project in a record is another in the next.
    found = [made for path in paths for made in recorded(_read([path]))]
    witnesses: dict[tuple[Any, ...], Made] = {}
    for made in sorted(found, key=_order):
        allowing = tuple(one.name for one in _KNOWN[made.role].allowing(made))
        witnesses.setdefault((made.role, made.action, allowing), made)
    write(witnesses.values())
    sys.stdout.write(f"{FILE.relative_to(ROOT)}: {len(witnesses)} kinds of calls of {len(paths)} records\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
