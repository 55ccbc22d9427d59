"""CreateDomain, DescribeDomain, ListDomains and DeleteDomain: the record of a Studio domain, without a Studio.

A domain's tag `sagemaker:projectS3TemplatesLocation` tells Studio where the templates of projects lie.
Source: CreateDomain and "Create a custom project template" in the Developer Guide.
"""

from __future__ import annotations

from typing import Any

from localcloud.context import Context, Request
from localcloud.errors import not_found
from localcloud.sagemaker import shapes
from localcloud.sagemaker.arns import Arns, random_id
from localcloud.sagemaker.crud import paginate
from localcloud.sagemaker.tags import KIND as TAGS
from localcloud.store import Document

_KIND = "sagemaker/domain"
_ID_LENGTH = 12


class Domains:
    """The operations."""

    def __init__(self, context: Context, arns: Arns) -> None:
        self._context, self._store, self._arns = context, context.store, arns

    def create(self, request: Request) -> dict[str, Any]:
        """CreateDomain. It is InService at once: nothing runs in it."""
        params = {name: value for name, value in request.params.items() if name != "Tags"}
        domain_id = f"d-{random_id(_ID_LENGTH)}"
        now = self._context.clock.now()
        document: Document = {
            **params,
            "DomainId": domain_id,
            "DomainArn": self._arns.of("domain", domain_id),
            "Status": "InService",
            "Url": f"https://{domain_id}.studio.{self._context.region}.sagemaker.aws",
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        with self._store.transaction():
            self._store.put(_KIND, domain_id, document)
            if request.params.get("Tags"):
                self._store.put(TAGS, document["DomainArn"], {"Tags": request.params["Tags"]})
        return {name: document[name] for name in ("DomainArn", "DomainId", "Url")}

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribeDomain. Raises ResourceNotFound."""
        return shapes.project(self._get(request.params["DomainId"]), shapes.output_shape("DescribeDomain").name)

    def list(self, request: Request) -> dict[str, Any]:
        """ListDomains, the oldest first."""
        domains = [document for _, document in self._store.list(_KIND)]
        page, token = paginate(request.operation, domains, request.params, lambda domain: str(domain["DomainId"]))
        return {"Domains": [shapes.project(domain, "DomainDetails") for domain in page], "NextToken": token}

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteDomain. Raises ResourceNotFound."""
        domain = self._get(request.params["DomainId"])
        with self._store.transaction():
            self._store.delete(_KIND, domain["DomainId"])
            self._store.delete(TAGS, domain["DomainArn"])
        return {}

    def _get(self, domain_id: str) -> Document:
        found = self._store.get(_KIND, domain_id)
        if found is None:
            raise not_found(f"Domain {domain_id} does not exist.")
        return found
