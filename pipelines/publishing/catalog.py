"""Service Catalog's product, of which a version is a provisioning artifact."""

from __future__ import annotations

from typing import Any

import boto3

from pipelines.session import client

__all__ = ["artifact", "bring"]


def bring(session: boto3.Session, product_id: str, version: str, template_url: str) -> None:
    """Add a version to the product, unless it has it."""
    if artifact(session, product_id, version) is not None:
        return
    client(session, "servicecatalog").create_provisioning_artifact(
        ProductId=product_id,
        Parameters={
            "Name": version,
            "Description": f"Version {version}",
            "Info": {"LoadTemplateFromURL": template_url},
            "Type": "CLOUD_FORMATION_TEMPLATE",
        },
        # Letters, digits and hyphens.
        IdempotencyToken=f"mlops-{version.replace('.', '-')}",
    )


def artifact(session: boto3.Session, product_id: str, version: str) -> str | None:
    """The id of a version's provisioning artifact; None while the product has none."""
    servicecatalog: Any = client(session, "servicecatalog")
    details = servicecatalog.list_provisioning_artifacts(ProductId=product_id)["ProvisioningArtifactDetails"]
    return next((str(detail["Id"]) for detail in details if detail["Name"] == version), None)
