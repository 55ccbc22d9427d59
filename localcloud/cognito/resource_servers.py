"""Resource servers: the scopes of APIs, which clients may ask for."""

from __future__ import annotations

from typing import Any

from localcloud.cognito.errors import invalid, missing, page
from localcloud.cognito.pools import SERVER, Pools
from localcloud.context import Context, Request

_PAGE = 50


class ResourceServers:
    """The operations on resource servers."""

    def __init__(self, context: Context, pools: Pools) -> None:
        self._context, self._pools = context, pools

    def scopes(self, pool_id: str) -> frozenset[str]:
        """The scopes of a pool's resource servers, as tokens name them: `{identifier}/{scope}`."""
        return frozenset(
            f"{document['Identifier']}/{scope['ScopeName']}"
            for _, document in self._context.store.list(SERVER, f"{pool_id}/")
            for scope in document.get("Scopes", ())
        )

    def create(self, request: Request) -> dict[str, Any]:
        """CreateResourceServer."""
        document = _document(request)
        pool_id, identifier = document["UserPoolId"], document["Identifier"]
        with self._context.store.transaction():
            self._pools.named(pool_id)
            if not self._context.store.put(SERVER, f"{pool_id}/{identifier}", document, if_absent=True):
                raise invalid(f"{identifier} already exists in user pool {pool_id}.")
        return {"ResourceServer": document}

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribeResourceServer."""
        pool_id, identifier = request.params["UserPoolId"], request.params["Identifier"]
        self._pools.named(pool_id)
        document = self._context.store.get(SERVER, f"{pool_id}/{identifier}")
        if document is None:
            raise _missing(identifier)
        return {"ResourceServer": document}

    def update(self, request: Request) -> dict[str, Any]:
        """UpdateResourceServer: scopes that are not named are taken away."""
        document = _document(request)
        pool_id, identifier = document["UserPoolId"], document["Identifier"]
        self._pools.named(pool_id)
        try:
            self._context.store.update(SERVER, f"{pool_id}/{identifier}", lambda _: document)
        except KeyError:
            raise _missing(identifier) from None
        return {"ResourceServer": document}

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteResourceServer: clients keep the names of its scopes, and get no more tokens with them."""
        pool_id, identifier = request.params["UserPoolId"], request.params["Identifier"]
        self._pools.named(pool_id)
        if not self._context.store.delete(SERVER, f"{pool_id}/{identifier}"):
            raise _missing(identifier)
        return {}

    def list(self, request: Request) -> dict[str, Any]:
        """ListResourceServers."""
        params = request.params
        self._pools.named(params["UserPoolId"])
        documents = [document for _, document in self._context.store.list(SERVER, f"{params['UserPoolId']}/")]
        size = params.get("MaxResults", _PAGE)
        found, token = page("ListResourceServers", documents, size, params.get("NextToken"), "Identifier")
        return {"ResourceServers": list(found), "NextToken": token}


def _document(request: Request) -> dict[str, Any]:
    params = request.params
    names = [scope["ScopeName"] for scope in params.get("Scopes", ())]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise invalid(f"Duplicate scope names in resource server {params['Identifier']}: {', '.join(twice)}")
    return {member: params[member] for member in ("UserPoolId", "Identifier", "Name", "Scopes") if member in params}


def _missing(identifier: str) -> Exception:
    return missing(f"Resource server {identifier} does not exist.")
