"""Stacks, resources and templates as the operations show them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from localcloud.cloudformation.errors import invalid
from localcloud.cloudformation.plan import Change, State, Target, shown
from localcloud.cloudformation.schemas import text_of
from localcloud.cloudformation.template import ACKNOWLEDGED, Template
from localcloud.store import Document

_PAGE = 100
_HIDDEN = "****"


def stack(document: Document, template: Template | None) -> Document:
    """As DescribeStacks shows it."""
    on_failure = document.get("OnFailure", "ROLLBACK")
    return {
        **_pick(
            document,
            "StackId", "StackName", "ChangeSetId", "Description", "CreationTime", "LastUpdatedTime", "DeletionTime",
            "StackStatus", "StackStatusReason", "RoleARN", "RetainExceptOnCreate",
        ),
        "Parameters": stack_parameters(document, template),
        "Tags": document.get("Tags") or [],
        "Capabilities": document.get("Capabilities") or [],
        "Outputs": document.get("Outputs") or [],
        "NotificationARNs": [],
        "RollbackConfiguration": {},
        "DisableRollback": on_failure == "DO_NOTHING",
        "EnableTerminationProtection": bool(document.get("EnableTerminationProtection")),
        "DriftInformation": {"StackDriftStatus": "NOT_CHECKED"},
    }  # fmt: skip


def stack_parameters(document: Document, template: Template | None) -> list[Document]:
    """The values of a stack's parameters, those hidden that ask for it."""
    declarations = template.parameters if template else {}
    found = []
    for name, value in (document.get("Parameters") or {}).items():
        if str(declarations.get(name, {}).get("NoEcho", "")).lower() == "true":
            found.append({"ParameterKey": name, "ParameterValue": _HIDDEN})
            continue
        resolved = (document.get("Resolved") or {}).get(name)
        found.append({"ParameterKey": name, "ParameterValue": value, "ResolvedValue": resolved})
    return found


def summary(document: Document) -> Document:
    """As ListStacks shows it."""
    return {
        **_pick(
            document,
            "StackId", "StackName", "CreationTime", "LastUpdatedTime", "DeletionTime", "StackStatus",
            "StackStatusReason",
        ),
        "TemplateDescription": document.get("Description"),
        "DriftInformation": {"StackDriftStatus": "NOT_CHECKED"},
    }  # fmt: skip


def resource(owner: Document, record: Document, *, time: str, drift: bool = True, named: bool = True) -> Document:
    """A resource of a stack; `time` is what the shape calls its timestamp."""
    return {
        **_pick(
            record, "LogicalResourceId", "PhysicalResourceId", "ResourceType", "ResourceStatus", "ResourceStatusReason"
        ),
        time: record["LastUpdatedTimestamp"],
        **({"StackName": owner["StackName"], "StackId": owner["StackId"]} if named else {}),
        **({"DriftInformation": {"StackResourceDriftStatus": "NOT_CHECKED"}} if drift else {}),
    }


def declarations(template: Template, *, whole: bool) -> list[Document]:
    """The parameters that a template declares: as GetTemplateSummary shows them (`whole`), or ValidateTemplate."""
    found = []
    for name, declaration in template.parameters.items():
        default = declaration.get("Default")
        shown_one: Document = {
            "ParameterKey": name,
            "DefaultValue": None if default is None else text_of(default),
            "NoEcho": str(declaration.get("NoEcho", "")).lower() == "true",
            "Description": declaration.get("Description"),
        }
        if whole:
            allowed = declaration.get("AllowedValues")
            shown_one["ParameterType"] = declaration["Type"]
            shown_one["ParameterConstraints"] = {
                "AllowedValues": [text_of(value) for value in allowed] if allowed is not None else None
            }
        found.append(shown_one)
    return found


def capabilities(template: Template) -> Document:
    """What a caller must acknowledge, and for which resources."""
    needed = template.capabilities
    if not needed:
        return {}
    types = sorted({one.type_name for one in template.resources.values() if one.type_name in ACKNOWLEDGED})
    return {
        "Capabilities": needed,
        "CapabilitiesReason": f"The following resource(s) require capabilities: [{', '.join(types)}]",
    }


def change(one: Change, *, values: bool) -> Document:
    """A change as DescribeChangeSet shows it; `values` with those of its properties, before and after."""
    scope = sorted({target.attribute for target in one.targets})
    contexts = {"BeforeContext": _context(one.before), "AfterContext": _context(one.after)} if values else {}
    return {
        "Type": "Resource",
        "ResourceChange": {
            "Action": one.action,
            "LogicalResourceId": one.logical_id,
            "PhysicalResourceId": one.physical_id,
            "ResourceType": one.type_name,
            "Replacement": one.replacement if one.action == "Modify" else None,
            "PolicyAction": _policy_action(one),
            "Scope": scope,
            "Details": [_detail(one, target, values) for target in one.targets],
            **contexts,
        },
    }


def page(
    items: Sequence[Any], params: Mapping[str, Any], key: Callable[[Any], str], size: int = _PAGE
) -> tuple[list[Any], str | None]:
    """One page of a list, and the token of the next. The token names the last item that was given."""
    start = 0
    if token := params.get("NextToken"):
        places = [index for index, item in enumerate(items) if key(item) == token]
        if not places:
            raise invalid(f"NextToken {token!r} is none of this list's")
        start = places[0] + 1
    found = list(items[start : start + size])
    return found, key(found[-1]) if start + size < len(items) else None


def _detail(one: Change, target: Target, values: bool) -> Document:
    found: Document = {"Attribute": target.attribute, "RequiresRecreation": target.recreation}
    if target.attribute == "Properties":
        found["Name"] = target.name
        if values and target.name and one.before and one.after:
            before, after = (state.properties.get(target.name) for state in (one.before, one.after))
            found |= {
                "Path": f"/Properties/{target.name}",
                "BeforeValue": None if before is None else shown(before),
                "AfterValue": None if after is None else shown(after),
                "AttributeChangeType": "Add" if before is None else "Remove" if after is None else "Modify",
            }
    return {
        "Target": found,
        "Evaluation": "Static" if target.is_known else "Dynamic",
        "ChangeSource": target.source,
        "CausingEntity": target.cause,
    }


def _policy_action(one: Change) -> str | None:
    if one.action == "Remove" and one.before:
        return "Delete" if one.before.deletion_policy == "Delete" else "Retain"
    if one.action == "Modify" and one.replacement != "False" and one.after:
        return f"ReplaceAnd{one.after.update_replace_policy}"
    return None


def _context(state: State | None) -> str | None:
    if state is None:
        return None
    return json.dumps({"Properties": state.properties}, default=repr)


def _pick(document: Document, *names: str) -> Document:
    return {name: document.get(name) for name in names}
