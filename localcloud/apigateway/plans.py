"""Usage plans: which keys may call which stages, how often, and how many times in a day, a week or a month."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any

from localcloud.apigateway import plan_patches, quotas
from localcloud.apigateway.deployed import KeyPlan
from localcloud.apigateway.errors import bad_request, conflict, missing, missing_stage, new_id
from localcloud.apigateway.keys import KEY, ApiKeys
from localcloud.apigateway.openapi.importer import ID_LENGTH
from localcloud.apigateway.paging import page_of
from localcloud.apigateway.patches import patches_of
from localcloud.apigateway.remembered import Remembered
from localcloud.apigateway.settings import DEFAULTS
from localcloud.context import Context, Request

PLAN, MEMBER, USAGE = "apigateway/plan", "apigateway/plan-key", "apigateway/usage"
Document = dict[str, Any]
_Index = Mapping[tuple[str, str, str], tuple[str, Document, Document]]

_KEPT_DAYS = 90


class UsagePlans:
    """The operations on usage plans; and what a key may do, for the gateway."""

    def __init__(self, context: Context, keys: ApiKeys, stage_exists: Callable[[str, str], bool]) -> None:
        self._context, self._keys, self._stage_exists = context, keys, stage_exists
        self._index: Remembered[str, _Index] = Remembered(lambda _: self._indexed())

    # For the gateway.

    def plan_of(self, api_id: str, stage: str, key_value: str, resource_path: str, verb: str) -> KeyPlan | None:
        """What the bearer of a key may do with a method; None if the key is unknown, disabled, or of no plan that has
        the stage."""
        index = self._index.get("")
        assert index is not None, "an index is made of whatever there is"
        found = index.get((api_id, stage, key_value))
        if found is None:
            return None
        key_id, plan, api_stage = found
        own = (api_stage.get("throttle") or {}).get(f"{resource_path}/{verb}")
        limits = own or plan.get("throttle") or {}
        return KeyPlan(
            key_id,
            plan["id"],
            rate=limits.get("rateLimit"),
            burst=limits.get("burstLimit"),
            method=f"{api_id}/{stage}{resource_path}/{verb}" if own else "",
        )

    def count(self, plan: KeyPlan) -> bool:
        """Take one request of what the plan allows the key in its period; False if that is used up."""
        key, today = f"{plan.plan_id}/{plan.key_id}", self._context.clock.now().date()
        with self._context.store.transaction():
            document = self._context.store.get(PLAN, plan.plan_id)
            if document is None:
                # It went while the request was under way: nobody asks any more how often it was used.
                return True
            quota = document.get("quota")
            usage = self._context.store.get(USAGE, key) or {"days": {}}
            left = quotas.left(quota, usage, today)
            if left is not None and left <= 0:
                return False
            days = usage["days"]
            days[today.isoformat()] = days.get(today.isoformat(), 0) + 1
            oldest = (today - timedelta(days=_KEPT_DAYS)).isoformat()
            kept = {day: count for day, count in days.items() if day >= oldest}
            self._context.store.put(USAGE, key, {"days": kept})
        return True

    def forget(self) -> None:
        """A plan, a key or a stage has changed."""
        self._index.forget()

    # Plans.

    def create(self, request: Request) -> dict[str, Any]:
        """CreateUsagePlan."""
        params = request.params
        plan = {
            "id": new_id(ID_LENGTH),
            **{name: params.get(name) for name in ("name", "description", "throttle", "quota", "tags")},
            "apiStages": params.get("apiStages") or [],
        }
        with self._context.store.transaction():
            self._put(plan)
        self.forget()
        return _described(plan)

    def get(self, request: Request) -> dict[str, Any]:
        """GetUsagePlan."""
        return _described(self._named(request.params["usagePlanId"]))

    def list(self, request: Request) -> dict[str, Any]:
        """GetUsagePlans, or those of a key."""
        key_id = request.params.get("keyId")
        found = [
            _described(plan)
            for _, plan in self._context.store.list(PLAN)
            if key_id is None or self._context.store.get(MEMBER, f"{plan['id']}/{key_id}") is not None
        ]
        return page_of(request, found)

    def update(self, request: Request) -> dict[str, Any]:
        """UpdateUsagePlan."""
        patches = builtins.list(patches_of(request))
        with self._context.store.transaction():
            plan = self._named(request.params["usagePlanId"])
            for patch in patches:
                plan = plan_patches.patched(plan, patch)
            self._put(plan)
        self.forget()
        return _described(plan)

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteUsagePlan: one that has no stages any more. Its keys stay."""
        plan_id = request.params["usagePlanId"]
        with self._context.store.transaction():
            plan = self._named(plan_id)
            if plan["apiStages"]:
                stages = ", ".join(f"{one['apiId']}:{one['stage']}" for one in plan["apiStages"])
                raise bad_request(
                    f"Cannot delete Usage Plan {plan_id} because it has associated API stages; remove them: {stages}"
                )
            for kind in (MEMBER, USAGE):
                for key, _ in self._context.store.list(kind, f"{plan_id}/"):
                    self._context.store.delete(kind, key)
            self._context.store.delete(PLAN, plan_id)
        self.forget()
        return {}

    # The keys of a plan.

    def add_key(self, request: Request) -> dict[str, Any]:
        """CreateUsagePlanKey: a key is of one plan only at a stage."""
        params = request.params
        plan_id, key_id = params["usagePlanId"], params["keyId"]
        if params["keyType"] != "API_KEY":
            raise bad_request(f"Invalid key type specified: {params['keyType']!r}; expected API_KEY")
        with self._context.store.transaction():
            plan, key = self._named(plan_id), self._keys.named(key_id)
            if not self._context.store.put(MEMBER, f"{plan_id}/{key_id}", {"keyId": key_id}, if_absent=True):
                raise conflict(f"Usage plan key {key_id} already exists in the usage plan {plan_id}")
            self._check_one_plan(plan)
        self.forget()
        return _member(key)

    def key(self, request: Request) -> dict[str, Any]:
        """GetUsagePlanKey."""
        return _member(self._member(request))

    def list_keys(self, request: Request) -> dict[str, Any]:
        """GetUsagePlanKeys."""
        plan_id = self._named(request.params["usagePlanId"])["id"]
        found = [_member(key) for key in self._members(plan_id)]
        begin = request.params.get("nameQuery") or ""
        return page_of(request, [key for key in found if (key["name"] or "").startswith(begin)])

    def remove_key(self, request: Request) -> dict[str, Any]:
        """DeleteUsagePlanKey: the key stays."""
        plan_id = request.params["usagePlanId"]
        with self._context.store.transaction():
            self._context.store.delete(MEMBER, f"{plan_id}/{self._member(request)['id']}")
        self.forget()
        return {}

    def usage(self, request: Request) -> dict[str, Any]:
        """GetUsage: by key and day what was used, and what was left then of a quota."""
        params = request.params
        plan = self._named(params["usagePlanId"])
        first, last = _day("startDate", params["startDate"]), _day("endDate", params["endDate"])
        if not 0 <= (last - first).days < _KEPT_DAYS:
            raise bad_request(
                f"Usage data is kept for {_KEPT_DAYS} days: endDate must be startDate or a later day within them; got"
                f" {first} to {last}"
            )
        keys = [key for key in self._members(plan["id"]) if params.get("keyId") in (None, key["id"])]
        page = page_of(request, keys)
        items = {key["id"]: self._used(plan, key["id"], first, last) for key in page["items"]}
        return {
            "usagePlanId": plan["id"],
            "startDate": first.isoformat(),
            "endDate": last.isoformat(),
            "items": items,
            "position": page["position"],
        }

    # What others delete.

    def without_stage(self, api_id: str, stage: str) -> None:
        """Take a stage that goes out of all plans, within a transaction of the caller's."""
        for plan_id, plan in self._context.store.list(PLAN):
            kept = [one for one in plan["apiStages"] if (one["apiId"], one["stage"]) != (api_id, stage)]
            self._context.store.put(PLAN, plan_id, {**plan, "apiStages": kept})

    def without_key(self, key_id: str) -> None:
        """Take a key that goes out of all plans, within a transaction of the caller's."""
        for plan_id, _ in self._context.store.list(PLAN, members=("id",)):
            self._context.store.delete(MEMBER, f"{plan_id}/{key_id}")
            self._context.store.delete(USAGE, f"{plan_id}/{key_id}")

    def _named(self, plan_id: str) -> Document:
        document = self._context.store.get(PLAN, plan_id)
        if document is None:
            raise missing("Usage Plan")
        return document

    def _member(self, request: Request) -> Document:
        plan_id, key_id = self._named(request.params["usagePlanId"])["id"], request.params["keyId"]
        if self._context.store.get(MEMBER, f"{plan_id}/{key_id}") is None:
            raise missing("Usage Plan Key")
        return self._keys.named(key_id)

    def _members(self, plan_id: str) -> builtins.list[Document]:
        return [self._keys.named(one["keyId"]) for _, one in self._context.store.list(MEMBER, f"{plan_id}/")]

    def _put(self, plan: Document) -> None:
        """Keep a plan. Raises BadRequestException, NotFoundException or ConflictException for one that cannot be."""
        seen = set()
        for one in plan["apiStages"]:
            where = (one.get("apiId", ""), one.get("stage", ""))
            if not self._stage_exists(*where):
                raise missing_stage(*where)
            if where in seen:
                raise conflict(f"API Stage {where[0]}:{where[1]} is in the usage plan already")
            seen.add(where)
            for limits in (one.get("throttle") or {}).values():
                _check_throttle(limits)
        _check_throttle(plan.get("throttle"))
        quotas.check(plan.get("quota"))
        self._context.store.put(PLAN, plan["id"], plan)
        self._check_one_plan(plan)

    def _check_one_plan(self, plan: Document) -> None:
        stages = {(one["apiId"], one["stage"]) for one in plan["apiStages"]}
        for key in self._members(plan["id"]):
            for _, other in self._context.store.list(PLAN):
                shared = stages & {(one["apiId"], one["stage"]) for one in other["apiStages"]}
                there = self._context.store.get(MEMBER, f"{other['id']}/{key['id']}") is not None
                if other["id"] != plan["id"] and shared and there:
                    api_id, stage = min(shared)
                    raise conflict(
                        f"The key {key['id']} cannot be of two usage plans of the stage {api_id}:{stage}; it is of"
                        f" {other['id']}"
                    )

    def _indexed(self) -> _Index:
        found: dict[tuple[str, str, str], tuple[str, Document, Document]] = {}
        with self._context.store.transaction():
            keys = dict(self._context.store.list(KEY))
            for plan_id, plan in self._context.store.list(PLAN):
                for _, member in self._context.store.list(MEMBER, f"{plan_id}/"):
                    key = keys[member["keyId"]]
                    if key["enabled"]:
                        for one in plan["apiStages"]:
                            found[one["apiId"], one["stage"], key["value"]] = (key["id"], plan, one)
        return found

    def _used(self, plan: Document, key_id: str, first: date, last: date) -> builtins.list[builtins.list[int]]:
        usage = self._context.store.get(USAGE, f"{plan['id']}/{key_id}") or {"days": {}}
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        found = []
        for day in days:
            left = quotas.left(plan.get("quota"), usage, day)
            found.append([usage["days"].get(day.isoformat(), 0), *([] if left is None else [max(left, 0)])])
        return found


def _described(plan: Document) -> dict[str, Any]:
    return {**plan, "tags": plan["tags"] or None}


def _member(key: Document) -> dict[str, Any]:
    return {"id": key["id"], "type": "API_KEY", "value": key["value"], "name": key["name"]}


def _day(name: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise bad_request(f"Invalid {name} specified: {text!r}; expected YYYY-MM-DD") from None


def _check_throttle(limits: Mapping[str, Any] | None) -> None:
    for name, default in (("burstLimit", "throttlingBurstLimit"), ("rateLimit", "throttlingRateLimit")):
        value, most = (limits or {}).get(name), DEFAULTS[default]
        if value is not None and not 0 <= value <= most:
            raise bad_request(f"Invalid {name} specified: {value}; expected a number from 0 to {most:g}")
