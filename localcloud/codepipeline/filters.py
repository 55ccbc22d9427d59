"""The triggers of pipelines of type V2: which pushes to a connected repository start one.

Push filters of a trigger are alternatives; within one, branches and file paths must both fit, and what is excluded
does not count although it is included. A source action without a trigger is started by each push to its own branch,
unless its DetectChanges says otherwise.

Source: "Automate starting pipelines using triggers and filtering", "Trigger filtering in the pipeline JSON (CLI)",
"Working with glob patterns in syntax" (AWS CodePipeline User Guide).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from localcloud.codecommit.repositories import Push
from localcloud.codepipeline import actiontypes
from localcloud.codepipeline.declaration import Action, Pipeline
from localcloud.errors import validation


def check(pipeline: Pipeline) -> None:
    """Raise ValidationException for triggers that cannot be, or that localcloud does not honour."""
    connected = {action.name for action in pipeline.actions if action.provider == actiontypes.CONNECTION}
    seen: set[str] = set()
    for trigger in pipeline.triggers:
        git = trigger["gitConfiguration"]
        name = git["sourceActionName"]
        if name not in connected:
            raise validation(
                f"The trigger's sourceActionName '{name}' is no source action with the provider"
                f" {actiontypes.CONNECTION}; there are {', '.join(sorted(connected)) or 'none'}"
            )
        if name in seen:
            raise validation(f"The source action '{name}' has more than one trigger; it may have one")
        seen.add(name)
        if git.get("pullRequest"):
            raise validation(f"localcloud has no pull requests; the trigger of '{name}' has a pullRequest filter")
        for push in git.get("push") or ():
            _check_push(name, push)


def _check_push(name: str, push: Mapping[str, Any]) -> None:
    given = {member for member in ("branches", "filePaths", "tags") if push.get(member)}
    if given not in ({"tags"}, {"branches"}, {"branches", "filePaths"}):
        raise validation(
            f"A push filter of the trigger of '{name}' has {', '.join(sorted(given)) or 'nothing'}; it may have tags,"
            " branches, or branches and filePaths"
        )
    for member in sorted(given):
        if not (push[member].get("includes") or push[member].get("excludes")):
            raise validation(f"{member} of the trigger of '{name}' need includes, excludes or both")


def started_by(pipeline: Pipeline, push: Push) -> Action | None:
    """The source action for which a push starts the pipeline, or None."""
    triggers = {trigger["gitConfiguration"]["sourceActionName"]: trigger for trigger in pipeline.triggers}
    for action in pipeline.stages[0].actions:
        if action.provider != actiontypes.CONNECTION or action.configuration["FullRepositoryId"] != push.repository:
            continue
        trigger = triggers.get(action.name)
        if _starts(action, trigger["gitConfiguration"] if trigger is not None else None, push):
            return action
    return None


def _starts(action: Action, git: Mapping[str, Any] | None, push: Push) -> bool:
    if git is not None and git.get("push"):
        return any(_fits(one, push) for one in git["push"])
    detects = git is not None or action.configuration.get("DetectChanges", "true") == "true"
    return detects and push.branch == action.configuration["BranchName"]


def _fits(given: Mapping[str, Any], push: Push) -> bool:
    if given.get("tags"):
        return push.tag is not None and _chosen(given["tags"], [push.tag])
    if push.branch is None or not _chosen(given["branches"], [push.branch]):
        return False
    return not given.get("filePaths") or _chosen(given["filePaths"], push.changed)


def _chosen(criteria: Mapping[str, Sequence[str]], names: Iterable[str]) -> bool:
    """Whether one of the names is included, and not excluded."""
    includes, excludes = criteria.get("includes") or ["**"], criteria.get("excludes") or []
    return any(
        any(matches(pattern, name) for pattern in includes) and not any(matches(pattern, name) for pattern in excludes)
        for name in names
    )


def matches(pattern: str, name: str) -> bool:
    """Whether a name fits a glob: `*` and `?` stay within a folder, `**` does not; `[a-c]`, `[!a]`, `{a,b}`, `\\`."""
    return _compiled(pattern).fullmatch(name) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(_expression(pattern), re.DOTALL)
    except re.error:
        # A glob that is none, as `[z-a]`, fits its own text only.
        return re.compile(re.escape(pattern))


_TOKEN = re.compile(r"\\(.)|(\*\*)|(\*)|(\?)|\[(!?)([^]]+)]|([{,}])|(.)", re.DOTALL)


def _expression(pattern: str) -> str:
    """The regular expression of a glob."""
    parts, grouped = [], False
    for found in _TOKEN.finditer(pattern):
        escaped, across, within, one, negated, members, group, plain = found.groups()
        if members is not None:
            content = members.replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^")
            parts.append(f"(?!/)[{'^' if negated else ''}{content}]")
        elif across:
            parts.append(".*")
        elif within:
            parts.append("[^/]*")
        elif one:
            parts.append("[^/]")
        elif group == "{" and not grouped and "}" in pattern[found.end() :]:
            grouped = True
            parts.append("(?:")
        elif group == "}" and grouped:
            grouped = False
            parts.append(")")
        elif group == "," and grouped:
            parts.append("|")
        else:
            parts.append(re.escape(escaped or group or plain))
    return "".join(parts)
