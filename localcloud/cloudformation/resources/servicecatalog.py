"""AWS::ServiceCatalog::Portfolio, ::CloudFormationProduct, ::PortfolioProductAssociation, ::LaunchRoleConstraint and
::PortfolioPrincipalAssociation."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from localcloud.cloudformation.resources.kind import (
    Call,
    Properties,
    ResourceType,
    changed,
    pick,
    refuse_existing,
    tag_list,
)

_PORTFOLIO = ("Description", "DisplayName", "ProviderName")
_PRODUCT = ("Description", "Distributor", "Name", "Owner", "SupportDescription", "SupportEmail", "SupportUrl")
_ARTIFACT = ("Description", "DisableTemplateValidation", "Info", "Name")
_CLOUD_FORMATION = "CLOUD_FORMATION_TEMPLATE"


class Portfolio(ResourceType):
    name = "AWS::ServiceCatalog::Portfolio"
    attributes = frozenset({"PortfolioName"})
    changing = frozenset({"PortfolioName"})
    honours = frozenset({*_PORTFOLIO, "Tags"})

    def create(self, call: Call, properties: Properties) -> str:
        answer = call.client("servicecatalog").create_portfolio(
            **pick(properties, *_PORTFOLIO),
            **({"Tags": tag_list(call.tags)} if call.tags else {}),
            IdempotencyToken=str(uuid.uuid4()),
        )
        return str(answer["PortfolioDetail"]["Id"])

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        catalog = call.client("servicecatalog")
        cleared = {"Description": ""} if "Description" in before else {}
        catalog.update_portfolio(Id=physical_id, **cleared | pick(after, *_PORTFOLIO))
        call.retag(
            lambda tags: catalog.update_portfolio(Id=physical_id, AddTags=tag_list(tags)),
            lambda keys: catalog.update_portfolio(Id=physical_id, RemoveTags=keys),
        )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("servicecatalog").delete_portfolio(Id=physical_id)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {"PortfolioName": properties["DisplayName"]}


class Product(ResourceType):
    name = "AWS::ServiceCatalog::CloudFormationProduct"
    attributes = frozenset({"ProductName", "ProvisioningArtifactIds", "ProvisioningArtifactNames"})
    changing = attributes
    honours = frozenset(
        {
            *_PRODUCT, *(f"ProvisioningArtifactParameters.{member}" for member in _ARTIFACT), "ProductType",
            "ReplaceProvisioningArtifacts", "Tags",
        }
    )  # fmt: skip

    def create(self, call: Call, properties: Properties) -> str:
        catalog = call.client("servicecatalog")
        first = _artifacts(properties)[0]
        answer = catalog.create_product(
            **pick(properties, *_PRODUCT),
            ProductType=properties.get("ProductType", _CLOUD_FORMATION),
            ProvisioningArtifactParameters=first,
            **({"Tags": tag_list(call.tags)} if call.tags else {}),
            IdempotencyToken=str(uuid.uuid4()),
        )
        return str(answer["ProductViewDetail"]["ProductViewSummary"]["ProductId"])

    def finish(self, call: Call, physical_id: str, properties: Properties) -> None:
        self._add(call, physical_id, _artifacts(properties)[1:])

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        catalog = call.client("servicecatalog")
        if changed(before, after, *_PRODUCT):
            cleared = {name: "" for name in _PRODUCT if name in before}
            catalog.update_product(Id=physical_id, **cleared | pick(after, *_PRODUCT))
        call.retag(
            lambda tags: catalog.update_product(Id=physical_id, AddTags=tag_list(tags)),
            lambda keys: catalog.update_product(Id=physical_id, RemoveTags=keys),
        )
        self._change_artifacts(call, physical_id, before, after)

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("servicecatalog").delete_product(Id=physical_id)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        found = self._there(call, physical_id)
        return {
            "ProductName": properties["Name"],
            "ProvisioningArtifactIds": ",".join(one["Id"] for one in found),
            "ProvisioningArtifactNames": ",".join(one.get("Name", "") for one in found),
        }

    def _change_artifacts(self, call: Call, product: str, before: Properties, after: Properties) -> None:
        """The versions become those of the template: one whose template is another is a new one, and what is not
        declared any more goes. With ReplaceProvisioningArtifacts all are made anew."""
        catalog = call.client("servicecatalog")
        wanted = _artifacts(after)
        if _artifacts(before) == wanted:
            return
        there = self._there(call, product)
        replaces = bool(after.get("ReplaceProvisioningArtifacts"))
        kept: dict[str, dict[str, Any]] = {}
        new = []
        for one in wanted:
            same = next((old for old in there if old["Id"] not in kept and not replaces and _is_of(old, one)), None)
            if same is None:
                new.append(one)
            else:
                kept[same["Id"]] = one
        self._add(call, product, new)
        for old in there:
            identified = {"ProductId": product, "ProvisioningArtifactId": old["Id"]}
            if old["Id"] not in kept:
                catalog.delete_provisioning_artifact(**identified)
            elif old.get("Description", "") != kept[old["Id"]].get("Description", ""):
                description = kept[old["Id"]].get("Description", "")
                catalog.update_provisioning_artifact(**identified, Description=description)

    def _add(self, call: Call, product: str, artifacts: list[dict[str, Any]]) -> None:
        for one in artifacts:
            call.client("servicecatalog").create_provisioning_artifact(
                ProductId=product, Parameters=one, IdempotencyToken=str(uuid.uuid4())
            )

    def _there(self, call: Call, product: str) -> list[dict[str, Any]]:
        """The product's versions, each with its Info."""
        catalog = call.client("servicecatalog")
        found = []
        for one in catalog.list_provisioning_artifacts(ProductId=product)["ProvisioningArtifactDetails"]:
            answer = catalog.describe_provisioning_artifact(ProductId=product, ProvisioningArtifactId=one["Id"])
            found.append({**one, "Info": answer["Info"]})
        return found


class ProductAssociation(ResourceType):
    name = "AWS::ServiceCatalog::PortfolioProductAssociation"
    honours = frozenset({"PortfolioId", "ProductId"})

    def create(self, call: Call, properties: Properties) -> str:
        catalog = call.client("servicecatalog")
        there = catalog.get_paginator("list_portfolios_for_product").paginate(ProductId=properties["ProductId"])
        physical_id = f"{properties['PortfolioId']}|{properties['ProductId']}"
        if any(one["Id"] == properties["PortfolioId"] for page in there for one in page["PortfolioDetails"]):
            refuse_existing(self.name, physical_id)
        catalog.associate_product_with_portfolio(**pick(properties, "PortfolioId", "ProductId"))
        return physical_id

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        raise AssertionError("every property of an association is one whose change makes a new one")

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("servicecatalog").disassociate_product_from_portfolio(
            **pick(properties, "PortfolioId", "ProductId")
        )


class LaunchRoleConstraint(ResourceType):
    name = "AWS::ServiceCatalog::LaunchRoleConstraint"
    honours = frozenset({"Description", "LocalRoleName", "PortfolioId", "ProductId", "RoleArn"})

    def create(self, call: Call, properties: Properties) -> str:
        answer = call.client("servicecatalog").create_constraint(
            **pick(properties, "Description", "PortfolioId", "ProductId"),
            Type="LAUNCH",
            Parameters=_role(properties),
            IdempotencyToken=str(uuid.uuid4()),
        )
        return str(answer["ConstraintDetail"]["ConstraintId"])

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        call.client("servicecatalog").update_constraint(
            Id=physical_id, Description=after.get("Description", ""), Parameters=_role(after)
        )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("servicecatalog").delete_constraint(Id=physical_id)


class PrincipalAssociation(ResourceType):
    name = "AWS::ServiceCatalog::PortfolioPrincipalAssociation"
    honours = frozenset({"PortfolioId", "PrincipalARN", "PrincipalType"})

    def create(self, call: Call, properties: Properties) -> str:
        call.client("servicecatalog").associate_principal_with_portfolio(
            **pick(properties, "PortfolioId", "PrincipalARN", "PrincipalType")
        )
        return f"{properties['PortfolioId']}|{properties['PrincipalARN']}"

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        raise AssertionError("every property of an association is one whose change makes a new one")

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("servicecatalog").disassociate_principal_from_portfolio(
            **pick(properties, "PortfolioId", "PrincipalARN", "PrincipalType")
        )


def _artifacts(properties: Properties) -> list[dict[str, Any]]:
    """The declared versions, as the service takes them."""
    return [
        {**pick(one, *_ARTIFACT), "Type": _CLOUD_FORMATION}
        for one in properties.get("ProvisioningArtifactParameters") or ()
    ]


def _is_of(there: Mapping[str, Any], declared: Mapping[str, Any]) -> bool:
    """Whether a version is the one that a template declares: by its name, and by where its template was loaded from."""
    return bool(
        there.get("Name") == declared.get("Name")
        and there["Info"].get("TemplateUrl") == declared["Info"].get("LoadTemplateFromURL")
    )


def _role(properties: Properties) -> str:
    return json.dumps(pick(properties, "LocalRoleName", "RoleArn"))


TYPES = (Portfolio(), Product(), ProductAssociation(), LaunchRoleConstraint(), PrincipalAssociation())
