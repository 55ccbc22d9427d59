"""The service athena: StartQueryExecution, GetQueryExecution, GetQueryResults, StopQueryExecution.

A query runs on a thread: QUEUED, RUNNING, and then SUCCEEDED with its result as CSV at OutputLocation, FAILED with a
reason, or CANCELLED. What a table's feature group has taken, and not yet written, is written before the table is read.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.athena import results, values
from localcloud.athena.engine import Engine
from localcloud.athena.errors import Interrupted, QueryError
from localcloud.catalog import CATALOG, Catalog, Table
from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.featurestore.store import FeatureStore, FlushError
from localcloud.jobs.transfer import TransferError, parse_uri
from localcloud.leaf import LeafUnavailable
from localcloud.service import Handler
from localcloud.table_files import TableFiles

_LOG = logging.getLogger(__name__)
_KIND, _TOKEN_KIND = "athena/query", "athena/token"
# Of a query's document what nobody is told.
_OWN = frozenset({"Caller", "Columns"})
_WORK_GROUP = "primary"
_ENGINE = "Athena engine version 3"
_LIMIT_SECONDS = 1800.0
_RUNNING = ("QUEUED", "RUNNING")
_MOST_ROWS = 1000
_CUT_OFF = "localcloud stopped while the query ran. Start it again"


class Athena:
    """The service. Two queries run at once; others wait, QUEUED."""

    name = "athena"

    def __init__(self, context: Context, store: FeatureStore, files: TableFiles) -> None:
        self._context, self._store, self._files = context, store, files
        self._catalog: Catalog = store.catalog
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="athena")
        self._engines: dict[str, Engine] = {}
        self._stopped: set[str] = set()
        self._closing = False
        self._lock = threading.Lock()
        self._operations: dict[str, Handler] = {
            "StartQueryExecution": self.start_query,
            "GetQueryExecution": self.get_query,
            "GetQueryResults": self.get_results,
            "StopQueryExecution": self.stop_query,
        }

    @property
    def operations(self) -> Mapping[str, Handler]:
        """What is implemented, by name."""
        return self._operations

    def start(self) -> None:
        """End the queries that an earlier process left running."""
        for execution_id, document in self._context.store.list(_KIND):
            if document["Status"]["State"] in _RUNNING:
                self._end(execution_id, "FAILED", _CUT_OFF)

    def stop(self) -> None:
        """End every query. Those that run stay as they are in the store, for the next start to end them."""
        with self._lock:
            self._closing = True
            engines = list(self._engines.values())
        for engine in engines:
            engine.interrupt()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def start_query(self, request: Request) -> dict[str, Any]:
        """StartQueryExecution. The same ClientRequestToken again gives the same query."""
        params = request.params
        _check(params)
        location = (params.get("ResultConfiguration") or {}).get("OutputLocation")
        if not location:
            raise _invalid(
                "No output location provided. An output location is required either through the Workgroup result"
                " configuration setting or as an API input."
            )
        try:
            bucket, prefix = parse_uri(location)
        except TransferError as error:
            raise _invalid(f"outputLocation is not a valid S3 path: {error}") from error
        asked = json.dumps(
            [params["QueryString"], params.get("QueryExecutionContext"), params.get("ResultConfiguration")]
        )
        execution_id = str(uuid.uuid4())
        key = "/".join(part for part in (prefix.rstrip("/"), f"{execution_id}.csv") if part)
        context = params.get("QueryExecutionContext") or {}
        document = {
            "QueryExecutionId": execution_id,
            "Query": params["QueryString"].strip(),
            "StatementType": "DML",
            "SubstatementType": "SELECT",
            "ResultConfiguration": {"OutputLocation": f"s3://{bucket}/{key}"},
            "QueryExecutionContext": {
                "Database": context.get("Database", "default").lower(),
                "Catalog": context.get("Catalog", CATALOG).lower(),
            },
            "Status": {"State": "QUEUED", "SubmissionDateTime": self._context.clock.now()},
            "Statistics": {},
            "WorkGroup": _WORK_GROUP,
            "EngineVersion": {"SelectedEngineVersion": "AUTO", "EffectiveEngineVersion": _ENGINE},
            "Caller": self._context.principals.of(request.access_key),
        }
        store = self._context.store
        with store.transaction():
            token = params.get("ClientRequestToken")
            known = store.get(_TOKEN_KIND, token) if token else None
            if known is not None:
                if known["Asked"] != asked:
                    raise _invalid("Idempotent parameters do not match")
                return {"QueryExecutionId": known["QueryExecutionId"]}
            if token:
                store.put(_TOKEN_KIND, token, {"QueryExecutionId": execution_id, "Asked": asked})
            store.put(_KIND, execution_id, document)
        try:
            self._threads.submit(self._run, execution_id, time.monotonic())
        except RuntimeError:
            raise ServiceError("InternalServerException", "localcloud is stopping", 500) from None
        return {"QueryExecutionId": execution_id}

    def get_query(self, request: Request) -> dict[str, Any]:
        """GetQueryExecution."""
        document = self._get(request.params["QueryExecutionId"])
        return {"QueryExecution": {name: value for name, value in document.items() if name not in _OWN}}

    def get_results(self, request: Request) -> dict[str, Any]:
        """GetQueryResults: a page of the CSV in S3, whose first row is the header."""
        params = request.params
        document = self._get(params["QueryExecutionId"])
        state = document["Status"]["State"]
        if state != "SUCCEEDED":
            reason = document["Status"].get("StateChangeReason", "")
            raise _invalid(
                f"Query did not finish successfully. Final query state: {state}" + (f": {reason}" if reason else "")
                if state not in _RUNNING
                else f"Query has not yet finished. Current state: {state}"
            )
        if params.get("QueryResultType", "DATA_ROWS") != "DATA_ROWS":
            raise _invalid("localcloud's Athena gives DATA_ROWS only")
        columns = document["Columns"]
        bucket, key = parse_uri(document["ResultConfiguration"]["OutputLocation"])
        start = _read_token(params.get("NextToken"), document["QueryExecutionId"])
        try:
            rows, following = results.read_page(
                self._s3(self._context.principals.of(request.access_key)),
                bucket,
                key,
                start,
                params.get("MaxResults", _MOST_ROWS),
                len(columns),
            )
        except (ClientError, BotoCoreError, ValueError) as error:
            raise _invalid(f"Could not find results: s3://{bucket}/{key}: {error}") from error
        token = None if following is None else _token(following, document["QueryExecutionId"])
        return {
            "ResultSet": {
                "Rows": [{"Data": [{} if value is None else {"VarCharValue": value} for value in row]} for row in rows],
                "ResultSetMetadata": {"ColumnInfo": columns},
            },
            "NextToken": token,
            "UpdateCount": 0,
        }

    def stop_query(self, request: Request) -> dict[str, Any]:
        """StopQueryExecution: nothing happens to one that has ended."""
        execution_id = request.params["QueryExecutionId"]
        self._get(execution_id)
        with self._lock:
            self._stopped.add(execution_id)
            engine = self._engines.get(execution_id)
        if engine is not None:
            engine.interrupt()
        self._end(execution_id, "CANCELLED", "Query cancelled by user")
        return {}

    def _get(self, execution_id: str) -> dict[str, Any]:
        document = self._context.store.get(_KIND, execution_id)
        if document is None:
            raise _invalid(f"QueryExecution {execution_id} was not found")
        return document

    def _run(self, execution_id: str, submitted: float) -> None:
        begun = time.monotonic()
        timer: threading.Timer | None = None
        engine: Engine | None = None
        try:
            self._change(execution_id, lambda document: document["Status"].update({"State": "RUNNING"}))
            engine = Engine()
            with self._lock:
                if self._closing or execution_id in self._stopped:
                    return
                self._engines[execution_id] = engine
            timer = threading.Timer(_LIMIT_SECONDS, engine.interrupt)
            timer.daemon = True
            timer.start()
            columns, scanned = self._execute(engine, self._get(execution_id))
            done = time.monotonic()
            statistics = {
                "EngineExecutionTimeInMillis": int(1000 * (done - begun)),
                "DataScannedInBytes": scanned,
                "TotalExecutionTimeInMillis": int(1000 * (done - submitted)),
                "QueryQueueTimeInMillis": int(1000 * (begun - submitted)),
                "ServiceProcessingTimeInMillis": 0,
            }
            self._end(execution_id, "SUCCEEDED", None, Columns=columns, Statistics=statistics)
        except QueryError as error:
            self._end(execution_id, "FAILED", str(error))
        except Interrupted:
            if not self._closing:
                self._end(execution_id, "FAILED", f"Query exhausted its time limit of {_LIMIT_SECONDS:g} s")
        except LeafUnavailable:
            pass  # localcloud stops; the next start ends the query
        except Exception as error:
            _LOG.exception("the query %s", execution_id)
            self._end(execution_id, "FAILED", f"GENERIC_INTERNAL_ERROR: {type(error).__name__}: {error}")
        finally:
            if timer is not None:
                timer.cancel()
            with self._lock:
                self._engines.pop(execution_id, None)
                self._stopped.discard(execution_id)
            if engine is not None:
                engine.close()

    def _execute(self, engine: Engine, document: Mapping[str, Any]) -> tuple[list[dict[str, Any]], int]:
        # sqlglot takes a third of a second to import, which readiness does not wait for.
        from localcloud.athena.translate import translate

        context = document["QueryExecutionContext"]
        if context["Catalog"] != CATALOG.lower():
            raise QueryError(f"CATALOG_NOT_FOUND: Catalog '{context['Catalog']}' does not exist")
        translation = translate(
            document["Query"], context["Database"], self._catalog.find, {"default", *self._catalog.databases()}
        )
        s3, scanned = self._context.leaf.client("s3"), 0
        self._check_rights(document, translation.tables)
        for name, table in translation.tables.items():
            try:
                self._store.flush(table.feature_group)
                files = self._files.files(s3, table.location)
            except (FlushError, ClientError, BotoCoreError) as error:
                raise QueryError(f"HIVE_FILESYSTEM_ERROR: the files of {name} at {table.location}: {error}") from error
            engine.add(name, table, files)
            scanned += files.size_bytes
        with engine.run(translation.sql) as (types, rows):
            try:
                columns = [
                    values.column(name, type_name) for name, type_name in zip(translation.columns, types, strict=True)
                ]
            except ValueError as error:
                raise QueryError(f"NOT_SUPPORTED: {error}") from error
            bucket, key = parse_uri(document["ResultConfiguration"]["OutputLocation"])
            with tempfile.TemporaryFile() as stream:
                results.write(stream, [translation.columns])
                results.write(stream, rows)
                stream.seek(0)
                try:
                    self._s3(document.get("Caller", "")).put_object(
                        Bucket=bucket, Key=key, Body=stream, ContentType="application/octet-stream"
                    )
                except (ClientError, BotoCoreError) as error:
                    raise QueryError(f"Unable to write the result to s3://{bucket}/{key}: {error}") from error
        return columns, scanned

    def _s3(self, caller: str) -> Any:
        return self._context.clients.of("s3", caller if ":role/" in caller else None)

    def _check_rights(self, document: Mapping[str, Any], tables: Mapping[str, Table]) -> None:
        """What Athena asks Glue and S3 for in the name of who queries. Raises QueryError for what they may not do."""
        caller = document.get("Caller", "")
        if ":role/" not in caller:
            return
        context = self._context
        glue = f"arn:aws:glue:{context.region}:{context.account_id}"
        bucket, _ = parse_uri(document["ResultConfiguration"]["OutputLocation"])
        needed = [("s3:GetBucketLocation", f"arn:aws:s3:::{bucket}")]
        for table in tables.values():
            data, prefix = parse_uri(table.location)
            above = ("catalog", f"database/{table.database}")
            needed += [("glue:GetDatabase", f"{glue}:{resource}") for resource in above]
            for resource in (*above, f"table/{table.database}/{table.name}"):
                needed += [(f"glue:{action}", f"{glue}:{resource}") for action in ("GetTable", "GetPartitions")]
            needed += [("s3:ListBucket", f"arn:aws:s3:::{data}"), ("s3:GetObject", f"arn:aws:s3:::{data}/{prefix}/*")]
        try:
            for action, resource in needed:
                context.authority.check(caller, action, resource)
        except ServiceError as error:
            raise QueryError(f"Insufficient permissions to execute the query. {error.message}") from error

    def _end(self, execution_id: str, state: str, reason: str | None, **members: Any) -> None:
        now = self._context.clock.now()

        def ended(document: dict[str, Any]) -> None:
            # Whatever ended it first stands.
            if document["Status"]["State"] not in _RUNNING:
                return
            document["Status"] |= {"State": state, "CompletionDateTime": now}
            if reason is not None:
                document["Status"]["StateChangeReason"] = reason
                if state == "FAILED":
                    document["Status"]["AthenaError"] = {
                        "ErrorCategory": 2,
                        "Retryable": False,
                        "ErrorMessage": reason,
                    }
            document.update(members)

        self._change(execution_id, ended)

    def _change(self, execution_id: str, change: Any) -> None:
        def changed(document: dict[str, Any]) -> dict[str, Any]:
            if document["Status"]["State"] in _RUNNING:
                change(document)
            return document

        self._context.store.update(_KIND, execution_id, changed)


def _check(params: Mapping[str, Any]) -> None:
    """Raise InvalidRequestException for what localcloud's Athena does not do."""
    group = params.get("WorkGroup", _WORK_GROUP)
    if group != _WORK_GROUP:
        raise _invalid(f"WorkGroup {group} is not found. localcloud has the work group {_WORK_GROUP!r} only")
    for name in ("ExecutionParameters", "EngineConfiguration"):
        if params.get(name):
            raise _invalid(f"localcloud's Athena runs no query with {name}; leave it out")
    reuse = (params.get("ResultReuseConfiguration") or {}).get("ResultReuseByAgeConfiguration") or {}
    if reuse.get("Enabled"):
        raise _invalid("localcloud's Athena reuses no results; leave ResultReuseConfiguration out")
    configuration = params.get("ResultConfiguration") or {}
    for name in configuration.keys() - {"OutputLocation"}:
        raise _invalid(f"localcloud's Athena writes no results with {name}; leave it out of ResultConfiguration")


def _invalid(message: str) -> ServiceError:
    return ServiceError("InvalidRequestException", message, 400)


def _token(position: int, execution_id: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([position, execution_id]).encode()).decode()


def _read_token(token: str | None, execution_id: str) -> int:
    if token is None:
        return 0
    try:
        position, of = json.loads(base64.urlsafe_b64decode(token.encode()))
        if of == execution_id and isinstance(position, int) and position >= 0:
            return position
    except (ValueError, TypeError, binascii.Error):
        pass
    raise _invalid(f"The NextToken {token!r} is not one that GetQueryResults gave for the query {execution_id}")
