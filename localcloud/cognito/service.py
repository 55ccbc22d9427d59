"""Cognito user pools as a service: its parts put together, and its operations by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from localcloud.cognito import passwords
from localcloud.cognito.authentication import Authentication
from localcloud.cognito.clients import Clients
from localcloud.cognito.domains import Domains
from localcloud.cognito.grants import Grants
from localcloud.cognito.keys import Keys, new_key
from localcloud.cognito.pools import Pools
from localcloud.cognito.resource_servers import ResourceServers
from localcloud.cognito.sessions import Sessions
from localcloud.cognito.sites import Sites
from localcloud.cognito.tokens import Issuer, TokenRefused, Verifier
from localcloud.cognito.users import Users
from localcloud.context import Context
from localcloud.service import Handler


class Cognito:
    """The service."""

    name = "cognito-idp"

    def __init__(
        self,
        context: Context,
        *,
        new_key: Callable[[], RSAPrivateKey] = new_key,
        password_cost: int = passwords.COST,
    ) -> None:
        keys = Keys(context.store, new_key)
        self._pools = pools = Pools(context, keys)
        domains = Domains(context, pools)
        servers = ResourceServers(context, pools)
        clients = Clients(context, pools, servers)
        self._sessions = sessions = Sessions(context)
        users = Users(context, pools, sessions, password_cost)
        issuer = Issuer(context, keys)
        self._verifier = verifier = Verifier(context, keys, issuer, clients.has)
        pools.on_delete(verifier.forget)
        clients.on_delete(verifier.forget)
        grants = Grants(context, issuer, users, sessions)
        self._authentication = own = Authentication(context, clients, users, sessions, grants, verifier)
        sites = Sites(context, keys, issuer, pools, domains, servers, clients, grants)
        context.web.add("cognito-idp", sites.pool)
        context.web.add("auth", sites.domain)
        self._operations: dict[str, Handler] = {
            "CreateUserPool": pools.create,
            "DescribeUserPool": pools.describe,
            "UpdateUserPool": pools.update,
            "DeleteUserPool": pools.delete,
            "ListUserPools": pools.list,
            "TagResource": pools.tag,
            "UntagResource": pools.untag,
            "ListTagsForResource": pools.tags,
            "CreateUserPoolDomain": domains.create,
            "DescribeUserPoolDomain": domains.describe,
            "DeleteUserPoolDomain": domains.delete,
            "CreateResourceServer": servers.create,
            "DescribeResourceServer": servers.describe,
            "UpdateResourceServer": servers.update,
            "DeleteResourceServer": servers.delete,
            "ListResourceServers": servers.list,
            "CreateUserPoolClient": clients.create,
            "DescribeUserPoolClient": clients.describe,
            "UpdateUserPoolClient": clients.update,
            "DeleteUserPoolClient": clients.delete,
            "ListUserPoolClients": clients.list,
            "AdminCreateUser": users.create,
            "AdminGetUser": users.get,
            "AdminSetUserPassword": users.set_password,
            "AdminEnableUser": users.enable,
            "AdminDisableUser": users.disable,
            "AdminDeleteUser": users.delete,
            "ListUsers": users.list,
            "InitiateAuth": own.initiate,
            "RespondToAuthChallenge": own.respond,
            "RevokeToken": own.revoke,
            "GlobalSignOut": own.sign_out,
        }

    @property
    def operations(self) -> Mapping[str, Handler]:
        """What is implemented, by name."""
        return self._operations

    def start(self) -> None:
        """Forget sessions and challenges whose time is over."""
        self._sessions.prune()
        self._authentication.prune()

    def stop(self) -> None:
        """Nothing: no work of this service goes on after a call."""

    def verify(self, pool_arn: str, token: str) -> Mapping[str, Any]:
        """The claims of a token that a pool has signed, and that is valid now. Raises TokenRefused.

        That is all, as it is for API Gateway: a token that was revoked counts until it expires, and so does one of a
        user who is disabled or deleted.
        """
        pool_id = self._pools.id_of(pool_arn)
        if pool_id is None:
            raise TokenRefused("Unauthorized", reason=f"{pool_arn} is no user pool of this account and region")
        return self._verifier.verify(pool_id, token)
