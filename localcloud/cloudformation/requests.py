"""What a call asks of a stack: its template, read, the values of its parameters, and what that would change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.cloudformation import parameters, plan, rules, syntax
from localcloud.cloudformation import template as templates
from localcloud.cloudformation.addresses import object_at
from localcloud.cloudformation.deployment import Surroundings, before_update, stack_tags
from localcloud.cloudformation.errors import TemplateError, invalid
from localcloud.cloudformation.plan import Change
from localcloud.cloudformation.stacks import Stacks, Superseded
from localcloud.cloudformation.template import Template
from localcloud.cloudformation.values import UNKNOWN
from localcloud.context import Context
from localcloud.errors import ServiceError
from localcloud.store import Document

_ACKNOWLEDGES = {
    "CAPABILITY_IAM": ("CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"),
    "CAPABILITY_NAMED_IAM": ("CAPABILITY_NAMED_IAM",),
}
_MOST_TAGS = 50
_UPDATABLE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")


@dataclass(frozen=True)
class Asked:
    """What a stack is to be."""

    template: Template
    members: Document
    """Of the stack's document: Template, Parameters, Resolved, Tags, Capabilities, Description."""
    values: Mapping[str, Any]
    principal: str | None
    """The role that makes the calls, if the stack has none of its own; None for the account itself."""


@dataclass(frozen=True)
class Difference:
    """What an update comes to."""

    resources: tuple[Change, ...]
    any: bool
    """Whether there is anything to do: resources, outputs or the stack's tags."""


class Requests:
    """Reads calls. Whatever is wrong with a template or its parameters is told here, before anything is made."""

    def __init__(self, context: Context, stacks: Stacks) -> None:
        self._context, self._stacks = context, stacks

    def principal(self, access_key: str | None) -> str | None:
        """The role behind an access key, or None."""
        arn = self._context.principals.of(access_key)
        return None if arn.endswith(":root") else arn

    def template(self, params: Mapping[str, Any], principal: str | None, previous: str | None = None) -> Template:
        """The template that a call gives: as text, at an address in S3, or the one that the stack has."""
        given = [name for name in ("TemplateBody", "TemplateURL", "UsePreviousTemplate") if params.get(name)]
        if len(given) != 1:
            raise invalid(
                "Either Template URL or Template Body must be specified."
                if not given
                else f"Specify one of TemplateBody, TemplateURL and UsePreviousTemplate; got {', '.join(given)}"
            )
        if given == ["UsePreviousTemplate"]:
            if not previous:
                raise invalid("UsePreviousTemplate: the stack has no template yet")
            text = previous
        elif given == ["TemplateBody"]:
            text = params["TemplateBody"]
            if len(text.encode()) > syntax.MOST_BYTES:
                raise invalid(
                    "1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must"
                    f" have length less than or equal to {syntax.MOST_BYTES}"
                )
        else:
            text = self._fetch(params["TemplateURL"], principal)
        return templates.read(text, self._context.region)

    def read(self, params: Mapping[str, Any], stack: Document, access_key: str | None) -> Asked:
        """Raises ValidationError and InsufficientCapabilitiesException."""
        principal = self.principal(access_key)
        role = params.get("RoleARN") or stack.get("RoleARN") or principal
        # Who calls reads the template; what is in it is the role's business.
        template = self.template(params, principal, stack.get("Template"))
        given = list(params.get("Capabilities") or ())
        if missing := [one for one in template.capabilities if not set(_ACKNOWLEDGES[one]) & set(given)]:
            raise ServiceError("InsufficientCapabilitiesException", f"Requires capabilities : [{', '.join(missing)}]")
        tags = params["Tags"] if "Tags" in params else stack.get("Tags") or []
        _check_tags(tags)
        texts = parameters.given_values(
            template.parameters, params.get("Parameters") or [], stack.get("Parameters") or {}
        )
        around = Surroundings(self._context, self._stacks, stack, role)
        values, resolved = parameters.resolved_values(template.parameters, texts, around.read_ssm)
        rules.check(template.rules, values)
        members: Document = {
            "Template": template.text,
            "Parameters": texts,
            "Resolved": resolved,
            "Tags": tags,
            "Capabilities": given,
            "Description": template.description,
        }
        return Asked(template, members, values, principal)

    def changes(self, asked: Asked, stack: Document) -> Difference:
        """What it would change. Raises ValidationError for a template that cannot be evaluated."""
        region, stack_id = self._context.region, stack["StackId"]
        records = self._stacks.resources(stack_id)
        old = templates.read(stack["Template"], region) if stack.get("Template") else None
        if kinds := [
            name
            for name, record in records.items()
            if name in asked.template.resources and asked.template.resources[name].type_name != record["ResourceType"]
        ]:
            raise invalid(
                "Update of resource type is not permitted. The new template modifies resource type of the following"
                f" resources: [{', '.join(kinds)}]"
            )
        around = Surroundings(self._context, self._stacks, stack, stack.get("RoleARN") or asked.principal)
        make = partial(_make_resolver, around, asked, self._imported)
        before, after = stack.get("Parameters") or {}, asked.members["Parameters"]
        changed_parameters = frozenset(name for name in after if before.get(name) != after[name])
        found = plan.changes(asked.template, make, records, stack_tags(asked.members), region, old, changed_parameters)
        outputs_differ = old is None or self._outputs_differ(stack, asked, make, records, old)
        tags_differ = stack_tags(asked.members) != stack_tags(stack)
        return Difference(tuple(found), bool(found) or outputs_differ or tags_differ)

    def begin_update(
        self, stack: Document, members: Document, principal: str | None, token: str | None, role: str | None
    ) -> None:
        """Put what an update asks for in the stack's place, with what it had before for its roll-back. Raises
        ValidationError if it cannot be updated, or somebody else has been faster."""
        check_updatable(stack)
        try:
            self._stacks.turn(
                stack["StackId"],
                stack["StackStatus"],
                "UPDATE_IN_PROGRESS",
                "User Initiated",
                **members,
                Before=before_update(stack),
                RoleARN=role or stack.get("RoleARN"),
                LastUpdatedTime=self._context.clock.now(),
                Operation={"Token": token, "Principal": principal},
            )
        except Superseded:
            raise not_updatable(self._stacks.get(stack["StackId"])) from None

    def _outputs_differ(
        self, stack: Document, asked: Asked, make: plan.MakeResolver, records: Mapping[str, Document], old: Template
    ) -> bool:
        def value(name: str, attribute: str | None) -> Any:
            record = records.get(name)
            if record is None:
                return UNKNOWN
            return record["PhysicalResourceId"] if attribute is None else record["Attributes"].get(attribute, UNKNOWN)

        resolver = make(value)
        outputs = {
            output.name: (plan.shown(resolver.value(output.value)), resolver.value(output.export), output.description)
            for output in asked.template.outputs.values()
            if resolver.condition(output.condition)
        }
        there = {
            output["OutputKey"]: (output["OutputValue"], output.get("ExportName"), output.get("Description"))
            for output in stack.get("Outputs") or ()
        }
        return outputs != there

    def _imported(self, name: str) -> Any:
        # That an export is missing fails the stack, not the call, as on AWS.
        found = self._stacks.exports().get(name)
        return UNKNOWN if found is None else found[1]

    def _fetch(self, url: str, principal: str | None) -> str:
        try:
            place = object_at(url)
        except ValueError as error:
            raise invalid(f"S3 error: {error}") from error
        try:
            content: bytes = self._context.clients.of("s3", principal).get_object(**place)["Body"].read()
        except (ClientError, BotoCoreError) as error:
            said = error.response["Error"]["Message"] if isinstance(error, ClientError) else str(error)
            raise invalid(f"S3 error: {said} ({url})") from error
        if len(content) > syntax.MOST_BYTES_IN_S3:
            raise invalid(f"Template may not exceed {syntax.MOST_BYTES_IN_S3} bytes in size.")
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise TemplateError(f"Template format error: the template at {url} is not UTF-8") from error


def check_updatable(stack: Document) -> None:
    """Raise ValidationError for a stack that cannot be updated as it is."""
    if stack["StackStatus"] not in _UPDATABLE:
        raise not_updatable(stack)


def not_updatable(stack: Document) -> ServiceError:
    """The stack's status forbids an update."""
    return invalid(f"Stack:{stack['StackId']} is in {stack['StackStatus']} state and can not be updated.")


def refuse(params: Mapping[str, Any], *names: str) -> None:
    """Raise ValidationError for what localcloud could only ignore."""
    for name in names:
        if params.get(name):
            raise invalid(f"localcloud has no {name} of a stack; got {params[name]!r}"[:500])


def _make_resolver(around: Surroundings, asked: Asked, imported: Callable[[str], Any], resource: Any) -> Any:
    return around.resolver(asked.template, asked.values, resource, imported)


def _check_tags(tags: list[Mapping[str, str]]) -> None:
    keys = [tag["Key"] for tag in tags]
    if len(set(keys)) < len(keys):
        raise invalid("Tags: Duplicate tag keys found. Please note that tag keys are case insensitive.")
    if len(keys) > _MOST_TAGS:
        raise invalid(f"Tags: at most {_MOST_TAGS} tags per stack; got {len(keys)}")
    if reserved := [key for key in keys if key.lower().startswith("aws:")]:
        raise invalid(f"Tags: the prefix aws: is reserved; got {', '.join(reserved)}")
