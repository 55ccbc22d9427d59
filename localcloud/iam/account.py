"""The authority of a localcloud, put together from where roles, policies and what conditions ask for are kept."""

from __future__ import annotations

import json

from localcloud.calls import Calls
from localcloud.clients import Clients
from localcloud.clock import Clock
from localcloud.iam.authority import Authority, Surroundings
from localcloud.iam.beyond import Beyond
from localcloud.iam.naming import Naming
from localcloud.iam.resources import ResourcePolicies
from localcloud.iam.roles import StoredRoles
from localcloud.leaf import Leaf
from localcloud.principals import Principals
from localcloud.store import Store


def authority(
    leaf: Leaf,
    store: Store,
    clients: Clients,
    principals: Principals,
    calls: Calls,
    clock: Clock,
    region: str,
    account_id: str,
) -> Authority:
    """Over all that is not asked for before the first call: moto starts later, and so do the clients."""
    roles = StoredRoles(lambda: leaf.client("iam"))
    beyond = Beyond(leaf.client, clients.of, roles, store.get)

    def of_function(arn: str) -> str | None:
        # An alias or a version of a function, which localcloud has not, would follow the name.
        stored = store.get("lambda/policy", arn.partition(":function:")[2].partition(":")[0])
        return json.dumps({"Version": "2012-10-17", "Statement": stored["Statements"]}) if stored else None

    return Authority(
        calls,
        principals,
        roles,
        ResourcePolicies(leaf.client, {"lambda": of_function}),
        Surroundings(region, account_id, clock.now, beyond),
        Naming(leaf.client, leaf.changes),
    )
