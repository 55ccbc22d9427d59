"""The account's settings: the role by which API Gateway writes access logs."""

from __future__ import annotations

import json
import re
from typing import Any

from botocore.exceptions import ClientError

from localcloud.apigateway.errors import bad_request
from localcloud.apigateway.patches import patches_of
from localcloud.apigateway.settings import DEFAULTS
from localcloud.context import Context, Request
from localcloud.resource_policies import allows

ACCOUNT = "apigateway/account"
PRINCIPAL = "apigateway.amazonaws.com"

_KEY = "account"
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/(?:.*/)?(?P<name>[^/]+)")


class Account:
    """The operations on the account."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def log_role(self) -> str | None:
        """The role that writes access logs, if there is one."""
        found: str | None = (self._context.store.get(ACCOUNT, _KEY) or {}).get("cloudwatchRoleArn")
        return found

    def get(self, request: Request) -> dict[str, Any]:
        """GetAccount."""
        return {
            "cloudwatchRoleArn": self.log_role(),
            "throttleSettings": {
                "burstLimit": DEFAULTS["throttlingBurstLimit"],
                "rateLimit": DEFAULTS["throttlingRateLimit"],
            },
            "features": ["UsagePlans"],
            "apiKeyVersion": "4",
        }

    def update(self, request: Request) -> dict[str, Any]:
        """UpdateAccount: another role, or none for an empty value."""
        for patch in patches_of(request):
            if (patch.op, patch.path) != ("replace", "/cloudwatchRoleArn"):
                raise patch.unsupported("/cloudwatchRoleArn")
            if patch.value:
                self._check(patch.value)
            self._context.store.put(ACCOUNT, _KEY, {"cloudwatchRoleArn": patch.value or None})
        return self.get(request)

    def _check(self, arn: str) -> None:
        """Raises BadRequestException for a role that API Gateway may not assume."""
        match = _ROLE.fullmatch(arn)
        if match is None:
            raise bad_request(f"Invalid ARN specified in the request: {arn!r} is not that of a role")
        try:
            found = self._context.clients.of("iam").get_role(RoleName=match["name"])["Role"]
        except ClientError:
            found = None
        if found is None or found["Arn"] != arn or not self._may_assume(found["AssumeRolePolicyDocument"]):
            raise bad_request(
                "The role ARN does not have required permissions configured. Please grant trust permission for API"
                f" Gateway and add the required role policy: {arn} must be a role that {PRINCIPAL} may assume"
            )

    def _may_assume(self, trust: Any) -> bool:
        return allows(
            json.dumps(trust),
            service=PRINCIPAL,
            action="sts:AssumeRole",
            source_arn=f"arn:aws:apigateway:{self._context.region}::/account",
            account=self._context.account_id,
        )
