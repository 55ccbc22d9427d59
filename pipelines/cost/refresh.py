"""The prices of a region from the AWS Pricing API, for the dated file that estimates read.

Each price of the catalogue is asked for by its service, region and usage type. What the API does not know, or knows
more than one price of, keeps the price that there was, unconfirmed, and is named: nothing is guessed. Of a price in
tiers it is the first that costs anything; free tiers belong to the account, not to the project.

Source: "GetProducts" in the AWS Price List Service API Reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from pipelines.cost.catalogue import Item
from pipelines.cost.price_list import Price, PriceList
from pipelines.errors import ServiceError

__all__ = ["PRICING_REGION", "Refreshed", "refresh"]

# Where the Pricing API is; it tells of all regions.
PRICING_REGION = "us-east-1"
_PREFIX = r"(?:[A-Z]{2,4}[0-9]?-)?"
_DIGITS = 10


@dataclass(frozen=True)
class Refreshed:
    """The new list, and why some of its prices are not confirmed, or missing: a sentence each."""

    prices: PriceList
    problems: tuple[str, ...]


def refresh(pricing: Any, region: str, wanted: Iterable[Item], known: PriceList | None, today: str) -> Refreshed:
    """Ask for every price that is wanted.

    known: the list so far. today: the date (ISO 8601) that the new one bears. Raises ServiceError when the API cannot
    be asked; what it has told until then is not kept.
    """
    prices: dict[str, Price] = {}
    problems: list[str] = []
    for item in wanted:
        found = _ask(pricing, region, item)
        if len(found) == 1:
            [(usage_type, dollars)] = found
            prices[item.key] = Price(dollars, item.unit, item.service, usage_type, confirmed=True)
            continue
        what = "knows no price" if not found else f"knows {len(found)} prices"
        problem = f"{item.key}: the Pricing API {what} of `{item.usage_type}` ({item.service})"
        before = known.prices.get(item.key) if known is not None else None
        if before is not None:
            prices[item.key] = replace(before, confirmed=False)
            problem += f"; {before.dollars:g} stays, unconfirmed"
        problems.append(problem)
    return Refreshed(PriceList(region, today, prices), tuple(problems))


def _ask(pricing: Any, region: str, item: Item) -> set[tuple[str, float]]:
    """The usage types that an item may mean, each with its price."""
    filters = [
        {"Type": "TERM_MATCH", "Field": "regionCode", "Value": region},
        {"Type": "CONTAINS", "Field": "usagetype", "Value": item.usage_type},
        *({"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in item.also.items()),
    ]
    found: set[tuple[str, float]] = set()
    try:
        for page in pricing.get_paginator("get_products").paginate(ServiceCode=item.service, Filters=filters):
            for text in page["PriceList"]:
                found |= set(_prices(json.loads(text), item))
    except (BotoCoreError, ClientError) as error:
        raise ServiceError(
            f"the AWS Pricing API cannot be asked for `{item.key}`: {error}. It is AWS's own, wants credentials with "
            "`pricing:GetProducts`, and is asked by `AWS_ENDPOINT_URL= mlops cost --refresh`"
        ) from error
    return found


def _prices(product: Mapping[str, Any], item: Item) -> Iterator[tuple[str, float]]:
    usage_type = product["product"]["attributes"]["usagetype"]
    if not re.fullmatch(_PREFIX + re.escape(item.usage_type), usage_type):
        return
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        tiers = sorted(term["priceDimensions"].values(), key=lambda tier: float(tier.get("beginRange", 0)))
        dollars = next((amount for tier in tiers if (amount := _dollars(tier)) > 0), None)
        if dollars is not None:
            yield usage_type, round(dollars * item.times, _DIGITS)


def _dollars(tier: Mapping[str, Any]) -> float:
    return float(tier["pricePerUnit"].get("USD", 0))
