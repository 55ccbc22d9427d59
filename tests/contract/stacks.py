"""What the contract's tests do with CloudFormation: templates, and stacks that are gone at the end."""

from __future__ import annotations

import json
from typing import Any

from tests.contract.sagemaker_account import Account, until


class Stacks:
    """What the tests do with stacks. Those that are left are deleted at the end."""

    def __init__(self, account: Account) -> None:
        self.account, self.client = account, account.client("cloudformation")
        self.ids: list[str] = []

    def create(self, template: dict[str, Any] | str, name: str | None = None, **params: Any) -> str:
        """Start a creation; gives the stack's id."""
        name = name or self.account.name("stack")
        answer = self.client.create_stack(StackName=name, TemplateBody=body_of(template), **params)
        self.ids.append(answer["StackId"])
        return str(answer["StackId"])

    def made(self, template: dict[str, Any] | str, **params: Any) -> str:
        """A stack whose creation has succeeded."""
        stack_id = self.create(template, **params)
        stack = self.settled(stack_id)
        assert stack["StackStatus"] == "CREATE_COMPLETE", self.reasons(stack_id)
        return stack_id

    def update(self, stack_id: str, template: dict[str, Any], **params: Any) -> dict[str, Any]:
        """Update a stack; gives what it is when that has ended."""
        self.client.update_stack(StackName=stack_id, TemplateBody=body_of(template), **params)
        return self.settled(stack_id)

    def delete(self, stack_id: str, **params: Any) -> dict[str, Any]:
        self.client.delete_stack(StackName=stack_id, **params)
        return self.settled(stack_id)

    def settled(self, stack_id: str) -> dict[str, Any]:
        """The stack when nothing is under way."""

        def over() -> dict[str, Any] | None:
            stack: dict[str, Any] = self.client.describe_stacks(StackName=stack_id)["Stacks"][0]
            return stack if not stack["StackStatus"].endswith("IN_PROGRESS") else None

        found: dict[str, Any] = until(over, "the stack has settled")
        return found

    def outputs(self, stack_id: str) -> dict[str, str]:
        stack = self.settled(stack_id)
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}

    def physical(self, stack_id: str, logical_id: str) -> str:
        answer = self.client.describe_stack_resource(StackName=stack_id, LogicalResourceId=logical_id)
        return str(answer["StackResourceDetail"]["PhysicalResourceId"])

    def events(self, stack_id: str) -> list[tuple[str, str]]:
        """Logical ids and statuses, the first first."""
        found = self.client.describe_stack_events(StackName=stack_id)["StackEvents"]
        return [(event["LogicalResourceId"], event["ResourceStatus"]) for event in reversed(found)]

    def delete_all(self) -> None:
        """Delete those that are left, the newest first."""
        for stack_id in reversed(self.ids):
            self.client.update_termination_protection(StackName=stack_id, EnableTerminationProtection=False)
            self.delete(stack_id)

    def reasons(self, stack_id: str) -> dict[str, str]:
        """Why what failed did."""
        pages = self.client.get_paginator("describe_stack_events").paginate(StackName=stack_id)
        found = [event for page in pages for event in page["StackEvents"]]
        return {
            event["LogicalResourceId"]: event.get("ResourceStatusReason", "")
            for event in reversed(found)
            if event["ResourceStatus"].endswith("FAILED")
        }


def body_of(template: dict[str, Any] | str) -> str:
    """A template as CloudFormation takes it."""
    return template if isinstance(template, str) else json.dumps(template)


def template(**resources: Any) -> dict[str, Any]:
    """A template of resources, each given as type and properties (and further attributes)."""
    found = {}
    for name, (kind, properties, *attributes) in resources.items():
        found[name] = {"Type": kind, "Properties": properties, **(attributes[0] if attributes else {})}
    return {"Resources": found}
