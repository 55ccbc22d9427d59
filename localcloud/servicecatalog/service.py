"""Service Catalog as a service: its parts put together, and its operations by name."""

from __future__ import annotations

from collections.abc import Mapping

from localcloud.context import Context
from localcloud.service import Handler
from localcloud.servicecatalog.launches import Launches
from localcloud.servicecatalog.portfolios import Portfolios
from localcloud.servicecatalog.products import Products


class ServiceCatalog:
    """The service."""

    name = "servicecatalog"

    def __init__(self, context: Context) -> None:
        products = Products(context)
        portfolios = Portfolios(context, products)
        self._launches = Launches(context, products, portfolios)
        self._operations = {
            **_of_products(products, portfolios),
            **_of_portfolios(portfolios),
            **_of_launches(self._launches),
        }

    @property
    def operations(self) -> Mapping[str, Handler]:
        """What is implemented, by name."""
        return self._operations

    def start(self) -> None:
        """Take up what an earlier process left under way."""
        self._launches.recover()

    def stop(self) -> None:
        """Nothing of its own runs: stacks are CloudFormation's."""


def _of_products(products: Products, portfolios: Portfolios) -> dict[str, Handler]:
    return {
        "CreateProduct": products.create,
        "UpdateProduct": products.update,
        "DeleteProduct": portfolios.delete_product,
        "DescribeProductAsAdmin": products.describe_as_admin,
        "SearchProductsAsAdmin": portfolios.search_products,
        "CreateProvisioningArtifact": products.create_artifact,
        "DescribeProvisioningArtifact": products.describe_artifact,
        "UpdateProvisioningArtifact": products.update_artifact,
        "DeleteProvisioningArtifact": products.delete_artifact,
        "ListProvisioningArtifacts": products.list_artifacts,
    }


def _of_portfolios(portfolios: Portfolios) -> dict[str, Handler]:
    return {
        "CreatePortfolio": portfolios.create,
        "DescribePortfolio": portfolios.describe,
        "UpdatePortfolio": portfolios.update,
        "DeletePortfolio": portfolios.delete,
        "ListPortfolios": portfolios.list_all,
        "ListPortfoliosForProduct": portfolios.list_of_product,
        "AssociateProductWithPortfolio": portfolios.add_product,
        "DisassociateProductFromPortfolio": portfolios.remove_product,
        "AssociatePrincipalWithPortfolio": portfolios.add_principal,
        "DisassociatePrincipalFromPortfolio": portfolios.remove_principal,
        "ListPrincipalsForPortfolio": portfolios.list_principals,
        "CreateConstraint": portfolios.create_constraint,
        "DescribeConstraint": portfolios.describe_constraint,
        "UpdateConstraint": portfolios.update_constraint,
        "DeleteConstraint": portfolios.delete_constraint,
        "ListConstraintsForPortfolio": portfolios.list_constraints,
    }


def _of_launches(launches: Launches) -> dict[str, Handler]:
    return {
        "SearchProducts": launches.search,
        "DescribeProduct": launches.describe_product,
        "ListLaunchPaths": launches.list_paths,
        "DescribeProvisioningParameters": launches.describe_parameters,
        "ProvisionProduct": launches.provision,
        "UpdateProvisionedProduct": launches.update,
        "TerminateProvisionedProduct": launches.terminate,
        "DescribeProvisionedProduct": launches.describe,
        "SearchProvisionedProducts": launches.search_provisioned,
        "GetProvisionedProductOutputs": launches.outputs,
        "DescribeRecord": launches.describe_record,
    }
