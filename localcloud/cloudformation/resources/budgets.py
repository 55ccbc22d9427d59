"""AWS::Budgets::Budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.cloudformation.resources.kind import Call, Properties, ResourceType, changed, pick, tag_list

_BUDGET = (
    "BudgetLimit", "BudgetName", "BudgetType", "CostFilters", "CostTypes", "FilterExpression", "Metrics", "TimeUnit",
)  # fmt: skip


class Budget(ResourceType):
    name = "AWS::Budgets::Budget"
    tags_property = "ResourceTags"
    honours = frozenset({*(f"Budget.{member}" for member in _BUDGET), "NotificationsWithSubscribers", "ResourceTags"})

    def create(self, call: Call, properties: Properties) -> str:
        budget = _budget(properties)
        name = budget.setdefault("BudgetName", call.new_name(100))
        call.client("budgets").create_budget(
            AccountId=call.account_id,
            Budget=budget,
            **pick(properties, "NotificationsWithSubscribers"),
            **({"ResourceTags": tag_list(call.tags)} if call.tags else {}),
        )
        return str(name)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        budgets = call.client("budgets")
        if changed(before, after, "Budget"):
            budget = {**_budget(after), "BudgetName": physical_id}
            budgets.update_budget(AccountId=call.account_id, NewBudget=budget)
        arn = f"arn:aws:budgets::{call.account_id}:budget/{physical_id}"
        call.retag(
            lambda tags: budgets.tag_resource(ResourceARN=arn, ResourceTags=tag_list(tags)),
            lambda keys: budgets.untag_resource(ResourceARN=arn, ResourceTagKeys=keys),
        )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("budgets").delete_budget(AccountId=call.account_id, BudgetName=physical_id)


def _budget(properties: Properties) -> dict[str, Any]:
    """As the service takes it: an amount is text there, and a filter's values are a list."""
    budget: Mapping[str, Any] = properties["Budget"]
    found = pick(budget, *_BUDGET)
    if "BudgetLimit" in budget:
        limit = budget["BudgetLimit"]
        found["BudgetLimit"] = {"Amount": str(limit["Amount"]), "Unit": limit["Unit"]}
    return found


TYPES = (Budget(),)
