"""The service budgets: budgets with their notifications, kept and shown. What is spent is 0: nobody is ever notified.

Source: the AWS Billing and Cost Management API Reference, "AWS Budgets".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.service import Handler
from localcloud.store import Document

_KIND = "budgets/budget"
_PAGE = 100
# As AWS completes a budget that names none.
_END = datetime(2087, 6, 15, tzinfo=UTC)
_COST_TYPES = {
    "IncludeTax": True,
    "IncludeSubscription": True,
    "UseBlended": False,
    "IncludeRefund": True,
    "IncludeCredit": True,
    "IncludeUpfront": True,
    "IncludeRecurring": True,
    "IncludeOtherSubscription": True,
    "IncludeSupport": True,
    "IncludeDiscount": True,
    "UseAmortized": False,
}
_LIMITS = ("BudgetLimit", "PlannedBudgetLimits", "AutoAdjustData")


class Budgets:
    """The service."""

    name = "budgets"

    def __init__(self, context: Context) -> None:
        self._context, self._store = context, context.store
        self._operations: dict[str, Handler] = {
            "CreateBudget": self.create,
            "UpdateBudget": self.update,
            "DeleteBudget": self.delete,
            "DescribeBudget": self.describe,
            "DescribeBudgets": self.describe_all,
            "DescribeNotificationsForBudget": self.notifications,
            "DescribeSubscribersForNotification": self.subscribers,
            "ListTagsForResource": self.tags,
            "TagResource": self.tag,
            "UntagResource": self.untag,
        }

    @property
    def operations(self) -> Mapping[str, Handler]:
        """What is implemented, by name."""
        return self._operations

    def start(self) -> None:
        """Nothing is under way in here."""

    def stop(self) -> None:
        """Nothing is under way in here."""

    def create(self, request: Request) -> dict[str, Any]:
        """CreateBudget. Raises DuplicateRecordException and InvalidParameterException."""
        params = request.params
        self._check_account(params)
        budget, notifications = params["Budget"], params.get("NotificationsWithSubscribers") or []
        _check(budget)
        keys = [_key(one["Notification"]) for one in notifications]
        if len(set(keys)) < len(keys):
            raise ServiceError("DuplicateRecordException", "A notification of the budget is given more than once")
        document: Document = {
            "Budget": self._completed(budget, {}),
            "Notifications": notifications,
            "Tags": {tag["Key"]: tag["Value"] for tag in params.get("ResourceTags") or ()},
        }
        if not self._store.put(_KIND, budget["BudgetName"], document, if_absent=True):
            raise ServiceError(
                "DuplicateRecordException",
                f"Error creating budget: {budget['BudgetName']} - the budget already exists.",
            )
        return {}

    def update(self, request: Request) -> dict[str, Any]:
        """UpdateBudget: all of it but its name."""
        self._check_account(request.params)
        budget = request.params["NewBudget"]
        _check(budget)
        found = self._get(budget["BudgetName"])
        self._store.put(_KIND, budget["BudgetName"], {**found, "Budget": self._completed(budget, found["Budget"])})
        return {}

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteBudget, with its notifications."""
        self._check_account(request.params)
        name = request.params["BudgetName"]
        if not self._store.delete(_KIND, name):
            raise _missing(name)
        return {}

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribeBudget."""
        self._check_account(request.params)
        return {"Budget": self._get(request.params["BudgetName"])["Budget"]}

    def describe_all(self, request: Request) -> dict[str, Any]:
        """DescribeBudgets."""
        self._check_account(request.params)
        found = [document["Budget"] for _, document in self._store.list(_KIND)]
        page, token = _page(found, request.params)
        return {"Budgets": page, "NextToken": token}

    def notifications(self, request: Request) -> dict[str, Any]:
        """DescribeNotificationsForBudget. Each is OK: nothing is spent."""
        self._check_account(request.params)
        found = [
            {**one["Notification"], "NotificationState": "OK"}
            for one in self._get(request.params["BudgetName"])["Notifications"]
        ]
        page, token = _page(found, request.params)
        return {"Notifications": page, "NextToken": token}

    def subscribers(self, request: Request) -> dict[str, Any]:
        """DescribeSubscribersForNotification."""
        self._check_account(request.params)
        wanted = _key(request.params["Notification"])
        for one in self._get(request.params["BudgetName"])["Notifications"]:
            if _key(one["Notification"]) == wanted:
                page, token = _page(one["Subscribers"], request.params)
                return {"Subscribers": page, "NextToken": token}
        raise ServiceError("NotFoundException", f"The budget {request.params['BudgetName']} has no such notification")

    def tags(self, request: Request) -> dict[str, Any]:
        """ListTagsForResource."""
        found = self._get(_name(request.params["ResourceARN"]))["Tags"]
        return {"ResourceTags": [{"Key": key, "Value": value} for key, value in found.items()]}

    def tag(self, request: Request) -> dict[str, Any]:
        """TagResource."""
        name = _name(request.params["ResourceARN"])
        found = self._get(name)
        added = {tag["Key"]: tag["Value"] for tag in request.params["ResourceTags"]}
        self._store.put(_KIND, name, {**found, "Tags": {**found["Tags"], **added}})
        return {}

    def untag(self, request: Request) -> dict[str, Any]:
        """UntagResource."""
        name = _name(request.params["ResourceARN"])
        found, gone = self._get(name), set(request.params["ResourceTagKeys"])
        left = {key: value for key, value in found["Tags"].items() if key not in gone}
        self._store.put(_KIND, name, {**found, "Tags": left})
        return {}

    def _get(self, name: str) -> Document:
        found = self._store.get(_KIND, name)
        if found is None:
            raise _missing(name)
        return found

    def _completed(self, budget: Mapping[str, Any], before: Mapping[str, Any]) -> Document:
        """A budget as AWS shows it."""
        now = self._context.clock.now()
        unit = (budget.get("BudgetLimit") or {}).get("Unit", "USD")
        nothing = {"Amount": "0.0", "Unit": unit}
        period = budget.get("TimePeriod") or {}
        known = before.get("TimePeriod") or {}
        start = (
            period.get("Start") or known.get("Start") or now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        )
        return {
            **budget,
            **({"CostTypes": {**_COST_TYPES, **(budget.get("CostTypes") or {})}} if "Metrics" not in budget else {}),
            "TimePeriod": {"Start": start, "End": period.get("End") or known.get("End") or _END},
            "CalculatedSpend": {"ActualSpend": nothing, "ForecastedSpend": nothing},
            "HealthStatus": {"Status": "HEALTHY", "LastUpdatedTime": now},
            "LastUpdatedTime": now,
        }

    def _check_account(self, params: Mapping[str, Any]) -> None:
        if params["AccountId"] != self._context.account_id:
            raise ServiceError(
                "AccessDeniedException",
                f"The account {params['AccountId']} is not the caller's; expected {self._context.account_id}",
            )


def _check(budget: Mapping[str, Any]) -> None:
    limits = [name for name in _LIMITS if budget.get(name)]
    if budget["BudgetType"] in ("COST", "USAGE") and len(limits) != 1:
        raise ServiceError(
            "InvalidParameterException",
            f"A {budget['BudgetType']} budget needs exactly one of {', '.join(_LIMITS)}; got"
            f" {', '.join(limits) or 'none'}",
        )
    if ":" in budget["BudgetName"] or "\\" in budget["BudgetName"]:
        raise ServiceError(
            "InvalidParameterException",
            f"A budget's name has no colon and no backslash; got {budget['BudgetName']!r}",
        )


def _key(notification: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        notification["NotificationType"],
        notification["ComparisonOperator"],
        float(notification["Threshold"]),
        notification.get("ThresholdType", "PERCENTAGE"),
    )


def _missing(name: str) -> ServiceError:
    return ServiceError("NotFoundException", f"Unable to get budget: {name} - the budget doesn't exist.")


def _name(arn: str) -> str:
    """The budget of an ARN, `arn:aws:budgets::{account}:budget/{name}`."""
    return arn.partition(":budget/")[2]


def _page(items: list[Any], params: Mapping[str, Any]) -> tuple[list[Any], str | None]:
    token = params.get("NextToken", "0")
    if not token.isdigit():
        raise ServiceError("InvalidNextTokenException", f"NextToken {token!r} is none of this list's")
    start, end = int(token), int(token) + params.get("MaxResults", _PAGE)
    return items[start:end], str(end) if end < len(items) else None
