"""WAF as a service: its parts put together, and its operations by name."""

from __future__ import annotations

from collections.abc import Mapping

from localcloud.context import Context
from localcloud.protocols.http import HttpRequest
from localcloud.service import Handler
from localcloud.waf.acls import Acls
from localcloud.waf.evaluation import evaluate
from localcloud.waf.verdict import PASSED, Verdict


class Waf:
    """The service. What stands behind a web ACL asks `inspect` before it answers a request, says which resources there
    are (`connect`), and tells when one goes (`release`, `load`)."""

    name = "wafv2"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._acls = acls = Acls(context)
        self.connect, self.release, self.load = acls.connect, acls.release, acls.load
        self._operations: dict[str, Handler] = {
            "CreateWebACL": acls.create,
            "GetWebACL": acls.get,
            "UpdateWebACL": acls.update,
            "DeleteWebACL": acls.delete,
            "ListWebACLs": acls.list_acls,
            "CheckCapacity": acls.check_capacity,
            "AssociateWebACL": acls.associate,
            "DisassociateWebACL": acls.disassociate,
            "GetWebACLForResource": acls.get_for_resource,
            "ListResourcesForWebACL": acls.list_resources,
            "TagResource": acls.tag,
            "UntagResource": acls.untag,
            "ListTagsForResource": acls.tags,
        }

    @property
    def operations(self) -> Mapping[str, Handler]:
        """What is implemented, by name."""
        return self._operations

    def start(self) -> None:
        """Read the web ACLs of an earlier localcloud. What their rules have counted begins anew."""
        self._acls.load()

    def stop(self) -> None:
        """Nothing."""

    def inspect(self, resource_arn: str, request: HttpRequest) -> Verdict:
        """What the web ACL of a resource (`arn:aws:apigateway:REGION::/restapis/API/stages/STAGE`) says of a request
        to it: PASSED if it has none. It counts the request, and measures what becomes of it."""
        acl = self._acls.of(resource_arn)
        if acl is None:
            return PASSED
        verdict, measurements = evaluate(acl, request, self._context.clock.now(), self._context.region)
        if measurements:
            self._context.signals.measurements(measurements)
        return verdict
