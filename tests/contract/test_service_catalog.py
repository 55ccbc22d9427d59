"""Service Catalog: portfolios and products that administrators offer, and what users launch from them."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.contract.sagemaker_account import Account, error_of, until
from tests.contract.stacks import Stacks

TEMPLATE: dict[str, Any] = {
    "Parameters": {
        "SageMakerProjectName": {"Type": "String", "Description": "Whose"},
        "SageMakerProjectId": {"Type": "String", "Default": "none"},
        "Value": {"Type": "String", "Default": "1", "AllowedValues": ["1", "2", "bad"]},
    },
    "Conditions": {"Fails": {"Fn::Equals": [{"Ref": "Value"}, "bad"]}},
    "Resources": {
        "Kept": {
            "Type": "AWS::SSM::Parameter",
            "Properties": {
                "Name": {"Fn::Sub": "/${SageMakerProjectName}/value"},
                "Type": "String",
                "Value": {"Ref": "Value"},
            },
        },
        "Bad": {
            "Type": "AWS::SQS::Queue",
            "Condition": "Fails",
            "DependsOn": "Kept",
            "Properties": {"QueueName": "no spaces"},
        },
    },
    "Outputs": {"Name": {"Value": {"Ref": "Kept"}, "Description": "its name"}},
}
LAUNCHES = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


def trust(service: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


class Catalog:
    """What the tests do with the catalog. Everything is undone at the end, the latest first."""

    def __init__(self, account: Account) -> None:
        self.account, self.client = account, account.client("servicecatalog")
        self._undone: list[Callable[[], Any]] = []

    def later(self, function: Callable[..., Any], **params: Any) -> None:
        self._undone.append(partial(function, **params))

    def undo(self) -> None:
        while self._undone:
            self._undone.pop()()

    def url(self, document: Any = TEMPLATE) -> str:
        """The address of a template, after it has been put into the bucket."""
        uri = self.account.put(json.dumps(document), "template.json").removeprefix("s3://")
        bucket, _, prefix = uri.partition("/")
        return f"https://{bucket}.s3.{self.account.region}.amazonaws.com/{prefix}/template.json"

    def portfolio(self) -> str:
        answer = self.client.create_portfolio(
            DisplayName=self.account.name("portfolio"), ProviderName="platform", IdempotencyToken=str(uuid.uuid4())
        )
        portfolio = answer["PortfolioDetail"]["Id"]
        self.later(self.client.delete_portfolio, Id=portfolio)
        return str(portfolio)

    def product(self, *portfolios: str, **params: Any) -> str:
        """A product in these portfolios."""
        answer = self.client.create_product(
            Name=params.pop("Name", self.account.name("product")),
            Owner="platform",
            ProductType="CLOUD_FORMATION_TEMPLATE",
            ProvisioningArtifactParameters=self.version(params.pop("url", None) or self.url(), "v1"),
            IdempotencyToken=str(uuid.uuid4()),
            **params,
        )
        product = str(answer["ProductViewDetail"]["ProductViewSummary"]["ProductId"])
        self.later(self.client.delete_product, Id=product)
        for portfolio in portfolios:
            association = {"ProductId": product, "PortfolioId": portfolio}
            self.client.associate_product_with_portfolio(**association)
            self.later(self.client.disassociate_product_from_portfolio, **association)
        return product

    def version(self, url: str, name: str) -> dict[str, Any]:
        return {"Name": name, "Info": {"LoadTemplateFromURL": url}, "Type": "CLOUD_FORMATION_TEMPLATE"}

    def artifact(self, product: str) -> str:
        """The first version of a product."""
        found = self.client.list_provisioning_artifacts(ProductId=product)["ProvisioningArtifactDetails"]
        return str(found[0]["Id"])

    def launch(self, product: str, client: Any = None, **values: str) -> dict[str, Any]:
        """A provisioned product, and the end of its record; it is terminated at the end of the test."""
        client = client or self.client
        name = self.account.name("launched")
        values.setdefault("SageMakerProjectName", name)
        record = client.provision_product(
            ProductId=product,
            ProvisioningArtifactId=self.artifact(product),
            ProvisionedProductName=name,
            ProvisioningParameters=[{"Key": key, "Value": value} for key, value in values.items()],
            ProvisionToken=str(uuid.uuid4()),
        )["RecordDetail"]
        self.later(self.terminate, provisioned=record["ProvisionedProductId"])
        return self.ended(record["RecordId"])

    def ended(self, record_id: str) -> dict[str, Any]:
        def over() -> dict[str, Any] | None:
            record: dict[str, Any] = self.client.describe_record(Id=record_id)
            return record if record["RecordDetail"]["Status"] in ("SUCCEEDED", "FAILED") else None

        found: dict[str, Any] = until(over, f"the record {record_id} has ended")
        return found

    def detail(self, provisioned: str) -> dict[str, Any]:
        found = self.client.describe_provisioned_product(Id=provisioned)
        detail: dict[str, Any] = found["ProvisionedProductDetail"]
        return detail

    def update(self, provisioned: str, **params: Any) -> dict[str, Any]:
        record = self.client.update_provisioned_product(
            ProvisionedProductId=provisioned, UpdateToken=str(uuid.uuid4()), **params
        )
        return self.ended(record["RecordDetail"]["RecordId"])

    def terminate(self, provisioned: str) -> None:
        if error := self.missing(provisioned):
            assert error == "ResourceNotFoundException"
            return
        record = self.client.terminate_provisioned_product(
            ProvisionedProductId=provisioned, TerminateToken=str(uuid.uuid4())
        )
        assert self.ended(record["RecordDetail"]["RecordId"])["RecordDetail"]["Status"] == "SUCCEEDED"

    def missing(self, provisioned: str) -> str | None:
        try:
            self.detail(provisioned)
        except self.client.exceptions.ResourceNotFoundException as error:
            return str(error.response["Error"]["Code"])
        return None

    def value(self, name: str) -> str:
        return str(self.account.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])


@pytest.fixture(scope="module")
def account(cloud: Any) -> Account:
    """The account under test."""
    return Account.of(cloud)


@pytest.fixture
def catalog(account: Account) -> Iterator[Catalog]:
    """The catalog; what a test makes in it is gone at the end."""
    found = Catalog(account)
    yield found
    found.undo()


# --- what administrators offer ----------------------------------------------------------------------------------------


def test_a_portfolio_is_made_changed_and_deleted(catalog: Catalog) -> None:
    portfolio = catalog.portfolio()
    catalog.client.update_portfolio(Id=portfolio, Description="changed", AddTags=[{"Key": "a", "Value": "b"}])
    found = catalog.client.describe_portfolio(Id=portfolio)
    assert found["PortfolioDetail"]["Description"] == "changed"
    assert found["PortfolioDetail"]["ARN"].endswith(f":portfolio/{portfolio}")
    assert found["Tags"] == [{"Key": "a", "Value": "b"}]
    pages = catalog.client.get_paginator("list_portfolios").paginate(PaginationConfig={"PageSize": 1})
    assert portfolio in [one["Id"] for page in pages for one in page["PortfolioDetails"]]
    product = catalog.product(portfolio)
    assert error_of(catalog.client.delete_portfolio, Id=portfolio)[0] == "ResourceInUseException"
    assert error_of(catalog.client.delete_product, Id=product)[0] == "ResourceInUseException"


def test_a_product_has_versions(catalog: Catalog) -> None:
    product = catalog.product(Description="A project", Tags=[{"Key": "sagemaker:studio-visibility", "Value": "true"}])
    first = catalog.artifact(product)
    answer = catalog.client.create_provisioning_artifact(
        ProductId=product, Parameters=catalog.version(catalog.url(), "v2"), IdempotencyToken=str(uuid.uuid4())
    )
    second = answer["ProvisioningArtifactDetail"]["Id"]
    found = catalog.client.describe_product_as_admin(Id=product)
    assert found["ProductViewDetail"]["ProductViewSummary"]["ShortDescription"] == "A project"
    assert found["Tags"] == [{"Key": "sagemaker:studio-visibility", "Value": "true"}]
    assert [one["Name"] for one in found["ProvisioningArtifactSummaries"]] == ["v1", "v2"]
    parameters = catalog.client.describe_provisioning_artifact(
        ProductId=product, ProvisioningArtifactId=second, IncludeProvisioningArtifactParameters=True
    )["ProvisioningArtifactParameters"]
    assert [one["ParameterKey"] for one in parameters] == list(TEMPLATE["Parameters"])
    catalog.client.update_provisioning_artifact(ProductId=product, ProvisioningArtifactId=first, Active=False)
    catalog.client.delete_provisioning_artifact(ProductId=product, ProvisioningArtifactId=second)
    code, _ = error_of(catalog.client.delete_provisioning_artifact, ProductId=product, ProvisioningArtifactId=first)
    assert code == "ResourceInUseException"
    pages = catalog.client.search_products_as_admin(
        Filters={"FullTextSearch": [found["ProductViewDetail"]["ProductViewSummary"]["Name"]]}
    )
    (one,) = pages["ProductViewDetails"]
    assert one["ProductViewSummary"]["ProductId"] == product


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"Resources": {}}, "At least one Resources member"),
        ({"Resources": {"A": {"Type": "AWS::No::Such"}}}, "No::Such"),
    ],
)
def test_a_version_whose_template_is_none_is_refused(catalog: Catalog, document: Any, said: str) -> None:
    code, message = error_of(
        catalog.client.create_product,
        Name=catalog.account.name("product"),
        Owner="platform",
        ProductType="CLOUD_FORMATION_TEMPLATE",
        ProvisioningArtifactParameters=catalog.version(catalog.url(document), "v1"),
        IdempotencyToken=str(uuid.uuid4()),
    )
    assert code == "InvalidParametersException"
    assert said in message


def test_a_constraint_names_a_role(catalog: Catalog) -> None:
    portfolio = catalog.portfolio()
    product = catalog.product(portfolio)
    given = {"PortfolioId": portfolio, "ProductId": product, "Type": "LAUNCH", "IdempotencyToken": str(uuid.uuid4())}
    made = catalog.client.create_constraint(**given, Parameters='{"LocalRoleName": "launch"}', Description="d")
    constraint = made["ConstraintDetail"]["ConstraintId"]
    assert (made["Status"], made["ConstraintParameters"]) == ("AVAILABLE", '{"LocalRoleName": "launch"}')
    again = {**given, "IdempotencyToken": str(uuid.uuid4()), "Parameters": '{"LocalRoleName": "other"}'}
    assert error_of(catalog.client.create_constraint, **again)[0] == "DuplicateResourceException"
    catalog.client.update_constraint(Id=constraint, Parameters='{"RoleArn": "arn:aws:iam::123456789012:role/launch"}')
    listed = catalog.client.list_constraints_for_portfolio(PortfolioId=portfolio, ProductId=product)
    assert [one["ConstraintId"] for one in listed["ConstraintDetails"]] == [constraint]
    (path,) = catalog.client.list_launch_paths(ProductId=product)["LaunchPathSummaries"]
    assert path["ConstraintSummaries"] == [{"Type": "LAUNCH", "Description": "d"}]
    code, message = error_of(catalog.client.create_constraint, **{**again, "Parameters": '{"Role": "x"}'})
    assert code == "InvalidParametersException"
    assert "LocalRoleName" in message
    code, _ = error_of(catalog.client.disassociate_product_from_portfolio, ProductId=product, PortfolioId=portfolio)
    assert code == "ResourceInUseException"
    catalog.client.delete_constraint(Id=constraint)
    assert error_of(catalog.client.describe_constraint, Id=constraint)[0] == "ResourceNotFoundException"


# --- what users launch ------------------------------------------------------------------------------------------------


def test_a_product_is_launched_changed_and_terminated(catalog: Catalog, account: Account) -> None:
    product = catalog.product(catalog.portfolio(), Tags=[{"Key": "offered", "Value": "yes"}])
    parameters = catalog.client.describe_provisioning_parameters(
        ProductId=product, ProvisioningArtifactId=catalog.artifact(product)
    )["ProvisioningArtifactParameters"]
    assert [one["ParameterKey"] for one in parameters] == list(TEMPLATE["Parameters"])
    assert parameters[2]["ParameterConstraints"]["AllowedValues"] == ["1", "2", "bad"]

    record = catalog.launch(product, Value="2")
    detail = record["RecordDetail"]
    assert (detail["Status"], detail["RecordType"]) == ("SUCCEEDED", "PROVISION_PRODUCT"), detail
    provisioned = detail["ProvisionedProductId"]
    shown = catalog.detail(provisioned)
    assert (shown["Status"], shown["Type"]) == ("AVAILABLE", "CFN_STACK")
    assert shown["LastSuccessfulProvisioningRecordId"] == detail["RecordId"]
    (output,) = catalog.client.get_provisioned_product_outputs(ProvisionedProductId=provisioned)["Outputs"]
    assert (output["OutputKey"], output["Description"]) == ("Name", "its name")
    assert catalog.value(output["OutputValue"]) == "2"
    found = catalog.client.search_provisioned_products(Filters={"SearchQuery": [f"name:{shown['Name']}"]})
    (one,) = found["ProvisionedProducts"]
    assert re.search(r":stack/SC-\d{12}-pp-[a-z0-9]+/", one["PhysicalId"])
    (stack,) = account.client("cloudformation").describe_stacks(StackName=one["PhysicalId"])["Stacks"]
    assert {"Key": "offered", "Value": "yes"} in stack["Tags"]

    record = catalog.update(provisioned, ProvisioningParameters=[{"Key": "Value", "Value": "1"}])
    assert record["RecordDetail"]["Status"] == "SUCCEEDED"
    assert catalog.value(output["OutputValue"]) == "1"
    # Nothing to change is no failure.
    assert catalog.update(provisioned)["RecordDetail"]["Status"] == "SUCCEEDED"

    record = catalog.update(provisioned, ProvisioningParameters=[{"Key": "Value", "Value": "bad"}])
    (error,) = record["RecordDetail"]["RecordErrors"]
    assert error["Description"].startswith("UPDATE_ROLLBACK_COMPLETE: Bad: ")
    assert catalog.detail(provisioned)["Status"] == "TAINTED"

    catalog.terminate(provisioned)
    assert catalog.missing(provisioned) == "ResourceNotFoundException"


def test_a_launch_that_fails_tells_why(catalog: Catalog) -> None:
    product = catalog.product(catalog.portfolio())
    record = catalog.launch(product, Value="bad")["RecordDetail"]
    assert record["Status"] == "FAILED"
    assert record["RecordErrors"][0]["Description"].startswith("ROLLBACK_COMPLETE: Bad: ")
    assert catalog.detail(record["ProvisionedProductId"])["Status"] == "ERROR"
    record = catalog.launch(product, Value="3")["RecordDetail"]
    assert "must be one of AllowedValues" in record["RecordErrors"][0]["Description"]


def test_a_product_without_a_path_cannot_be_launched(catalog: Catalog) -> None:
    product = catalog.product()
    given = {"ProductId": product, "ProvisioningArtifactId": catalog.artifact(product)}
    launch = {**given, "ProvisionedProductName": "n", "ProvisionToken": "t"}
    code, message = error_of(catalog.client.provision_product, **launch)
    assert code == "ResourceNotFoundException"
    assert message.startswith(f"No launch paths found for resource: {product}")
    for portfolio in (catalog.portfolio(), catalog.portfolio()):
        association = {"ProductId": product, "PortfolioId": portfolio}
        catalog.client.associate_product_with_portfolio(**association)
        catalog.later(catalog.client.disassociate_product_from_portfolio, **association)
    code, message = error_of(catalog.client.provision_product, **launch)
    assert code == "InvalidParametersException"
    assert "several launch paths" in message


def test_the_launch_role_makes_the_stack(
    catalog: Catalog, account: Account, cloud: Any, client_of: Callable[..., Any], localcloud_only: None
) -> None:
    """An engineer who may do nothing but launch products does so; the constraint's role makes what is in them."""
    iam = account.client("iam")
    launch = iam.create_role(
        RoleName=account.name("launch"), AssumeRolePolicyDocument=trust("servicecatalog.amazonaws.com")
    )["Role"]
    iam.put_role_policy(RoleName=launch["RoleName"], PolicyName="p", PolicyDocument=json.dumps(LAUNCHES))
    person = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{account.number}:root"},
        "Action": "sts:AssumeRole",
    }
    engineer = iam.create_role(
        RoleName=account.name("engineer"),
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [person]}),
    )["Role"]
    may = {"Effect": "Allow", "Action": ["servicecatalog:*", "sagemaker:*"], "Resource": "*"}
    iam.put_role_policy(
        RoleName=engineer["RoleName"],
        PolicyName="p",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [may]}),
    )
    portfolio = catalog.portfolio()
    product = catalog.product(portfolio)
    constraint = catalog.client.create_constraint(
        PortfolioId=portfolio,
        ProductId=product,
        Type="LAUNCH",
        Parameters=json.dumps({"LocalRoleName": launch["RoleName"]}),
        IdempotencyToken=str(uuid.uuid4()),
    )["ConstraintDetail"]["ConstraintId"]
    catalog.later(catalog.client.delete_constraint, Id=constraint)
    keys = account.client("sts").assume_role(RoleArn=engineer["Arn"], RoleSessionName="engineer")["Credentials"]
    theirs = partial(client_of, cloud, access_key=keys["AccessKeyId"])

    own = theirs("servicecatalog")
    assert product not in [one["ProductId"] for one in own.search_products()["ProductViewSummaries"]]
    catalog.client.associate_principal_with_portfolio(
        PortfolioId=portfolio, PrincipalARN=engineer["Arn"], PrincipalType="IAM"
    )
    catalog.later(
        catalog.client.disassociate_principal_from_portfolio, PortfolioId=portfolio, PrincipalARN=engineer["Arn"]
    )
    assert product in [one["ProductId"] for one in own.search_products()["ProductViewSummaries"]]
    record = catalog.launch(product, client=own)["RecordDetail"]
    assert record["Status"] == "SUCCEEDED", record
    assert record["LaunchRoleArn"] == launch["Arn"]

    # The same as a SageMaker project.
    sagemaker, name = theirs("sagemaker"), account.name("p")
    sagemaker.create_project(
        ProjectName=name,
        ServiceCatalogProvisioningDetails={
            "ProductId": product,
            "ProvisioningParameters": [{"Key": "Value", "Value": "2"}],
        },
    )
    project = settled(account, name)
    assert project["ProjectStatus"] == "CreateCompleted", project
    assert project["CreatedBy"]["IamIdentity"]["Arn"].endswith(f"role/{engineer['RoleName']}")
    provisioned = project["ServiceCatalogProvisionedProductDetails"]["ProvisionedProductId"]
    assert catalog.detail(provisioned)["LaunchRoleArn"] == launch["Arn"]
    sagemaker.delete_project(ProjectName=name)
    assert settled(account, name)["ProjectStatus"] == "DeleteCompleted"


def settled(account: Account, name: str) -> dict[str, Any]:
    """A project when nothing is under way."""

    def over() -> dict[str, Any] | None:
        project: dict[str, Any] = account.sagemaker.describe_project(ProjectName=name)
        return project if not project["ProjectStatus"].endswith(("InProgress", "Pending")) else None

    found: dict[str, Any] = until(over, f"the project {name} has settled")
    return found


def test_a_project_is_made_of_a_product(catalog: Catalog, account: Account) -> None:
    product = catalog.product(catalog.portfolio())
    sagemaker, name = account.sagemaker, account.name("p")
    sagemaker.create_project(
        ProjectName=name,
        ServiceCatalogProvisioningDetails={
            "ProductId": product,
            "ProvisioningParameters": [{"Key": "Value", "Value": "2"}],
        },
    )
    project = settled(account, name)
    assert project["ProjectStatus"] == "CreateCompleted", project
    details = project["ServiceCatalogProvisioningDetails"]
    assert (details["ProductId"], details["ProvisioningArtifactId"]) == (product, catalog.artifact(product))
    assert catalog.value(f"/{name}/value") == "2"
    newer = json.loads(json.dumps(TEMPLATE))
    newer["Resources"]["Kept"]["Properties"]["Description"] = "newer"
    artifact = catalog.client.create_provisioning_artifact(
        ProductId=product, Parameters=catalog.version(catalog.url(newer), "v2"), IdempotencyToken=str(uuid.uuid4())
    )["ProvisioningArtifactDetail"]["Id"]
    # Without a version it is the latest; parameters that are not given stay.
    sagemaker.update_project(ProjectName=name, ServiceCatalogProvisioningUpdateDetails={"ProvisioningParameters": []})
    project = settled(account, name)
    assert project["ProjectStatus"] == "UpdateCompleted", project
    assert project["ServiceCatalogProvisioningDetails"]["ProvisioningArtifactId"] == artifact
    assert catalog.value(f"/{name}/value") == "2"
    sagemaker.update_project(
        ProjectName=name,
        ServiceCatalogProvisioningUpdateDetails={"ProvisioningParameters": [{"Key": "Value", "Value": "bad"}]},
    )
    project = settled(account, name)
    assert project["ProjectStatus"] == "UpdateFailed"
    message = project["ServiceCatalogProvisionedProductDetails"]["ProvisionedProductStatusMessage"]
    assert message.startswith("UPDATE_ROLLBACK_COMPLETE: Bad: ")
    sagemaker.delete_project(ProjectName=name)
    assert settled(account, name)["ProjectStatus"] == "DeleteCompleted"


def test_a_stack_offers_a_product(catalog: Catalog, account: Account, stacks: Stacks) -> None:
    def body(*versions: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {
            "Resources": {
                "Portfolio": {
                    "Type": "AWS::ServiceCatalog::Portfolio",
                    "Properties": {"DisplayName": account.name("offered"), "ProviderName": "platform"},
                },
                "Product": {
                    "Type": "AWS::ServiceCatalog::CloudFormationProduct",
                    "Properties": {
                        "Name": "MLOps",
                        "Owner": "platform",
                        "ProvisioningArtifactParameters": list(versions),
                        "Tags": [{"Key": "sagemaker:studio-visibility", "Value": "true"}],
                        **more,
                    },
                },
                "Offer": {
                    "Type": "AWS::ServiceCatalog::PortfolioProductAssociation",
                    "Properties": {"PortfolioId": {"Ref": "Portfolio"}, "ProductId": {"Ref": "Product"}},
                },
                "Launch": {
                    "Type": "AWS::ServiceCatalog::LaunchRoleConstraint",
                    "DependsOn": "Offer",
                    "Properties": {
                        "PortfolioId": {"Ref": "Portfolio"},
                        "ProductId": {"Ref": "Product"},
                        "LocalRoleName": "launch",
                    },
                },
                "Users": {
                    "Type": "AWS::ServiceCatalog::PortfolioPrincipalAssociation",
                    "Properties": {
                        "PortfolioId": {"Ref": "Portfolio"},
                        "PrincipalARN": "arn:aws:iam:::role/engineers-*",
                        "PrincipalType": "IAM_PATTERN",
                    },
                },
            },
            "Outputs": {
                "Product": {"Value": {"Ref": "Product"}},
                "Versions": {"Value": {"Fn::GetAtt": ["Product", "ProvisioningArtifactIds"]}},
                "Names": {"Value": {"Fn::GetAtt": ["Product", "ProvisioningArtifactNames"]}},
            },
        }

    first = {"Name": "1.0", "Info": {"LoadTemplateFromURL": catalog.url()}}
    second = {"Name": "1.1", "Info": {"LoadTemplateFromURL": catalog.url()}}
    stack_id = stacks.made(body(first))
    before = stacks.outputs(stack_id)
    assert before["Names"] == "1.0"
    assert stacks.update(stack_id, body(first, second))["StackStatus"] == "UPDATE_COMPLETE", stacks.reasons(stack_id)
    after = stacks.outputs(stack_id)
    assert (after["Product"], after["Names"]) == (before["Product"], "1.0,1.1")
    assert after["Versions"].partition(",")[0] == before["Versions"]
    assert stacks.update(stack_id, body(second))["StackStatus"] == "UPDATE_COMPLETE", stacks.reasons(stack_id)
    assert stacks.outputs(stack_id)["Names"] == "1.1"
    assert stacks.delete(stack_id)["StackStatus"] == "DELETE_COMPLETE", stacks.reasons(stack_id)


@pytest.mark.slow
def test_a_launch_goes_on_where_a_process_was_killed(
    tmp_path: Path, start_localcloud: Callable[..., Any], client_of: Callable[..., Any]
) -> None:
    running = start_localcloud(tmp_path)
    catalog = Catalog(Account(partial(client_of, running), "eu-west-1"))
    product = catalog.product(catalog.portfolio())
    record = catalog.client.provision_product(
        ProductId=product,
        ProvisioningArtifactId=catalog.artifact(product),
        ProvisionedProductName="killed",
        ProvisioningParameters=[{"Key": "SageMakerProjectName", "Value": "killed"}],
        ProvisionToken="t",
    )["RecordDetail"]
    running.kill()
    running = start_localcloud(tmp_path)
    again = Catalog(Account(partial(client_of, running), "eu-west-1"))
    # What the stack had begun is taken back.
    ended = again.ended(record["RecordId"])["RecordDetail"]
    assert ended["Status"] in ("SUCCEEDED", "FAILED")
    again.terminate(record["ProvisionedProductId"])
