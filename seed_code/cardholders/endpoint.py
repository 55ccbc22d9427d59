"""The model server of a package, as a subprocess that is asked for answers to records."""

import http.client
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seed_code.common import documents
from seed_code.common.errors import ClientError
from seed_code.common.served_model import ServedModel


class Endpoint(ServedModel):
    """A running server of one model package. A context manager: the process ends with the block.

    Attributes:
        manifest: the package's manifest.
    """

    def __init__(self, archive: Path, source: str) -> None:
        """Extract `archive`, called `source` in messages; `__enter__` starts the server.

        Raises:
            ClientError: when the archive is not readable or has no manifest.
        """
        super().__init__(archive, "seed_code.cardholders.serve", source)
        try:
            self.manifest: dict[str, Any] = documents.read(self.folder / "manifest.json")
        except BaseException:
            self._remove()
            raise

    def invoke(self, payload: Any) -> Any:
        """The `response` to a record or to a list of records.

        Raises:
            ClientError: when the server refuses the request; with its message.
        """
        with self.connection() as connection:
            return self._response(connection, payload)

    def invoke_all(self, records: Sequence[dict[str, Any]], size: int = 2000) -> list[dict[str, Any]]:
        """The answers to any number of records, asked for in batches of `size` over one connection."""
        answers: list[dict[str, Any]] = []
        with self.connection() as connection:
            for start in range(0, len(records), size):
                answers += self._response(connection, records[start : start + size])
        return answers

    def latencies_ms(self, records: Sequence[dict[str, Any]]) -> list[float]:
        """Milliseconds from request to answer, of each record alone, one after the other over one connection."""
        taken = []
        with self.connection() as connection:
            for record in records:
                started = time.perf_counter()
                self._response(connection, record)
                taken.append((time.perf_counter() - started) * 1000)
        return taken

    def _response(self, connection: http.client.HTTPConnection, payload: Any) -> Any:
        body = json.dumps(payload, separators=(",", ":"), allow_nan=False)
        status, document = self.post(connection, "application/json", body)
        if status != 200:
            error = document["error"]
            where = error["field"] or "the request"
            raise ClientError(f"the server of {self.source} answered {status}: {where}: {error['message']}")
        return document["response"]
