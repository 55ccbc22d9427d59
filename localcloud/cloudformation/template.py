"""A template whose sections are well-formed and whose references hold. What they refer to has no value yet."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from typing import Any

from localcloud.cloudformation import parameters, resources, rules, schemas, syntax
from localcloud.cloudformation.errors import TemplateError, invalid
from localcloud.errors import ServiceError

PSEUDO = frozenset(
    {
        "AWS::AccountId", "AWS::NotificationARNs", "AWS::NoValue", "AWS::Partition", "AWS::Region", "AWS::StackId",
        "AWS::StackName", "AWS::URLSuffix",
    }
)  # fmt: skip
_SECTIONS = frozenset(
    {
        "AWSTemplateFormatVersion", "Description", "Metadata", "Parameters", "Mappings", "Conditions", "Resources",
        "Outputs", "Rules", "Transform", "Hooks",
    }
)  # fmt: skip
_ATTRIBUTES = frozenset(
    {
        "Type", "Properties", "DependsOn", "Condition", "DeletionPolicy", "UpdateReplacePolicy", "Metadata",
        "CreationPolicy", "UpdatePolicy",
    }
)  # fmt: skip
_FUNCTIONS = frozenset(
    {
        "Fn::And", "Fn::Base64", "Fn::Equals", "Fn::FindInMap", "Fn::GetAtt", "Fn::If", "Fn::ImportValue", "Fn::Join",
        "Fn::Not", "Fn::Or", "Fn::Select", "Fn::Split", "Fn::Sub",
    }
)  # fmt: skip
_LOGIC = frozenset({"Fn::And", "Fn::Equals", "Fn::Not", "Fn::Or", "Condition"})
_IN_CONDITIONS = frozenset({*_LOGIC, "Fn::FindInMap", "Fn::If", "Fn::Join", "Fn::Select", "Fn::Split", "Fn::Sub"})
_LANGUAGE_EXTENSIONS = frozenset({"Fn::Length", "Fn::ToJsonString"})
_POLICIES = ("Delete", "Retain")
_NAME = re.compile(r"[A-Za-z0-9]+")
ACKNOWLEDGED: Mapping[str, frozenset[str]] = {
    "AWS::IAM::AccessKey": frozenset(),
    "AWS::IAM::Group": frozenset({"GroupName"}),
    "AWS::IAM::InstanceProfile": frozenset({"InstanceProfileName"}),
    "AWS::IAM::ManagedPolicy": frozenset({"ManagedPolicyName"}),
    # A policy's name is its own within its role: it needs no more than the plain capability.
    "AWS::IAM::Policy": frozenset(),
    "AWS::IAM::Role": frozenset({"RoleName"}),
    "AWS::IAM::RolePolicy": frozenset(),
    "AWS::IAM::User": frozenset({"UserName"}),
    "AWS::IAM::UserToGroupAddition": frozenset(),
}
"""The types that ask for CAPABILITY_IAM, and the properties that make it CAPABILITY_NAMED_IAM ("Acknowledging IAM
resources in CloudFormation templates" in the User Guide)."""
PLACEHOLDER = re.compile(r"\$\{([^!}][^}]*)\}")
"""In an Fn::Sub; `${!Literal}` is none."""


@dataclass(frozen=True)
class Resource:
    """A resource as the template declares it."""

    logical_id: str
    type_name: str
    properties: Mapping[str, Any]
    depends_on: tuple[str, ...]
    condition: str | None
    deletion_policy: str
    update_replace_policy: str
    metadata: Any


@dataclass(frozen=True)
class Output:
    """An output as the template declares it."""

    name: str
    value: Any
    description: str | None
    export: Any
    condition: str | None


@dataclass(frozen=True)
class Template:
    """A template, and the text it was read from."""

    text: str
    description: str | None
    metadata: Any
    parameters: Mapping[str, Mapping[str, Any]]
    mappings: Mapping[str, Mapping[str, Mapping[str, Any]]]
    rules: Mapping[str, Mapping[str, Any]]
    conditions: Mapping[str, Any]
    resources: Mapping[str, Resource]
    outputs: Mapping[str, Output]

    @property
    def capabilities(self) -> list[str]:
        """What a caller must acknowledge: roles and policies, and whether any has a name of its own."""
        iam = [resource for resource in self.resources.values() if resource.type_name in ACKNOWLEDGED]
        if not iam:
            return []
        named = any(ACKNOWLEDGED[resource.type_name] & resource.properties.keys() for resource in iam)
        return ["CAPABILITY_NAMED_IAM" if named else "CAPABILITY_IAM"]


@lru_cache(maxsize=16)
def read(text: str, region: str) -> Template:
    """The template of a text. Raises TemplateError for one that CloudFormation would not accept, and ValidationError
    with the name of what localcloud does not have."""
    document = syntax.parse(text)
    _check_sections(document)
    description = document.get("Description")
    if description is not None and not isinstance(description, str):
        raise TemplateError("Template format error: every Description member must be a string.")
    template = Template(
        text=text,
        description=description,
        metadata=document.get("Metadata"),
        parameters=_section(document, "Parameters"),
        mappings=_mappings(_section(document, "Mappings")),
        rules=_section(document, "Rules"),
        conditions=_section(document, "Conditions"),
        resources={name: _resource(name, node) for name, node in _section(document, "Resources").items()},
        outputs={name: _output(name, node) for name, node in _section(document, "Outputs").items()},
    )
    _check_types(template, region)
    parameters.check_declarations(template.parameters)
    rules.check_declarations(template.rules, template.parameters)
    _Checks(template, region).run()
    return template


def references(node: Any) -> Iterator[tuple[str, str, str | None]]:
    """What an expression refers to: (`Ref`, name, None), (`Fn::GetAtt`, resource, attribute) or (`Condition`, name,
    None). The placeholders of Fn::Sub are told as what they stand for."""
    if isinstance(node, list):
        for item in node:
            yield from references(item)
    if not isinstance(node, dict):
        return
    name = function_of(node)
    if name == "Ref":
        yield "Ref", node["Ref"], None
    elif name == "Condition":
        yield "Condition", node["Condition"], None
    elif name == "Fn::GetAtt":
        resource, attribute = attribute_of(node[name])
        yield "Fn::GetAtt", resource, attribute
    elif name == "Fn::Sub":
        text, own = substitution(node[name])
        for placeholder in placeholders(text):
            if placeholder in own:
                continue
            resource, dot, attribute = placeholder.partition(".")
            yield ("Fn::GetAtt", resource, attribute) if dot else ("Ref", resource, None)
        yield from references(list(own.values()))
    else:
        if name == "Fn::If" and isinstance(node[name], list) and node[name] and isinstance(node[name][0], str):
            yield "Condition", node[name][0], None
        for item in node.values():
            yield from references(item)


def function_of(node: Any) -> str | None:
    """The function that a node calls, or None for a plain value."""
    if not isinstance(node, dict) or len(node) != 1:
        return None
    name = str(next(iter(node)))
    # A policy document has a member named Condition, too; only that of a template is a condition's name.
    if name == "Condition":
        return name if isinstance(node[name], str) else None
    return name if name == "Ref" or name.startswith("Fn::") else None


def attribute_of(argument: Any) -> tuple[str, str]:
    """The resource and the attribute of an Fn::GetAtt. Raises TemplateError."""
    if isinstance(argument, str):
        argument = argument.split(".", 1)
    if not isinstance(argument, list) or len(argument) != 2 or not all(isinstance(part, str) for part in argument):
        raise TemplateError(
            "Template error: every Fn::GetAtt object requires two non-empty parameters, the resource name and the"
            " resource attribute"
        )
    return argument[0], argument[1]


def substitution(argument: Any) -> tuple[str, Mapping[str, Any]]:
    """The text and the own variables of an Fn::Sub. Raises TemplateError."""
    if isinstance(argument, str):
        return argument, {}
    if (
        isinstance(argument, list)
        and len(argument) == 2
        and isinstance(argument[0], str)
        and isinstance(argument[1], dict)
    ):
        return argument[0], argument[1]
    raise TemplateError(
        "Template error: One or more Fn::Sub intrinsic functions don't specify expected arguments. Specify a string as"
        " first argument, and an optional second argument to specify a mapping of values to replace in the string"
    )


def placeholders(text: str) -> list[str]:
    """The names in a text of Fn::Sub."""
    return [found.strip() for found in PLACEHOLDER.findall(text)]


def _check_sections(document: Mapping[str, Any]) -> None:
    if unknown := sorted(map(str, document.keys() - _SECTIONS)):
        raise TemplateError(f"Invalid template property or properties [{', '.join(unknown)}]")
    for section in ("Transform", "Hooks"):
        if document.get(section):
            raise invalid(f"localcloud has no {section} in a template; got {document[section]!r}"[:500])
    version = document.get("AWSTemplateFormatVersion", "2010-09-09")
    if version != "2010-09-09":
        raise TemplateError(f"Template format error: {version} is not a supported value for AWSTemplateFormatVersion.")
    if not _section(document, "Resources"):
        raise TemplateError("Template format error: At least one Resources member must be defined.")


def _section(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = document.get(name)
    if section is None:
        return {}
    if not isinstance(section, dict):
        raise TemplateError(f"Template format error: [/{name}] 'null' values or non-objects are not allowed")
    for key, value in section.items():
        if not _NAME.fullmatch(key) and name != "Metadata":
            raise TemplateError(f"Template format error: {name} name '{key}' is non alphanumeric.")
        if not isinstance(value, dict):
            raise TemplateError(f"Template format error: [/{name}/{key}] Every {name} member must be an object.")
    return section


def _mappings(section: Mapping[str, Any]) -> Mapping[str, Any]:
    for name, top in section.items():
        for key, second in top.items():
            if not isinstance(second, dict):
                raise TemplateError(
                    f"Template format error: [/Mappings/{name}/{key}] Every Mappings attribute must be an object."
                )
            if any(isinstance(value, dict) for value in second.values()):
                raise TemplateError(
                    f"Template format error: [/Mappings/{name}/{key}] Every Mappings value must be a string or a list."
                )
    return section


def _resource(name: str, node: Mapping[str, Any]) -> Resource:
    if unknown := sorted(map(str, node.keys() - _ATTRIBUTES)):
        raise TemplateError(f"Invalid template resource property '{unknown[0]}'")
    for attribute in ("CreationPolicy", "UpdatePolicy"):
        if attribute in node:
            raise invalid(f"localcloud has no {attribute}; the resource {name} has one")
    type_name = node.get("Type")
    if not isinstance(type_name, str) or not type_name:
        raise TemplateError(
            f"Template format error: [/Resources/{name}] Every Resources object must contain a Type member."
        )
    properties = node.get("Properties")
    if properties is not None and not isinstance(properties, dict):
        raise TemplateError(f"Template format error: [/Resources/{name}/Properties] Properties must be an object.")
    depends_on = node.get("DependsOn") or []
    depends_on = [depends_on] if isinstance(depends_on, str) else depends_on
    if not isinstance(depends_on, list) or not all(isinstance(one, str) for one in depends_on):
        raise TemplateError("Template format error: DependsOn must be a string or list of strings.")
    condition = node.get("Condition")
    if condition is not None and not isinstance(condition, str):
        raise TemplateError(f"Template format error: [/Resources/{name}] Every Condition member must be a string.")
    return Resource(
        logical_id=name,
        type_name=type_name,
        properties=properties or {},
        depends_on=tuple(depends_on),
        condition=condition,
        deletion_policy=_policy(name, node, "DeletionPolicy", (*_POLICIES, "RetainExceptOnCreate")),
        update_replace_policy=_policy(name, node, "UpdateReplacePolicy", _POLICIES),
        metadata=node.get("Metadata"),
    )


def _policy(name: str, node: Mapping[str, Any], attribute: str, allowed: Collection[str]) -> str:
    value = node.get(attribute, "Delete")
    if value == "Snapshot":
        raise TemplateError(f"{attribute} Snapshot is not supported for {node.get('Type')}; the resource {name} has it")
    if value not in allowed:
        raise TemplateError(
            f"Template error: Unrecognized {attribute} {value!r} for resource {name}; expected {', '.join(allowed)}"
        )
    return str(value)


def _output(name: str, node: Mapping[str, Any]) -> Output:
    if unknown := sorted(map(str, node.keys() - {"Value", "Description", "Export", "Condition"})):
        raise TemplateError(f"Template format error: Output {name} has the unknown member '{unknown[0]}'")
    if node.get("Value") is None:
        raise TemplateError(f"Template format error: Output {name} is malformed. Its Value is missing or null.")
    export = node.get("Export")
    if export is not None and (not isinstance(export, dict) or export.keys() != {"Name"}):
        raise TemplateError(f"Template format error: Output {name} is malformed. An Export has a Name.")
    description = node.get("Description")
    return Output(name, node["Value"], description, export["Name"] if export else None, node.get("Condition"))


def _check_types(template: Template, region: str) -> None:
    used = {resource.type_name for resource in template.resources.values()}
    known = schemas.known_types(region)
    if unknown := sorted(name for name in used if not resources.is_known(name) and name not in known):
        raise TemplateError(f"Template format error: Unrecognized resource types: [{', '.join(unknown)}]")
    if missing := sorted(name for name in used if not resources.is_known(name)):
        raise invalid(
            f"localcloud has no resource types [{', '.join(missing)}]; it has {', '.join(sorted(resources.TYPES))}"
        )


class _Checks:
    """What can be said of a template's references before anything has a value."""

    def __init__(self, template: Template, region: str) -> None:
        self._template, self._region = template, region

    def run(self) -> None:
        for name, expression in self._template.conditions.items():
            self._functions(expression, "Conditions")
            if function_of(expression) not in _LOGIC:
                raise TemplateError(
                    f"Template format error: Conditions can only be boolean operations on parameters and other"
                    f" conditions; {name} is none"
                )
        self._condition_cycle()
        for resource in self._template.resources.values():
            self._functions(resource.properties, "Resources")
            self._names(resource.depends_on, "Resources")
            self._condition(resource.condition, "Resources")
            self._honoured(resource)
        for output in self._template.outputs.values():
            self._functions([output.value, output.export], "Outputs")
            self._condition(output.condition, "Outputs")

    def _functions(self, node: Any, section: str) -> None:
        self._known_functions(node, section)
        for kind, name, attribute in references(node):
            if kind == "Condition":
                self._condition(name, section)
            elif kind == "Ref":
                self._ref(name, section)
            else:
                self._attribute(name, attribute or "", section)

    def _known_functions(self, node: Any, section: str) -> None:
        if isinstance(node, list):
            for item in node:
                self._known_functions(item, section)
        if not isinstance(node, dict):
            return
        name = function_of(node)
        if name is not None and name.startswith("Fn::"):
            if name in _LANGUAGE_EXTENSIONS:
                raise TemplateError(
                    f"Template error: {name} requires the transform AWS::LanguageExtensions, which localcloud has not"
                )
            if name not in _FUNCTIONS:
                raise invalid(f"localcloud has no function {name}; it has {', '.join(sorted(_FUNCTIONS))}")
            if section == "Conditions" and name not in _IN_CONDITIONS:
                raise TemplateError(f"Template error: Cannot use {name} in Conditions.")
            if section != "Conditions" and name in _LOGIC:
                raise TemplateError(f"Template error: {name} can be used in the Conditions section only")
        elif any(str(key).startswith("Fn::") for key in node):
            raise TemplateError(
                f"Template format error: an object with a function holds nothing else; got {sorted(node)}"
            )
        for item in node.values():
            self._known_functions(item, section)

    def _ref(self, name: Any, section: str) -> None:
        if not isinstance(name, str):
            raise TemplateError(
                "Template validation error: Template error: every Ref object must have a single String value."
            )
        if name in PSEUDO or name in self._template.parameters:
            return
        if section == "Conditions":
            raise TemplateError(
                f"Template format error: Unresolved dependencies [{name}]. Cannot reference resources in the Conditions"
                " block of the template"
            )
        self._names([name], section)

    def _names(self, names: Collection[str], section: str) -> None:
        if missing := [name for name in names if name not in self._template.resources]:
            raise TemplateError(
                f"Template format error: Unresolved resource dependencies [{', '.join(missing)}] in the {section} block"
                " of the template"
            )

    def _attribute(self, name: str, attribute: str, section: str) -> None:
        resource = self._template.resources.get(name)
        if resource is None:
            raise TemplateError(f"Template error: instance of Fn::GetAtt references undefined resource {name}")
        if section == "Conditions":
            raise TemplateError("Template error: Cannot use Fn::GetAtt in Conditions.")
        kind = resources.kind_of(resource.type_name)
        if attribute not in kind.attributes and not kind.is_open:
            raise TemplateError(
                f"Template error: resource {name} does not support attribute type {attribute} in Fn::GetAtt"
            )

    def _condition(self, name: Any, section: str) -> None:
        if name is not None and name not in self._template.conditions:
            raise TemplateError(
                f"Template format error: Unresolved condition dependency {name} in the {section} block of the template"
            )

    def _condition_cycle(self) -> None:
        below = {
            name: {target for kind, target, _ in references(node) if kind == "Condition"}
            for name, node in self._template.conditions.items()
        }
        order(below, "conditions")

    def _honoured(self, resource: Resource) -> None:
        """Properties that AWS has and localcloud would have to drop."""
        # What AWS does not know either fails the resource when it is made, as on AWS.
        known = schemas.schema(resource.type_name, self._region).properties
        given = {name: value for name, value in resource.properties.items() if name in known}
        if ignored := resources.not_honoured(resource.type_name, given):
            raise not_honoured_error(resource.logical_id, resource.type_name, ignored)


def not_honoured_error(logical_id: str, type_name: str, ignored: Collection[str]) -> ServiceError:
    """A property is AWS's, but localcloud could only ignore it."""
    honoured = ", ".join(sorted(resources.kind_of(type_name).honours))
    return invalid(
        f"localcloud does not honour {', '.join(ignored)} of {type_name} (resource {logical_id}); it honours {honoured}"
    )


def order(below: Mapping[str, Collection[str]], what: str = "resources") -> list[str]:
    """The names, each after those that it needs, otherwise as they stand. Raises TemplateError for a cycle."""
    sorter = TopologicalSorter({name: sorted(needed) for name, needed in below.items()})
    try:
        return list(sorter.static_order())
    except CycleError as error:
        cycle = ", ".join(sorted(set(error.args[1])))
        raise TemplateError(f"Circular dependency between {what}: [{cycle}]") from None
