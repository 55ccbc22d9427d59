"""The provider of projects that are made from a product of Service Catalog: one provisioned product each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from localcloud.sagemaker.projects.provider import Client, Seen, one_line
from localcloud.store import Document

_MISSING = "ResourceNotFoundException"


class ProductProvider:
    """Provisions products; whoever calls must have access to their portfolio."""

    service = "servicecatalog"

    def create(self, client: Client, project: Mapping[str, Any], tags: Sequence[Mapping[str, str]]) -> Document:
        asked = project["Product"]
        artifact = asked.get("ProvisioningArtifactId") or _latest(client, asked["ProductId"])
        path = {"PathId": asked["PathId"]} if asked.get("PathId") else {}
        record = client.provision_product(
            ProductId=asked["ProductId"],
            ProvisioningArtifactId=artifact,
            **path,
            ProvisionedProductName=f"{project['ProjectName']}-{project['ProjectId']}",
            ProvisioningParameters=_parameters(project),
            Tags=list(tags),
            ProvisionToken=project["Operation"]["Token"],
        )["RecordDetail"]
        return {
            "ProvisionedProductId": record["ProvisionedProductId"],
            "Product": {**asked, "ProvisioningArtifactId": artifact},
        }

    def update(self, client: Client, project: Mapping[str, Any], tags: Sequence[Mapping[str, str]]) -> Document:
        if not project.get("ProvisionedProductId"):
            return self.create(client, project, tags)
        asked = project["Product"]
        artifact = asked.get("ProvisioningArtifactId") or _latest(client, asked["ProductId"])
        client.update_provisioned_product(
            ProvisionedProductId=project["ProvisionedProductId"],
            ProductId=asked["ProductId"],
            ProvisioningArtifactId=artifact,
            ProvisioningParameters=_parameters(project),
            # A product takes tags with an update only if one of its constraints allows that.
            **({"Tags": list(tags)} if project["Operation"].get("Tags") else {}),
            UpdateToken=project["Operation"]["Token"],
        )
        return {"Product": {**asked, "ProvisioningArtifactId": artifact}}

    def delete(self, client: Client, project: Mapping[str, Any]) -> Document:
        if not project.get("ProvisionedProductId"):
            return {}
        try:
            client.terminate_provisioned_product(
                ProvisionedProductId=project["ProvisionedProductId"], TerminateToken=project["Operation"]["Token"]
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != _MISSING:
                raise
        return {}

    def look(self, client: Client, project: Mapping[str, Any]) -> Seen:
        if not project.get("ProvisionedProductId"):
            return Seen("gone", project.get("Message") or "There is no provisioned product.")
        try:
            found = client.describe_provisioned_product(Id=project["ProvisionedProductId"])["ProvisionedProductDetail"]
        except ClientError as error:
            if error.response["Error"]["Code"] != _MISSING:
                raise
            return Seen("gone", "TERMINATED")
        status, message = found["Status"], one_line(found.get("StatusMessage") or found["Status"])
        if status in ("UNDER_CHANGE", "PLAN_IN_PROGRESS"):
            return Seen("working", message)
        return Seen("done" if status == "AVAILABLE" else "failed", message)

    def details(self, project: Mapping[str, Any]) -> Document:
        return {
            "ServiceCatalogProvisioningDetails": project["Product"],
            "ServiceCatalogProvisionedProductDetails": {
                "ProvisionedProductId": project.get("ProvisionedProductId"),
                "ProvisionedProductStatusMessage": project.get("Message"),
            },
        }


def _latest(client: Client, product: str) -> str:
    """The newest version of a product that may be launched."""
    artifacts = client.describe_product(Id=product)["ProvisioningArtifacts"]
    return str(max(artifacts, key=lambda one: one["CreatedTime"])["Id"])


def _parameters(project: Mapping[str, Any]) -> list[dict[str, str]]:
    given = {one["Key"]: one.get("Value", "") for one in project["Product"].get("ProvisioningParameters") or ()}
    own = {"SageMakerProjectName": project["ProjectName"], "SageMakerProjectId": project["ProjectId"]}
    return [{"Key": key, "Value": value} for key, value in {**given, **own}.items()]
