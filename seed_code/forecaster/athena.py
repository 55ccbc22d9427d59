"""Athena queries: started, waited for, and their result read as the CSV file that Athena leaves in S3.

GetQueryResults gives a thousand rows a call; the file is the whole result in one read. In it every value is quoted,
and a null is nothing at all between two commas, so that it is not taken for an empty text.

Source: "Work with query results and recent queries" in the Athena User Guide.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
from botocore.exceptions import BotoCoreError
from botocore.exceptions import ClientError as AwsError
from pyarrow import csv

from seed_code.common.errors import ClientError

_SHORTEST_WAIT, _LONGEST_WAIT, _BACK_OFF = 0.05, 5.0, 1.5  # seconds, seconds, factor


class Athena:
    """Runs queries.

    Args:
        athena, s3: boto3's clients.
        output: where Athena is to write, `s3://bucket/prefix/`.
        sleep: waits for so many seconds.
    """

    def __init__(self, athena: Any, s3: Any, output: str, sleep: Callable[[float], None] = time.sleep) -> None:
        parts = urlsplit(output)
        if parts.scheme != "s3" or not parts.netloc:
            raise ClientError(f"--query-output is `{output}`; expected s3://bucket/prefix/")
        self._athena, self._s3 = athena, s3
        self._output = output
        self._sleep = sleep

    def query(self, sql: str, database: str) -> tuple[pa.Table, dict[str, Any]]:
        """The result of a query, all columns as texts, and `GetQueryExecution`'s description of it.

        Raises:
            ClientError: when the query cannot be started, fails or is cancelled (Athena's reason is in it), or its
                result cannot be read.
        """
        try:
            started = self._athena.start_query_execution(
                QueryString=sql,
                QueryExecutionContext={"Database": database},
                ResultConfiguration={"OutputLocation": self._output},
            )
            execution = self._ended(started["QueryExecutionId"])
            status = execution["Status"]
            if status["State"] != "SUCCEEDED":
                reason = status.get("StateChangeReason", "it gives no reason")
                raise ClientError(f"Athena's query {execution['QueryExecutionId']} ended {status['State']}: {reason}")
            return self._result(execution["ResultConfiguration"]["OutputLocation"]), execution
        except (BotoCoreError, AwsError) as error:
            raise ClientError(f"Athena could not be asked (results to {self._output}): {error}") from error

    def _ended(self, identifier: str) -> dict[str, Any]:
        for wait in _waits():
            execution: dict[str, Any] = self._athena.get_query_execution(QueryExecutionId=identifier)["QueryExecution"]
            if execution["Status"]["State"] not in ("QUEUED", "RUNNING"):
                return execution
            self._sleep(wait)
        raise AssertionError("the waits do not end")

    def _result(self, uri: str) -> pa.Table:
        parts = urlsplit(uri)
        content = self._s3.get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"))["Body"].read()
        return texts(content)


def _waits() -> Iterator[float]:
    wait = _SHORTEST_WAIT
    while True:
        yield wait
        wait = min(wait * _BACK_OFF, _LONGEST_WAIT)


def texts(content: bytes) -> pa.Table:
    """The table of a result's CSV: all columns texts, null where the result has null."""
    columns = content[: content.index(b"\n")].decode().replace('"', "").split(",")
    return csv.read_csv(
        pa.BufferReader(content),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def quoted(name: str) -> str:
    """A name of a table or column as SQL writes it, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'
