"""Budgets: kept and shown; what is spent on a laptop is nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.sagemaker_account import Account, error_of

NOTIFICATION = {
    "NotificationType": "ACTUAL",
    "ComparisonOperator": "GREATER_THAN",
    "Threshold": 80.0,
    "ThresholdType": "PERCENTAGE",
}
SUBSCRIBERS = [{"SubscriptionType": "EMAIL", "Address": "ops@example.com"}]


@pytest.fixture(scope="module")
def account(cloud: Any) -> Account:
    """The account under test."""
    return Account.of(cloud)


def budget(name: str, amount: str = "100") -> dict[str, Any]:
    return {
        "BudgetName": name,
        "BudgetType": "COST",
        "TimeUnit": "MONTHLY",
        "BudgetLimit": {"Amount": amount, "Unit": "USD"},
    }


@pytest.fixture
def name(account: Account) -> Iterator[str]:
    """The name of a budget, which is deleted at the end."""
    found = account.name("budget")
    account.client("budgets").create_budget(
        AccountId=account.number,
        Budget=budget(found),
        NotificationsWithSubscribers=[{"Notification": NOTIFICATION, "Subscribers": SUBSCRIBERS}],
        ResourceTags=[{"Key": "a", "Value": "b"}],
    )
    yield found
    account.client("budgets").delete_budget(AccountId=account.number, BudgetName=found)


def test_a_budget_is_shown_with_what_is_spent(account: Account, name: str) -> None:
    budgets = account.client("budgets")
    found = budgets.describe_budget(AccountId=account.number, BudgetName=name)["Budget"]
    assert found["BudgetLimit"] == {"Amount": "100", "Unit": "USD"}
    assert float(found["CalculatedSpend"]["ActualSpend"]["Amount"]) == 0
    assert found["CostTypes"]["IncludeTax"] is True
    assert found["TimePeriod"]["Start"].day == 1
    listed = budgets.describe_budgets(AccountId=account.number, MaxResults=100)["Budgets"]
    assert name in [one["BudgetName"] for one in listed]


def test_a_budget_is_changed(account: Account, name: str) -> None:
    budgets = account.client("budgets")
    before = budgets.describe_budget(AccountId=account.number, BudgetName=name)["Budget"]
    budgets.update_budget(AccountId=account.number, NewBudget=budget(name, "200"))
    found = budgets.describe_budget(AccountId=account.number, BudgetName=name)["Budget"]
    assert found["BudgetLimit"]["Amount"] == "200"
    assert found["TimePeriod"] == before["TimePeriod"]
    arn = f"arn:aws:budgets::{account.number}:budget/{name}"
    budgets.tag_resource(ResourceARN=arn, ResourceTags=[{"Key": "c", "Value": "d"}])
    budgets.untag_resource(ResourceARN=arn, ResourceTagKeys=["a"])
    assert budgets.list_tags_for_resource(ResourceARN=arn)["ResourceTags"] == [{"Key": "c", "Value": "d"}]


def test_its_notifications_are_shown(account: Account, name: str) -> None:
    budgets = account.client("budgets")
    found = budgets.describe_notifications_for_budget(AccountId=account.number, BudgetName=name)["Notifications"]
    assert found == [{**NOTIFICATION, "NotificationState": "OK"}]
    subscribers = budgets.describe_subscribers_for_notification(
        AccountId=account.number, BudgetName=name, Notification=NOTIFICATION
    )["Subscribers"]
    assert subscribers == SUBSCRIBERS


def test_what_cannot_be_is_refused(account: Account, name: str) -> None:
    budgets = account.client("budgets")
    given: dict[str, Any] = {"AccountId": account.number}
    assert error_of(budgets.create_budget, **given, Budget=budget(name))[0] == "DuplicateRecordException"
    without = {key: value for key, value in budget("other").items() if key != "BudgetLimit"}
    assert error_of(budgets.create_budget, **given, Budget=without)[0] == "InvalidParameterException"
    assert error_of(budgets.describe_budget, **given, BudgetName="none-of-it")[0] == "NotFoundException"
    assert error_of(budgets.delete_budget, **given, BudgetName="none-of-it")[0] == "NotFoundException"
    code, _ = error_of(budgets.describe_budget, AccountId="999999999999", BudgetName=name)
    assert code == "AccessDeniedException"
