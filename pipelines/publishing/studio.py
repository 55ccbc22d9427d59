"""SageMaker Studio shows the templates of the S3 location that its domain is tagged with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import boto3

from pipelines.publishing.bucket import STUDIO_LOCATION_TAG
from pipelines.session import client

__all__ = ["Shown", "show"]


@dataclass(frozen=True)
class Shown:
    """Which domains of Studio show the location, and which show another one, by name."""

    domains: tuple[str, ...]
    elsewhere: tuple[tuple[str, str], ...]


def show(session: boto3.Session, location: str) -> Shown:
    """Tag the domains that have no location yet; one that somebody has chosen stays."""
    sagemaker: Any = client(session, "sagemaker")
    here: list[str] = []
    elsewhere: list[tuple[str, str]] = []
    for page in sagemaker.get_paginator("list_domains").paginate():
        for domain in page["Domains"]:
            known = {
                tag["Key"]: tag["Value"]
                for tags in sagemaker.get_paginator("list_tags").paginate(ResourceArn=domain["DomainArn"])
                for tag in tags["Tags"]
            }
            found = known.get(STUDIO_LOCATION_TAG)
            if found is None:
                sagemaker.add_tags(
                    ResourceArn=domain["DomainArn"], Tags=[{"Key": STUDIO_LOCATION_TAG, "Value": location}]
                )
            if found in (None, location):
                here.append(domain["DomainName"])
            else:
                elsewhere.append((domain["DomainName"], str(found)))
    return Shown(tuple(here), tuple(elsewhere))
