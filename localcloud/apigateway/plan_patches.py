"""What UpdateUsagePlan changes of a plan."""

from __future__ import annotations

from typing import Any

from localcloud.apigateway.errors import missing_stage
from localcloud.apigateway.patches import Patch
from localcloud.apigateway.settings import DEFAULTS

Document = dict[str, Any]

_PATHS = (
    "/apiStages", "/apiStages/{apiId}:{stage}/throttle/{resourcePath}/{httpMethod}/burstLimit",
    "/apiStages/{apiId}:{stage}/throttle/{resourcePath}/{httpMethod}/rateLimit", "/description", "/name", "/quota",
    "/quota/limit", "/quota/offset", "/quota/period", "/throttle", "/throttle/burstLimit", "/throttle/rateLimit",
)  # fmt: skip


def patched(plan: Document, patch: Patch) -> Document:
    """A plan after a patch operation. Raises BadRequestException, or NotFoundException for a stage that it has not."""
    parts = patch.parts
    if parts[0] in ("description", "name") and patch.op == "replace" and len(parts) == 1:
        return {**plan, parts[0]: patch.value}
    if parts[0] in ("throttle", "quota") and len(parts) == 1 and patch.op == "remove":
        return {**plan, parts[0]: None}
    if parts[0] == "throttle" and len(parts) == 2 and patch.op != "remove":
        return {**plan, "throttle": {**(plan["throttle"] or {}), parts[1]: _limit(parts[1], patch)}}
    if parts[0] == "quota" and len(parts) == 2 and patch.op != "remove" and parts[1] in ("limit", "offset", "period"):
        value = patch.value if parts[1] == "period" else patch.integer(0, 2**31 - 1)
        return {**plan, "quota": {**(plan["quota"] or {}), parts[1]: value}}
    if parts[0] == "apiStages":
        return {**plan, "apiStages": _patched_stages(plan["apiStages"], patch)}
    raise patch.unsupported(*_PATHS)


def _patched_stages(stages: list[Document], patch: Patch) -> list[Document]:
    parts = patch.parts
    if len(parts) == 1 and patch.op in ("add", "remove"):
        api_id, _, stage = patch.value.partition(":")
        kept = [one for one in stages if (one["apiId"], one["stage"]) != (api_id, stage)]
        if patch.op == "add":
            return [*stages, {"apiId": api_id, "stage": stage}]
        if len(kept) == len(stages):
            raise missing_stage(api_id, stage)
        return kept
    wanted = [one for one in stages if f"{one['apiId']}:{one['stage']}" == parts[1]] if len(parts) > 1 else []
    if not wanted:
        raise patch.unsupported(*_PATHS)
    changed = {**wanted[0], "throttle": _patched_limits(wanted[0].get("throttle") or {}, patch)}
    return [changed if one is wanted[0] else one for one in stages]


def _patched_limits(limits: Document, patch: Patch) -> Document:
    """The limits of methods at a stage, after `/apiStages/{stage}/throttle/{path}/{verb}/{limit}`."""
    parts = patch.parts[2:]
    if parts == ["throttle"] and patch.op == "remove":
        return {}
    if parts[:1] != ["throttle"] or len(parts) not in (3, 4) or (len(parts) == 3) != (patch.op == "remove"):
        raise patch.unsupported(*_PATHS)
    key = f"{parts[1]}/{parts[2]}"
    if patch.op == "remove":
        return {name: value for name, value in limits.items() if name != key}
    return {**limits, key: {**limits.get(key, {}), parts[3]: _limit(parts[3], patch)}}


def _limit(name: str, patch: Patch) -> float:
    if name == "burstLimit":
        return patch.integer(0, DEFAULTS["throttlingBurstLimit"])
    if name == "rateLimit":
        return patch.number(DEFAULTS["throttlingRateLimit"])
    raise patch.unsupported(*_PATHS)
