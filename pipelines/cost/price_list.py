"""The prices of one region, from the file `prices/{region}.json` that says of what day they are.

A price that is not there is missing, never nothing: whoever asks for it gets `PriceMissing`, which names it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import ProjectError

__all__ = ["FOLDER", "Price", "PriceList", "PriceMissing", "file_of", "instance", "read", "regions", "text", "volume"]

FOLDER = Path(__file__).parent / "prices"
_CURRENCY = "USD"


class PriceMissing(ProjectError):
    """No file for a region, or no price in it."""

    exit_status = 2


@dataclass(frozen=True)
class Price:
    """One price.

    Attributes:
        dollars: US dollars for one unit, before tax, without free tier or discounts.
        unit: what is counted, e.g. `hour`.
        service: AWS's service code in the Pricing API.
        usage_type: AWS's name of it on a bill.
        confirmed: whether the Pricing API has said so; else it is the published list price as people remember it.
    """

    dollars: float
    unit: str
    service: str
    usage_type: str
    confirmed: bool


@dataclass(frozen=True)
class PriceList:
    """The prices of a region as of a day (ISO 8601)."""

    region: str
    date: str
    prices: Mapping[str, Price]

    def __getitem__(self, key: str) -> Price:
        """Raises PriceMissing."""
        found = self.prices.get(key)
        if found is None:
            raise PriceMissing(
                f"{file_of(self.region).name} has no price of `{key}`; "
                f"`mlops cost --refresh --region {self.region}` asks the AWS Pricing API for it"
            )
        return found

    def dollars(self, key: str) -> float:
        """Raises PriceMissing."""
        return self[key].dollars


def instance(use: str, instance_type: str) -> str:
    """The key of a machine's price by the hour.

    use: `hosting`, `processing`, `training` or `transform`. instance_type: SageMaker's name, e.g. `ml.m5.large`.
    """
    return f"sagemaker/{use}/{instance_type}"


def volume(use: str) -> str:
    """The key of the price of a GB of a machine's disk for a month; `use` as for `instance`, but `transform`."""
    return f"sagemaker/{use}/volume"


def file_of(region: str, folder: Path = FOLDER) -> Path:
    """Where the prices of a region are kept."""
    return folder / f"{region}.json"


def regions(folder: Path = FOLDER) -> list[str]:
    """The regions whose prices are kept."""
    return sorted(file.stem for file in folder.glob("*.json"))


def read(region: str, folder: Path = FOLDER) -> PriceList:
    """The prices of a region. Raises PriceMissing when there is no file, or it is not one of prices."""
    file = file_of(region, folder)
    if not file.is_file():
        known = ", ".join(regions(folder)) or "none"
        raise PriceMissing(
            f"there are no prices of the region `{region}`, only of {known}; "
            f"`mlops cost --refresh --region {region}` asks the AWS Pricing API for them"
        )
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        return PriceList(document["region"], document["date"], dict(_prices(document)))
    except (ValueError, KeyError, TypeError) as error:
        raise PriceMissing(
            f"{file.name} is no list of prices ({type(error).__name__}: {error}); "
            f"`mlops cost --refresh --region {region}` writes it anew"
        ) from error


def text(prices: PriceList) -> str:
    """The file's content, a price a line: the same prices give the same text."""
    lines = [
        f"    {json.dumps(key)}: {json.dumps(asdict(price), ensure_ascii=False)}"
        for key, price in sorted(prices.prices.items())
    ]
    head = "".join(
        f"  {json.dumps(name)}: {json.dumps(value)},\n"
        for name, value in (("region", prices.region), ("date", prices.date), ("currency", _CURRENCY))
    )
    return f'{{\n{head}  "prices": {{\n' + ",\n".join(lines) + "\n  }\n}\n"


def _prices(document: Mapping[str, Any]) -> Iterator[tuple[str, Price]]:
    if document["currency"] != _CURRENCY:
        raise ValueError(f"the currency is {document['currency']!r}, expected {_CURRENCY}")
    for key, found in document["prices"].items():
        dollars = found["dollars"]
        if not isinstance(dollars, int | float) or isinstance(dollars, bool) or not dollars > 0:
            raise ValueError(f"the price of {key!r} is {dollars!r}, expected a number above 0")
        yield key, Price(float(dollars), found["unit"], found["service"], found["usage_type"], found["confirmed"])
