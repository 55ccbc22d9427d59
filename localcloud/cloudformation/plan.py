"""What a template, with its parameters, would change in a stack. Nothing is called and nothing changed in here.

The value of a resource that is not there yet is unknown; so is what depends on it. Those changes are dynamic: whether
they come to anything shows when the change is carried out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from localcloud.cloudformation import schemas
from localcloud.cloudformation import template as templates
from localcloud.cloudformation.errors import ResourceFailed, TemplateError
from localcloud.cloudformation.resources import kind_of, not_honoured
from localcloud.cloudformation.template import Resource, Template
from localcloud.cloudformation.values import UNKNOWN, Resolver, is_known
from localcloud.store import Document

MakeResolver = Callable[[Callable[[str, str | None], Any]], Resolver]
"""Makes the resolver of the new template, given what resources there are."""


@dataclass(frozen=True)
class State:
    """What a resource is, or is to be: its own properties, its tags with the stack's, and the rest."""

    properties: Mapping[str, Any]
    tags: Mapping[str, str]
    metadata: Any = None
    deletion_policy: str = "Delete"
    update_replace_policy: str = "Delete"

    @staticmethod
    def of(record: Document) -> State:
        """The state on record."""
        return State(
            record["Properties"],
            record["Tags"],
            record.get("Metadata"),
            record["DeletionPolicy"],
            record["UpdateReplacePolicy"],
        )


@dataclass(frozen=True)
class Target:
    """One property, or one other part of a resource, that changes."""

    attribute: str
    """`Properties`, `Tags`, `Metadata`, `DeletionPolicy` or `UpdateReplacePolicy`."""
    name: str | None
    recreation: str
    """`Never`, `Always`, or `Conditionally` while the new value is unknown."""
    is_known: bool
    source: str | None
    cause: str | None


@dataclass(frozen=True)
class Change:
    """What becomes of one resource."""

    action: str
    """`Add`, `Modify` or `Remove`."""
    logical_id: str
    physical_id: str | None
    type_name: str
    targets: tuple[Target, ...] = ()
    before: State | None = None
    after: State | None = None

    @property
    def replacement(self) -> str:
        """`True`, `False` or `Conditional`."""
        recreations = {target.recreation for target in self.targets}
        return "True" if "Always" in recreations else "Conditional" if "Conditionally" in recreations else "False"


def wanted(declared: Resource, resolver: Resolver, stack_tags: Mapping[str, str], region: str) -> State:
    """What a resource is to be. Raises TemplateError."""
    properties = schemas.schema(declared.type_name, region).coerce(resolver.value(dict(declared.properties)))
    return State(
        properties,
        _tags(declared.type_name, properties, stack_tags),
        resolver.value(declared.metadata),
        declared.deletion_policy,
        declared.update_replace_policy,
    )


def check(declared: Resource, state: State, region: str) -> None:
    """Raise ResourceFailed unless the resolved properties are ones that the type has."""
    if violations := schemas.schema(declared.type_name, region).violations(state.properties):
        if len(violations) > 1:
            violations = [f"#: {len(violations)} schema violations found", *violations]
        said = "\n".join(violations)
        raise ResourceFailed(f"Properties validation failed for resource {declared.logical_id} with message:\n{said}")
    if ignored := not_honoured(declared.type_name, state.properties):
        raise ResourceFailed(templates.not_honoured_error(declared.logical_id, declared.type_name, ignored).message)


def active(template: Template, resolver: Resolver) -> dict[str, Resource]:
    """The resources whose conditions hold, each after those that it needs. Raises TemplateError for a cycle."""
    there = {name: one for name, one in template.resources.items() if resolver.condition(one.condition)}
    return {
        name: there[name]
        for name in templates.order({name: needs(one, resolver, there) for name, one in there.items()})
    }


def needs(declared: Resource, resolver: Resolver, there: Mapping[str, Any]) -> list[str]:
    """The resources that must be there before this one. What is conditional, and not there, is not waited for."""
    named = {*declared.depends_on, *resolver.needed(dict(declared.properties))}
    if declared.logical_id in named:
        raise TemplateError(f"Circular dependency between resources: [{declared.logical_id}]")
    return sorted(named & there.keys())


def differences(type_name: str, before: State, after: State, region: str) -> dict[str, str]:
    """The properties of the first level that differ, with whether their change asks for a new resource."""
    kind, schema = kind_of(type_name), schemas.schema(type_name, region)
    replaced = {path.partition(".")[0] for path in schema.replaced(before.properties, after.properties)}
    found = {}
    for name in sorted({*before.properties, *after.properties}):
        old, new = before.properties.get(name), after.properties.get(name)
        if old == new:
            continue
        recreates = name in replaced or name in kind.replaced_by
        found[name] = "Never" if not recreates else "Always" if is_known(new) else "Conditionally"
    return found


def changes(
    template: Template,
    make_resolver: MakeResolver,
    records: Mapping[str, Document],
    stack_tags: Mapping[str, str],
    region: str,
    old: Template | None = None,
    changed_parameters: frozenset[str] = frozenset(),
) -> list[Change]:
    """All changes, in the order in which they would be made; what goes comes last. Raises TemplateError for a template
    that cannot be evaluated.

    `records` are the resources that the stack has, `old` is its template: it tells what a difference comes from.
    """
    done: dict[str, Change | None] = {}

    def value(name: str, attribute: str | None) -> Any:
        change, record = done.get(name), records.get(name)
        if record is None or (change is not None and change.replacement != "False"):
            return UNKNOWN
        kind = kind_of(record["ResourceType"])
        if change is not None and (kind.is_open or attribute in kind.changing):
            return UNKNOWN
        if attribute is None:
            return record["PhysicalResourceId"]
        return record["Attributes"].get(attribute, UNKNOWN)

    resolver = make_resolver(value)
    order = active(template, resolver)
    for name, declared in order.items():
        after = wanted(declared, resolver, stack_tags, region)
        record = records.get(name)
        if record is None:
            done[name] = Change("Add", name, None, declared.type_name, after=after)
            continue
        before = State.of(record)
        targets = _targets(declared, before, after, region, _Causes(old, declared, changed_parameters, done))
        done[name] = (
            Change("Modify", name, record["PhysicalResourceId"], declared.type_name, targets, before, after)
            if targets
            else None
        )
    for output in template.outputs.values():
        if resolver.condition(output.condition):
            resolver.value([output.value, output.export])
    removed = [
        Change("Remove", name, record["PhysicalResourceId"], record["ResourceType"], before=State.of(record))
        for name, record in reversed(list(records.items()))
        if name not in order
    ]
    return [*(change for change in done.values() if change is not None), *removed]


@dataclass(frozen=True)
class _Causes:
    """Where a property's difference comes from."""

    old: Template | None
    declared: Resource
    parameters: frozenset[str]
    done: Mapping[str, Change | None]

    def of(self, name: str) -> tuple[str | None, str | None]:
        """ChangeSource and CausingEntity."""
        expression = self.declared.properties.get(name)
        old = self.old.resources.get(self.declared.logical_id) if self.old else None
        if old is None or old.properties.get(name) != expression:
            return "DirectModification", None
        for kind, target, attribute in templates.references(expression):
            if kind == "Ref" and target in self.parameters:
                return "ParameterReference", target
            if self.done.get(target) is not None:
                return (
                    ("ResourceReference", target) if kind == "Ref" else ("ResourceAttribute", f"{target}.{attribute}")
                )
        return "DirectModification", None


def _targets(declared: Resource, before: State, after: State, region: str, causes: _Causes) -> tuple[Target, ...]:
    tags = kind_of(declared.type_name).tags_property
    found = [
        Target(
            "Tags" if name == tags else "Properties",
            name,
            recreation,
            is_known(after.properties.get(name)),
            *causes.of(name),
        )
        for name, recreation in differences(declared.type_name, before, after, region).items()
    ]
    if before.tags != after.tags and not any(target.name == tags for target in found):
        found.append(Target("Tags", tags, "Never", True, "DirectModification", None))
    rest = (
        ("Metadata", before.metadata, after.metadata),
        ("DeletionPolicy", before.deletion_policy, after.deletion_policy),
        ("UpdateReplacePolicy", before.update_replace_policy, after.update_replace_policy),
    )
    for attribute, old, new in rest:
        if old != new:
            found.append(Target(attribute, None, "Never", is_known(new), "DirectModification", None))
    return tuple(found)


def _tags(type_name: str, properties: Mapping[str, Any], stack_tags: Mapping[str, str]) -> dict[str, str]:
    kind = kind_of(type_name)
    if kind.tags_property not in kind.honours:
        return {}
    own = properties.get(kind.tags_property) or {}
    if isinstance(own, list):
        own = {tag["Key"]: tag["Value"] for tag in own if isinstance(tag, Mapping) and tag.keys() >= {"Key", "Value"}}
    return {**stack_tags, **own}


def shown(value: Any) -> str:
    """A value as text, with what is not known yet as CloudFormation writes it."""
    return value if isinstance(value, str) else json.dumps(value, default=repr)
