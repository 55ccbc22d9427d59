"""The moment up to which a feature group's offline store is known, found by Athena.

A pipeline that reads a store which goes on changing is given this moment, so that it reads the same however often it is
repeated. boto3 and this package's names only, so that a Lambda function can carry it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3

from pipelines import names as n
from pipelines.errors import ServiceError

_LONGEST_WAIT = 5.0  # seconds between two looks at a query


def newest_record(
    session: boto3.Session, group: str, results_uri: str, pause: Callable[[float], None] = time.sleep
) -> str:
    """When the newest record of a feature group reached its offline store, ISO 8601 in UTC; `none` without any record.

    results_uri: the S3 folder for Athena's results. Rounded up to the next millisecond, the store's precision in
    Athena.

    Raises ServiceError when the group does not exist, has no offline store, or the query fails.
    """
    sagemaker = session.client("sagemaker")
    try:
        described = sagemaker.describe_feature_group(FeatureGroupName=group)
    except sagemaker.exceptions.ResourceNotFound as error:
        raise ServiceError(
            f"the feature group `{group}` does not exist; the project's stack makes it, on this machine `mlops up` does"
        ) from error
    catalog = described.get("OfflineStoreConfig", {}).get("DataCatalogConfig")
    if catalog is None:
        raise ServiceError(f"the feature group `{group}` has no offline store with a table; expected one to read")
    sql = f'SELECT max(write_time) FROM "{catalog["Database"]}"."{catalog["TableName"]}"'
    rows = _rows(session.client("athena"), sql, results_uri, pause)
    text = rows[1]["Data"][0].get("VarCharValue")  # the first row holds the columns' names
    if not text:
        return n.NO_SNAPSHOT
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC) + timedelta(milliseconds=1)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _rows(athena: Any, sql: str, results_uri: str, pause: Callable[[float], None]) -> list[dict[str, Any]]:
    """The first rows of a query's result. Raises ServiceError when it fails."""
    query = athena.start_query_execution(QueryString=sql, ResultConfiguration={"OutputLocation": results_uri})
    wait = 0.05
    while True:
        status = athena.get_query_execution(QueryExecutionId=query["QueryExecutionId"])["QueryExecution"]["Status"]
        if status["State"] == "SUCCEEDED":
            break
        if status["State"] in ("FAILED", "CANCELLED"):
            reason = status.get("StateChangeReason", "Athena gives no reason")
            raise ServiceError(f"Athena's query is {status['State']}: {reason}; it was: {sql}")
        pause(wait)
        wait = min(2 * wait, _LONGEST_WAIT)
    found: list[dict[str, Any]] = athena.get_query_results(QueryExecutionId=query["QueryExecutionId"])["ResultSet"][
        "Rows"
    ]
    return found
