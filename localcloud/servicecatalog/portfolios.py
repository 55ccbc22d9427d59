"""Portfolios: the products in them, who may launch these, and with which role."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.servicecatalog.names import in_use, invalid, missing, new_id, page, refuse, tag_list, tag_map
from localcloud.servicecatalog.products import Products, detail, searched
from localcloud.store import Document

_PORTFOLIO, _CONSTRAINT = "servicecatalog/portfolio", "servicecatalog/constraint"
_OWN = ("DisplayName", "Description", "ProviderName")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/.+")
_PATTERN = re.compile(r"arn:aws[a-z-]*:iam:::(?P<name>(role|user|group)/.+)")


class Portfolios:
    """The operations on portfolios and constraints."""

    def __init__(self, context: Context, products: Products) -> None:
        self._context, self._store, self._products = context, context.store, products

    # --- portfolios ---------------------------------------------------------------------------------------------------

    def get(self, portfolio_id: str) -> Document:
        """A portfolio by its id. Raises ResourceNotFoundException."""
        found = self._store.get(_PORTFOLIO, portfolio_id)
        if found is None:
            raise missing("Portfolio", portfolio_id)
        return found

    def everything(self) -> list[Document]:
        """All portfolios, the oldest first."""
        return [portfolio for _, portfolio in self._store.list(_PORTFOLIO)]

    def of_product(self, product_id: str) -> list[Document]:
        """The portfolios that have a product."""
        return [portfolio for portfolio in self.everything() if product_id in portfolio["Products"]]

    def create(self, request: Request) -> dict[str, Any]:
        """CreatePortfolio."""
        params = request.params
        token = params["IdempotencyToken"]
        portfolio = next((one for one in self.everything() if one["Token"] == token), None)
        if portfolio is None:
            portfolio_id = new_id("port")
            region, account = self._context.region, self._context.account_id
            portfolio = {
                **{member: params[member] for member in _OWN if member in params},
                "Id": portfolio_id,
                "ARN": f"arn:aws:catalog:{region}:{account}:portfolio/{portfolio_id}",
                "CreatedTime": self._context.clock.now(),
                "Tags": tag_map(params.get("Tags")),
                "Token": token,
                "Products": [],
                "Principals": [],
            }
            self._store.put(_PORTFOLIO, portfolio_id, portfolio)
        return _shown(portfolio)

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribePortfolio."""
        return _shown(self.get(request.params["Id"]))

    def update(self, request: Request) -> dict[str, Any]:
        """UpdatePortfolio."""
        params = request.params
        portfolio = self.get(params["Id"])
        tags = {**portfolio["Tags"], **tag_map(params.get("AddTags"))}
        portfolio |= {member: params[member] for member in _OWN if member in params}
        portfolio["Tags"] = {key: value for key, value in tags.items() if key not in (params.get("RemoveTags") or ())}
        self._store.put(_PORTFOLIO, portfolio["Id"], portfolio)
        return _shown(portfolio)

    def delete(self, request: Request) -> dict[str, Any]:
        """DeletePortfolio: an empty one."""
        portfolio = self.get(request.params["Id"])
        for what in ("Products", "Principals"):
            if portfolio[what]:
                raise in_use(f"The portfolio {portfolio['Id']} still has {len(portfolio[what])} {what.lower()}")
        self._store.delete(_PORTFOLIO, portfolio["Id"])
        return {}

    def list_all(self, request: Request) -> dict[str, Any]:
        """ListPortfolios."""
        found, token = page([_detail(one) for one in self.everything()], request.params)
        return {"PortfolioDetails": found, "NextPageToken": token}

    def list_of_product(self, request: Request) -> dict[str, Any]:
        """ListPortfoliosForProduct."""
        self._products.get(request.params["ProductId"])
        portfolios = [_detail(one) for one in self.of_product(request.params["ProductId"])]
        found, token = page(portfolios, request.params)
        return {"PortfolioDetails": found, "NextPageToken": token}

    # --- what is in them ----------------------------------------------------------------------------------------------

    def add_product(self, request: Request) -> dict[str, Any]:
        """AssociateProductWithPortfolio; once more is no error."""
        refuse(request.params, "SourcePortfolioId")
        product = self._products.get(request.params["ProductId"])["Id"]
        self._change(
            request.params["PortfolioId"],
            lambda found: {**found, "Products": list(dict.fromkeys([*found["Products"], product]))},
        )
        return {}

    def remove_product(self, request: Request) -> dict[str, Any]:
        """DisassociateProductFromPortfolio."""
        product, portfolio = request.params["ProductId"], self.get(request.params["PortfolioId"])
        if product not in portfolio["Products"]:
            raise missing("Product", product)
        if constraints := self._constraints(portfolio["Id"], product):
            raise in_use(
                f"The product {product} still has the constraints {', '.join(one['Id'] for one in constraints)} in the"
                f" portfolio {portfolio['Id']}"
            )
        left = [one for one in portfolio["Products"] if one != product]
        self._change(portfolio["Id"], lambda found: {**found, "Products": left})
        return {}

    def delete_product(self, request: Request) -> dict[str, Any]:
        """DeleteProduct."""
        product_id = request.params["Id"]
        return self._products.delete(product_id, [one["Id"] for one in self.of_product(product_id)])

    def search_products(self, request: Request) -> dict[str, Any]:
        """SearchProductsAsAdmin."""
        products = self._products.everything()
        if portfolio := request.params.get("PortfolioId"):
            wanted = self.get(portfolio)["Products"]
            products = [one for one in products if one["Id"] in wanted]
        found, token = searched(products, request.params)
        return {"ProductViewDetails": [detail(one) for one in found], "NextPageToken": token}

    def add_principal(self, request: Request) -> dict[str, Any]:
        """AssociatePrincipalWithPortfolio; once more is no error."""
        arn, kind = request.params["PrincipalARN"], request.params["PrincipalType"]
        pattern = _PATTERN.fullmatch(arn)
        if (pattern is not None) != (kind == "IAM_PATTERN"):
            raise invalid(
                f"PrincipalARN {arn!r} is none of type {kind}: IAM_PATTERN takes arn:aws:iam:::role/NAME, with * and ?,"
                " IAM the ARN of one role, user or group"
            )
        one = {"PrincipalARN": arn, "PrincipalType": kind}
        self._change(
            request.params["PortfolioId"],
            lambda found: found if one in found["Principals"] else {**found, "Principals": [*found["Principals"], one]},
        )
        return {}

    def remove_principal(self, request: Request) -> dict[str, Any]:
        """DisassociatePrincipalFromPortfolio."""
        arn = request.params["PrincipalARN"]
        left = [one for one in self.get(request.params["PortfolioId"])["Principals"] if one["PrincipalARN"] != arn]
        self._change(request.params["PortfolioId"], lambda found: {**found, "Principals": left})
        return {}

    def list_principals(self, request: Request) -> dict[str, Any]:
        """ListPrincipalsForPortfolio."""
        found, token = page(self.get(request.params["PortfolioId"])["Principals"], request.params)
        return {"Principals": found, "NextPageToken": token}

    def may_launch(self, portfolio: Mapping[str, Any], caller: str) -> bool:
        """Whether a caller is among those that a portfolio is for. The account's root may use all."""
        if caller.endswith(":root"):
            return True
        name = caller.partition("::")[2].partition(":")[2]
        return any(
            one["PrincipalARN"] == caller
            if one["PrincipalType"] == "IAM"
            else fnmatchcase(name, one["PrincipalARN"].rpartition(":")[2])
            for one in portfolio["Principals"]
        )

    # --- constraints --------------------------------------------------------------------------------------------------

    def create_constraint(self, request: Request) -> dict[str, Any]:
        """CreateConstraint: of type LAUNCH, the role that makes the stacks."""
        params = request.params
        if params["Type"] != "LAUNCH":
            raise invalid(f"localcloud has constraints of type LAUNCH only; got {params['Type']}")
        role = self._role(params["Parameters"])
        portfolio = self.get(params["PortfolioId"])
        if params["ProductId"] not in portfolio["Products"]:
            raise missing("Product", params["ProductId"])
        token = params["IdempotencyToken"]
        known = self._constraints(portfolio["Id"], params["ProductId"])
        constraint = next((one for one in known if one["Token"] == token), None)
        if constraint is None:
            if known:
                raise ServiceError(
                    "DuplicateResourceException",
                    f"The product {params['ProductId']} has the launch constraint {known[0]['Id']} in the portfolio"
                    f" {portfolio['Id']} already",
                )
            constraint = {
                "Id": new_id("cons"),
                "Description": params.get("Description"),
                "ProductId": params["ProductId"],
                "PortfolioId": portfolio["Id"],
                "Parameters": params["Parameters"],
                "RoleArn": role,
                "Token": token,
            }
            self._store.put(_CONSTRAINT, constraint["Id"], constraint)
        return self._shown_constraint(constraint)

    def describe_constraint(self, request: Request) -> dict[str, Any]:
        """DescribeConstraint."""
        return self._shown_constraint(self._constraint(request.params["Id"]))

    def update_constraint(self, request: Request) -> dict[str, Any]:
        """UpdateConstraint."""
        params = request.params
        constraint = self._constraint(params["Id"])
        if "Parameters" in params:
            constraint |= {"Parameters": params["Parameters"], "RoleArn": self._role(params["Parameters"])}
        if "Description" in params:
            constraint["Description"] = params["Description"]
        self._store.put(_CONSTRAINT, constraint["Id"], constraint)
        return self._shown_constraint(constraint)

    def delete_constraint(self, request: Request) -> dict[str, Any]:
        """DeleteConstraint."""
        self._store.delete(_CONSTRAINT, self._constraint(request.params["Id"])["Id"])
        return {}

    def list_constraints(self, request: Request) -> dict[str, Any]:
        """ListConstraintsForPortfolio."""
        portfolio = self.get(request.params["PortfolioId"])
        constraints = self._constraints(portfolio["Id"], request.params.get("ProductId"))
        found, token = page([self._constraint_detail(one) for one in constraints], request.params)
        return {"ConstraintDetails": found, "NextPageToken": token}

    def launch_role(self, portfolio_id: str, product_id: str) -> str | None:
        """The role that makes a product's stacks when it is launched from a portfolio."""
        for constraint in self._constraints(portfolio_id, product_id):
            role: str = constraint["RoleArn"]
            return role
        return None

    def constraint_summaries(self, portfolio_id: str, product_id: str) -> list[Document]:
        """The constraints of a launch path."""
        return [
            {"Type": "LAUNCH", "Description": one.get("Description")}
            for one in self._constraints(portfolio_id, product_id)
        ]

    def _constraint(self, constraint_id: str) -> Document:
        found = self._store.get(_CONSTRAINT, constraint_id)
        if found is None:
            raise missing("Constraint", constraint_id)
        return found

    def _constraints(self, portfolio_id: str, product_id: str | None) -> list[Document]:
        return [
            one
            for _, one in self._store.list(_CONSTRAINT)
            if one["PortfolioId"] == portfolio_id and product_id in (None, one["ProductId"])
        ]

    def _role(self, parameters: str) -> str:
        """The role of a launch constraint's parameters, a JSON object."""
        expected = '{"RoleArn": "arn:aws:iam::…:role/…"} or {"LocalRoleName": "…"}'
        try:
            found = json.loads(parameters)
        except ValueError as error:
            raise invalid(f"Parameters: expected {expected}; got {parameters!r}"[:500]) from error
        if isinstance(found, dict) and len(found) == 1:
            ((name, value),) = found.items()
            if name == "RoleArn" and isinstance(value, str) and _ROLE.fullmatch(value):
                return value
            if name == "LocalRoleName" and isinstance(value, str) and value:
                return f"arn:aws:iam::{self._context.account_id}:role/{value}"
        raise invalid(f"Parameters: expected {expected}; got {parameters!r}"[:500])

    def _shown_constraint(self, constraint: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "ConstraintDetail": self._constraint_detail(constraint),
            "ConstraintParameters": constraint["Parameters"],
            "Status": "AVAILABLE",
        }

    def _constraint_detail(self, constraint: Mapping[str, Any]) -> Document:
        return {
            "ConstraintId": constraint["Id"],
            "Type": "LAUNCH",
            "Owner": self._context.account_id,
            **{member: constraint.get(member) for member in ("Description", "ProductId", "PortfolioId")},
        }

    def _change(self, portfolio_id: str, function: Any) -> None:
        try:
            self._store.update(_PORTFOLIO, portfolio_id, function)
        except KeyError:
            raise missing("Portfolio", portfolio_id) from None


def _detail(portfolio: Mapping[str, Any]) -> Document:
    return {member: portfolio.get(member) for member in ("Id", "ARN", "CreatedTime", *_OWN)}


def _shown(portfolio: Mapping[str, Any]) -> dict[str, Any]:
    return {"PortfolioDetail": _detail(portfolio), "Tags": tag_list(portfolio["Tags"])}
