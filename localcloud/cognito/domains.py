"""Domains: under which name a user pool's token endpoint is reached."""

from __future__ import annotations

from typing import Any

from localcloud.cognito.errors import Settings, invalid, refuse
from localcloud.cognito.pools import DOMAIN, Pools
from localcloud.context import Context, Request

# There are no pages at which users sign in, so that none can look newer.
_NOT_HERE: Settings = {"CustomDomainConfig": (), "Routing": (), "ManagedLoginVersion": (1,)}
_RESERVED = ("aws", "amazon", "cognito")


class Domains:
    """The operations on domains."""

    def __init__(self, context: Context, pools: Pools) -> None:
        self._context, self._pools = context, pools

    def pool_id(self, domain: str) -> str | None:
        """The pool that a domain belongs to; None if there is no such domain."""
        document = self._context.store.get(DOMAIN, domain)
        return None if document is None else document["UserPoolId"]

    def create(self, request: Request) -> dict[str, Any]:
        """CreateUserPoolDomain."""
        params = request.params
        refuse("domains of user pools", params, _NOT_HERE)
        domain, pool_id = params["Domain"], params["UserPoolId"]
        for word in _RESERVED:
            if word in domain:
                raise invalid(f"Domain cannot contain reserved word: {word}")
        with self._context.store.transaction():
            self._pools.named(pool_id)
            if self._pools.domain(pool_id) is not None:
                raise invalid("User pool already has a domain configured.")
            if not self._context.store.put(DOMAIN, domain, {"Domain": domain, "UserPoolId": pool_id}, if_absent=True):
                raise invalid("Domain already associated with another user pool.")
        return {"ManagedLoginVersion": 1}

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribeUserPoolDomain. Of a domain that is not there it says nothing, as on AWS."""
        domain = request.params["Domain"]
        pool_id = self.pool_id(domain)
        if pool_id is None:
            return {"DomainDescription": {}}
        return {
            "DomainDescription": {
                "UserPoolId": pool_id,
                "AWSAccountId": self._context.account_id,
                "Domain": domain,
                "Status": "ACTIVE",
                "ManagedLoginVersion": 1,
            }
        }

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteUserPoolDomain."""
        domain, pool_id = request.params["Domain"], request.params["UserPoolId"]
        with self._context.store.transaction():
            self._pools.named(pool_id)
            if self.pool_id(domain) != pool_id:
                raise invalid("No such domain or user pool exists.")
            self._context.store.delete(DOMAIN, domain)
        return {}
