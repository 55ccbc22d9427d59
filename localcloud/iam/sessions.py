"""STS: roles are assumed by those whom their trust policies let, and what STS gives out are the role's credentials.

Of a token of OpenID Connect its claims are read and its signature is not checked, for which the provider's keys would
have to be fetched: on one machine a token proves nothing, and what it says is taken as what a real one would say.

Source: AssumeRole, AssumeRoleWithWebIdentity and GetCallerIdentity in the STS API Reference; "Create a role for OpenID
Connect federation" in the IAM User Guide.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from localcloud.context import Request
from localcloud.errors import ServiceError
from localcloud.iam.authority import Authority, check_session_policy
from localcloud.iam.denials import denied
from localcloud.iam.evaluation import Decision
from localcloud.iam.facts import Asked
from localcloud.iam.policy import Actor
from localcloud.principals import Caller, Principals
from localcloud.protocols import models
from localcloud.service import Handler

_REFUSED = (
    "PolicyArns", "ProvidedContexts", "SerialNumber", "SourceIdentity", "Tags", "TokenCode", "TransitiveTagKeys",
)  # fmt: skip
_DEFAULT_SECONDS = 3_600
_MOST_SECONDS_OF_A_ROLES_OWN = 3_600


class Sessions:
    """The operations of STS that are about roles. Any thread may call."""

    def __init__(self, authority: Authority, principals: Principals, iam: Callable[[], Any]) -> None:
        """iam: gives the client that reads roles and identity providers."""
        self._authority, self._principals, self._iam = authority, principals, iam
        self.operations: Mapping[str, Handler] = {
            "AssumeRole": self.assume_role,
            "AssumeRoleWithWebIdentity": self.assume_role_with_web_identity,
            "GetCallerIdentity": self.get_caller_identity,
        }

    def assume_role(self, request: Request) -> dict[str, Any]:
        """AssumeRole. Raises AccessDenied, also for a role that does not exist."""
        params, caller = request.params, self._principals.caller(request.access_key)
        self._authority.check_session(caller, "sts")
        arn = params["RoleArn"]
        role = self._authority.roles.get(arn)
        decision = Decision(False)
        if role is not None:
            asked = Asked("sts", "AssumeRole", params, request.headers)
            decision = self._authority.assume(caller, asked, "sts:AssumeRole", role)
        if not decision.allowed:
            raise denied("sts", models.QUERY, caller.shown, "sts:AssumeRole", arn, decision, role is None)
        return self._session(params, chained=not caller.is_root)

    def assume_role_with_web_identity(self, request: Request) -> dict[str, Any]:
        """AssumeRoleWithWebIdentity. Raises InvalidIdentityToken, ExpiredTokenException and AccessDenied."""
        params = request.params
        if params.get("ProviderId"):
            raise ServiceError("ValidationError", "localcloud knows tokens of OpenID Connect only: give no ProviderId")
        claims = _claims(params["WebIdentityToken"])
        issuer = str(claims.get("iss", "")).removeprefix("https://").rstrip("/")
        provider = f"arn:aws:iam::{self._authority.account_id}:oidc-provider/{issuer}"
        audiences = self._audiences(provider)
        if audiences is None:
            raise ServiceError(
                "InvalidIdentityToken", f"No OpenIDConnect provider found in your account for https://{issuer}"
            )
        given = claims.get("aud", [])
        given = [str(one) for one in (given if isinstance(given, list) else [given])]
        if not set(given) & set(audiences):
            raise ServiceError("InvalidIdentityToken", f"Incorrect token audience: {', '.join(given) or 'none'}")
        expires = claims.get("exp")
        if not isinstance(expires, int | float) or self._authority.now().timestamp() >= expires:
            raise ServiceError("ExpiredTokenException", f"Token expired: its claim exp is {expires!r}")
        role = self._authority.roles.get(params["RoleArn"])
        action = "sts:AssumeRoleWithWebIdentity"
        keys = {f"{issuer}:aud".lower(): given, f"{issuer}:sub".lower(): [str(claims.get("sub", ""))]}
        actor = Actor(frozenset({provider}), "Federated")
        asked = Asked("sts", "AssumeRoleWithWebIdentity", params, request.headers)
        if role is None or not self._authority.assume(None, asked, action, role, actor, keys).allowed:
            raise ServiceError("AccessDenied", f"Not authorized to perform {action}", 403)
        answer = self._session(params, chained=False)
        return {
            **answer,
            "Audience": given[0],
            "Provider": provider,
            "SubjectFromWebIdentityToken": str(claims.get("sub", "")),
        }

    def get_caller_identity(self, request: Request) -> dict[str, Any]:
        """GetCallerIdentity."""
        caller = self._principals.caller(request.access_key)
        self._authority.check_session(caller, "sts")
        account = self._authority.account_id
        if caller.is_root:
            return {"UserId": account, "Account": account, "Arn": caller.arn}
        role = self._authority.roles.get(caller.arn)
        if role is None:
            raise ServiceError("InvalidClientTokenId", f"The role {caller.arn} does not exist", 403)
        return {"UserId": f"{role.role_id}:{caller.session_name}", "Account": account, "Arn": caller.shown}

    def _session(self, params: Mapping[str, Any], *, chained: bool) -> dict[str, Any]:
        """New credentials of a role that may be had."""
        for member in _REFUSED:
            if params.get(member):
                raise ServiceError("ValidationError", f"localcloud's sessions have no {member}; got {params[member]!r}")
        policy = params.get("Policy")
        if policy:
            check_session_policy(policy)
        arn, name = params["RoleArn"], params["RoleSessionName"]
        seconds = params.get("DurationSeconds", _DEFAULT_SECONDS)
        most = self._iam().get_role(RoleName=arn.rpartition("/")[2])["Role"]["MaxSessionDuration"]
        most = min(most, _MOST_SECONDS_OF_A_ROLES_OWN) if chained else most
        if seconds > most:
            because = "for roles assumed by role chaining" if chained else "for this role"
            raise ServiceError(
                "ValidationError",
                f"The requested DurationSeconds exceeds the MaxSessionDuration set {because}: {seconds} of {most}",
            )
        ends = self._authority.now() + timedelta(seconds=seconds)
        access_key = f"LCS{secrets.token_hex(9)[:17].upper()}"
        caller = Caller(arn, name, (policy,) if policy else (), ends)
        self._principals.issue(access_key, caller)
        role = self._authority.roles.get(arn)
        return {
            "Credentials": {
                "AccessKeyId": access_key,
                "SecretAccessKey": secrets.token_urlsafe(30),
                "SessionToken": secrets.token_urlsafe(120),
                "Expiration": ends,
            },
            "AssumedRoleUser": {
                "AssumedRoleId": f"{role.role_id if role is not None else ''}:{name}",
                "Arn": caller.shown,
            },
        }

    def _audiences(self, provider: str) -> list[str] | None:
        """The audiences of a provider of the account; None if there is no such provider."""
        iam = self._iam()
        try:
            found: list[str] = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=provider)["ClientIDList"]
            return found
        except iam.exceptions.NoSuchEntityException:
            return None


def _claims(token: str) -> Mapping[str, Any]:
    """What a JSON Web Token says. Raises ServiceError for what is none."""
    try:
        _, payload, _ = token.split(".")
        found = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        if isinstance(found, dict):
            return found
    except ValueError:
        pass
    raise ServiceError("InvalidIdentityToken", "The ID Token provided is not a valid JWT.")
