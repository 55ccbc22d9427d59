"""Products and their versions. A version's template is read once, as it is then, and kept in a bucket of the service.

On AWS that bucket is not the account's; its objects carry the tag `servicecatalog:provisioning`, by which launch roles
are allowed to read them ("Launch Constraints" in the Administrator Guide). So do these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from localcloud.cloudformation.addresses import object_at
from localcloud.context import Context, Request
from localcloud.servicecatalog.names import in_use, invalid, missing, new_id, page, refuse, tag_list, tag_map
from localcloud.store import Document

_KIND = "servicecatalog/product"
_TYPES = ("CLOUD_FORMATION_TEMPLATE", None)
_TAGGING = "servicecatalog%3Aprovisioning=true"
_OWN = ("Name", "Owner", "Description", "Distributor", "SupportDescription", "SupportEmail", "SupportUrl")
_FILTERS = ("FullTextSearch", "Owner", "ProductType", "SourceProductId")


class Products:
    """The operations on products and their versions."""

    def __init__(self, context: Context) -> None:
        self._context, self._store = context, context.store

    # --- products -----------------------------------------------------------------------------------------------------

    def get(self, product_id: str) -> Document:
        """A product by its id. Raises ResourceNotFoundException."""
        found = self._store.get(_KIND, product_id)
        if found is None:
            raise missing("Product", product_id)
        return found

    def named(self, params: Mapping[str, Any], id_member: str = "Id", name_member: str = "Name") -> Document:
        """The product that a request names by its id or by its name."""
        if bool(params.get(id_member)) == bool(params.get(name_member)):
            raise invalid(f"Specify one of {id_member} and {name_member}")
        if params.get(id_member):
            return self.get(params[id_member])
        for product in self.everything():
            if product["Name"] == params[name_member]:
                return product
        raise missing("Product", params[name_member])

    def everything(self) -> list[Document]:
        """All products, the oldest first."""
        return [product for _, product in self._store.list(_KIND)]

    def create(self, request: Request) -> dict[str, Any]:
        """CreateProduct, with its first version."""
        params = request.params
        refuse(params, "SourceConnection")
        if params["ProductType"] not in _TYPES:
            raise invalid(f"localcloud has products of type {_TYPES[0]} only; got {params['ProductType']}")
        if not params.get("ProvisioningArtifactParameters"):
            raise invalid("ProvisioningArtifactParameters is required for a product without a SourceConnection")
        known = self._repeated(params["IdempotencyToken"])
        if known is None:
            product_id = new_id("prod")
            known = {
                **{member: params[member] for member in _OWN if member in params},
                "Id": product_id,
                "ViewId": new_id("prodview"),
                "ARN": self._arn(product_id),
                "CreatedTime": self._context.clock.now(),
                "Tags": tag_map(params.get("Tags")),
                "Token": params["IdempotencyToken"],
                "Artifacts": [self._artifact(request, params["ProvisioningArtifactParameters"], product_id)],
            }
            self._store.put(_KIND, product_id, known)
        return {
            "ProductViewDetail": detail(known),
            "ProvisioningArtifactDetail": artifact_detail(known["Artifacts"][0]),
            "Tags": tag_list(known["Tags"]),
        }

    def update(self, request: Request) -> dict[str, Any]:
        """UpdateProduct."""
        params = request.params
        refuse(params, "SourceConnection")
        product = self.get(params["Id"])
        tags = {**product["Tags"], **tag_map(params.get("AddTags"))}
        product |= {member: params[member] for member in _OWN if member in params}
        product["Tags"] = {key: value for key, value in tags.items() if key not in (params.get("RemoveTags") or ())}
        self._store.put(_KIND, product["Id"], product)
        return {"ProductViewDetail": detail(product), "Tags": tag_list(product["Tags"])}

    def delete(self, product_id: str, portfolios: list[str]) -> dict[str, Any]:
        """DeleteProduct: one that is in no portfolio any more."""
        product = self.get(product_id)
        if portfolios:
            raise in_use(f"The product {product_id} is still in the portfolios {', '.join(portfolios)}")
        for artifact in product["Artifacts"]:
            self._drop_template(artifact)
        self._store.delete(_KIND, product_id)
        return {}

    def describe_as_admin(self, request: Request) -> dict[str, Any]:
        """DescribeProductAsAdmin."""
        refuse(request.params, "SourcePortfolioId")
        product = self.named(request.params)
        return {
            "ProductViewDetail": detail(product),
            "ProvisioningArtifactSummaries": [
                {member: one.get(member) for member in ("Id", "Name", "Description", "CreatedTime")}
                for one in product["Artifacts"]
            ],
            "Tags": tag_list(product["Tags"]),
        }

    # --- versions -----------------------------------------------------------------------------------------------------

    def create_artifact(self, request: Request) -> dict[str, Any]:
        """CreateProvisioningArtifact."""
        params = request.params
        product = self.get(params["ProductId"])
        token = params["IdempotencyToken"]
        artifact = next((one for one in product["Artifacts"] if one.get("Token") == token), None)
        if artifact is None:
            artifact = {**self._artifact(request, params["Parameters"], product["Id"]), "Token": token}
            self._change(product["Id"], lambda found: {**found, "Artifacts": [*found["Artifacts"], artifact]})
        return self._shown(artifact)

    def describe_artifact(self, request: Request) -> dict[str, Any]:
        """DescribeProvisioningArtifact."""
        params = request.params
        product = self.named(params, "ProductId", "ProductName")
        artifact = self.artifact(product, params)
        answer = self._shown(artifact)
        if params.get("IncludeProvisioningArtifactParameters"):
            answer["ProvisioningArtifactParameters"] = self.parameters(artifact)
        return answer

    def update_artifact(self, request: Request) -> dict[str, Any]:
        """UpdateProvisioningArtifact: its name, its description, and whether it may be launched."""
        params = request.params
        artifact = self.artifact(self.get(params["ProductId"]), params)
        given: Document = {}
        given |= {name: params[name] for name in ("Name", "Description", "Active", "Guidance") if name in params}

        def changed(product: Document) -> Document:
            artifacts = [{**one, **given} if one["Id"] == artifact["Id"] else one for one in product["Artifacts"]]
            return {**product, "Artifacts": artifacts}

        self._change(params["ProductId"], changed)
        return self._shown({**artifact, **given})

    def delete_artifact(self, request: Request) -> dict[str, Any]:
        """DeleteProvisioningArtifact: not a product's last one."""
        product = self.get(request.params["ProductId"])
        artifact = self.artifact(product, request.params)
        if len(product["Artifacts"]) == 1:
            raise in_use(f"{artifact['Id']} is the only version of the product {product['Id']}")

        def changed(found: Document) -> Document:
            return {**found, "Artifacts": [one for one in found["Artifacts"] if one["Id"] != artifact["Id"]]}

        self._change(product["Id"], changed)
        self._drop_template(artifact)
        return {}

    def list_artifacts(self, request: Request) -> dict[str, Any]:
        """ListProvisioningArtifacts."""
        product = self.get(request.params["ProductId"])
        return {"ProvisioningArtifactDetails": [artifact_detail(one) for one in product["Artifacts"]]}

    def artifact(self, product: Mapping[str, Any], params: Mapping[str, Any]) -> Document:
        """The version that a request names by its id or by its name. Raises ResourceNotFoundException."""
        artifact_id, name = params.get("ProvisioningArtifactId"), params.get("ProvisioningArtifactName")
        for artifact in product["Artifacts"]:
            if artifact_id == artifact["Id"] or (not artifact_id and name and name == artifact.get("Name")):
                found: Document = artifact
                return found
        raise missing("Provisioning artifact", str(artifact_id or name))

    def parameters(self, artifact: Mapping[str, Any]) -> list[Document]:
        """The parameters of a version's template."""
        summary = self._context.clients.of("cloudformation").get_template_summary(TemplateURL=artifact["TemplateUrl"])
        return [
            {
                "ParameterKey": one["ParameterKey"],
                "DefaultValue": one.get("DefaultValue"),
                "ParameterType": one["ParameterType"],
                "IsNoEcho": one.get("NoEcho", False),
                "Description": one.get("Description"),
                "ParameterConstraints": one.get("ParameterConstraints"),
            }
            for one in summary["Parameters"]
        ]

    def _artifact(self, request: Request, given: Mapping[str, Any], product_id: str) -> Document:
        """A new version, its template read as who asks for it."""
        if given.get("Type") not in _TYPES:
            raise invalid(f"localcloud has versions of type {_TYPES[0]} only; got {given['Type']}")
        info = given.get("Info") or {}
        if info.keys() != {"LoadTemplateFromURL"}:
            raise invalid(f"Info: localcloud loads templates with LoadTemplateFromURL; got {sorted(info)}")
        caller = self._context.principals.of(request.access_key)
        role = None if caller.endswith(":root") else caller
        artifact_id = new_id("pa")
        url = self._keep_template(info["LoadTemplateFromURL"], role, product_id, artifact_id)
        if not given.get("DisableTemplateValidation"):
            try:
                self._context.clients.of("cloudformation").validate_template(TemplateURL=url)
            except ClientError as error:
                raise invalid(f"Invalid templateBody: {error.response['Error']['Message']}") from error
        return {
            "Id": artifact_id,
            "Name": given.get("Name"),
            "Description": given.get("Description"),
            "Type": _TYPES[0],
            "CreatedTime": self._context.clock.now(),
            "Active": True,
            "Guidance": "DEFAULT",
            "Info": {"TemplateUrl": info["LoadTemplateFromURL"]},
            "TemplateUrl": url,
        }

    def _keep_template(self, url: str, role: str | None, product_id: str, artifact_id: str) -> str:
        try:
            place = object_at(url)
            body = self._context.clients.of("s3", role).get_object(**place)["Body"].read()
        except ValueError as error:
            raise invalid(f"LoadTemplateFromURL: {error}") from error
        except ClientError as error:
            raise invalid(f"LoadTemplateFromURL {url}: {error.response['Error']['Message']}") from error
        s3 = self._context.clients.of("s3")
        bucket, key = self._bucket, f"{product_id}/{artifact_id}.template"
        try:
            s3.head_bucket(Bucket=bucket)
        except ClientError:
            region = self._context.region
            there = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
            s3.create_bucket(Bucket=bucket, **there)
        s3.put_object(Bucket=bucket, Key=key, Body=body, Tagging=_TAGGING)
        return f"https://{bucket}.s3.{self._context.region}.amazonaws.com/{key}"

    def _drop_template(self, artifact: Mapping[str, Any]) -> None:
        self._context.clients.of("s3").delete_object(**object_at(artifact["TemplateUrl"]))

    @property
    def _bucket(self) -> str:
        return f"servicecatalog-templates-{self._context.account_id}-{self._context.region}"

    def _arn(self, product_id: str) -> str:
        return f"arn:aws:catalog:{self._context.region}:{self._context.account_id}:product/{product_id}"

    def _repeated(self, token: str) -> Document | None:
        return next((product for product in self.everything() if product["Token"] == token), None)

    def _change(self, product_id: str, function: Any) -> None:
        self._store.update(_KIND, product_id, function)

    def _shown(self, artifact: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "ProvisioningArtifactDetail": artifact_detail(artifact),
            "Info": artifact["Info"],
            "Status": "AVAILABLE",
        }


def summary(product: Mapping[str, Any], *, has_path: bool = False) -> Document:
    """A product as lists show it."""
    return {
        "Id": product["ViewId"],
        "ProductId": product["Id"],
        "Name": product["Name"],
        "Owner": product["Owner"],
        "ShortDescription": product.get("Description"),
        "Type": "CLOUD_FORMATION_TEMPLATE",
        "HasDefaultPath": has_path,
        **{
            member: product.get(member)
            for member in ("Distributor", "SupportDescription", "SupportEmail", "SupportUrl")
        },
    }


def detail(product: Mapping[str, Any]) -> Document:
    """A product as administrators see it."""
    return {
        "ProductViewSummary": summary(product),
        "Status": "AVAILABLE",
        "ProductARN": product["ARN"],
        "CreatedTime": product["CreatedTime"],
    }


def artifact_detail(artifact: Mapping[str, Any]) -> Document:
    """A version as administrators see it."""
    members = ("Id", "Name", "Description", "Type", "CreatedTime", "Active", "Guidance")
    return {member: artifact.get(member) for member in members}


def searched(products: list[Document], params: Mapping[str, Any]) -> tuple[list[Document], str | None]:
    """One page of the products that a search's filters leave, sorted as it asks."""
    filters: Mapping[str, list[str]] = params.get("Filters") or {}
    if unknown := sorted(filters.keys() - set(_FILTERS)):
        raise invalid(f"Filters: expected {', '.join(_FILTERS)}; got {', '.join(unknown)}")

    def is_wanted(product: Document) -> bool:
        texts = [str(product.get(member, "")).lower() for member in ("Name", "Owner", "Description")]
        return (
            all(any(word.lower() in text for text in texts) for word in filters.get("FullTextSearch") or ())
            and product["Owner"] in (filters.get("Owner") or [product["Owner"]])
            and "CLOUD_FORMATION_TEMPLATE" in (filters.get("ProductType") or ["CLOUD_FORMATION_TEMPLATE"])
            and product["Id"] in (filters.get("SourceProductId") or [product["Id"]])
        )

    found = [product for product in products if is_wanted(product)]
    keys = {
        "Title": lambda product: product["Name"],
        "VersionCount": lambda product: len(product["Artifacts"]),
        "CreationDate": lambda product: product["CreatedTime"],
    }
    found.sort(key=keys[params.get("SortBy", "CreationDate")], reverse=params.get("SortOrder") == "DESCENDING")
    return page(found, params)
