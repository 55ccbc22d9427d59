"""The feature store's inside: what the two services, and Athena, call.

A version that is taken is in SQLite before the call is answered. A thread writes what has gathered to the offline store
(a while after the first version that waits, or when many do); a query of the table does so before it reads, and a stop
before it ends.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.catalog import FEATURE_STORE_DATABASE, Catalog, Table
from localcloud.context import Context
from localcloud.errors import ServiceError
from localcloud.featurestore import offline
from localcloud.featurestore.records import Batch, Records, Version
from localcloud.featurestore.values import (
    Record,
    Schema,
    from_microseconds,
    invalid,
    microseconds,
    ttl_microseconds,
)
from localcloud.jobs.transfer import parse_uri
from localcloud.leaf import LeafUnavailable
from localcloud.table_files import TableFiles

_LOG = logging.getLogger(__name__)
GROUP_KIND = "sagemaker/feature-group"
ONLINE, OFFLINE = "OnlineStore", "OfflineStore"
# Hours of event time, a file each. The leaf, and each new record, waits while so many are written.
_UPLOADED_AT_ONCE = 32
_RETRY_SECONDS = 5.0


class FlushError(Exception):
    """Versions cannot be written to the offline store; the message names the place and says why. They are kept."""


class FeatureStore:
    """Feature groups' records. Safe to call from any thread.

    files: where copies of the offline store's files are kept for queries.
    quiet_seconds: how long there must be no new version before those that wait are written to the offline store.
    flush_seconds: how long a version waits at most, where new ones keep coming (on AWS, up to 15 minutes).
    flush_count: how many may wait at most before they are written at once. Fewer and larger files take less time, which
        is taken from the records that come meanwhile.
    """

    def __init__(
        self,
        context: Context,
        files: TableFiles | None = None,
        *,
        quiet_seconds: float = 0.5,
        flush_seconds: float = 60.0,
        flush_count: int = 50_000,
    ) -> None:
        self._context = context
        self._quiet_seconds, self._flush_seconds, self._flush_count = quiet_seconds, flush_seconds, flush_count
        self._files = files
        self.catalog = Catalog(context.store)
        self._records = Records(context.state_dir / "featurestore" / "records.sqlite")
        self._schemas: dict[str, Schema] = {}
        self._schemas_lock = threading.Lock()
        self._flushing = threading.Lock()
        self._taken, self._waiting = 0, self._records.waiting()
        self._wake = threading.Event()
        self._full = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to write what waits, in the background; an earlier process's versions first."""
        if self._waiting:
            self._wake.set()
        self._thread = threading.Thread(target=self._run, name="offline-store", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write all that waits, as far as that is possible, and close the file."""
        self._stopping.set()
        self._wake.set()
        self._full.set()
        if self._thread is not None:
            self._thread.join()
        if self._context.leaf.wait_until_ready():
            self._flush_all()
        self._records.close()

    # groups ------------------------------------------------------------------------------------------------------

    def schema(self, group: str) -> Schema:
        """The group of that name. Raises ServiceError (ResourceNotFound) unless it is there and ready."""
        schema = self._schemas.get(group)
        if schema is None:
            with self._schemas_lock:
                document = self._context.store.get(GROUP_KIND, group)
                if document is None:
                    raise missing(group)
                if document["FeatureGroupStatus"] != "Created":
                    raise invalid(f"The FeatureGroup [{group}] is in status {document['FeatureGroupStatus']}")
                schema = self._schemas[group] = schema_of(document)
        return schema

    def changed(self, group: str) -> None:
        """Forget what is known of a group: its document has changed."""
        with self._schemas_lock:
            self._schemas.pop(group, None)

    def forget(self, schema: Schema) -> None:
        """Drop a deleted group's records, those of the offline store written first. Raises FlushError."""
        self.flush(schema.key)
        self._records.forget(schema.key)

    # records -----------------------------------------------------------------------------------------------------

    def put(
        self,
        group: str,
        given: Sequence[dict[str, Any]],
        stores: Sequence[str] | None = None,
        ttl: dict[str, Any] | None = None,
    ) -> None:
        """PutRecord. Raises ServiceError."""
        schema = self.schema(group)
        online, wanted_offline = _targets(schema, stores)
        if ttl is not None and not schema.online:
            raise invalid(f"The FeatureGroup [{group}] has no OnlineStore, which a TtlDuration is for")
        record, identifier, event_time = schema.check(given)
        length = ttl_microseconds(ttl) or schema.ttl_microseconds
        version = Version(
            identifier=identifier,
            event_time=event_time,
            invoked_at=self._now(),
            deleted=False,
            record=record,
            expires_at=None if length is None else event_time + length,
        )
        self._records.write(schema.key, version, online=online, offline=wanted_offline)
        self._added(wanted_offline)

    def delete(self, group: str, identifier: str, event_time: str, stores: Sequence[str] | None, *, hard: bool) -> None:
        """DeleteRecord. Raises ServiceError, for a hard deletion also if the stored record is as new."""
        schema = self.schema(group)
        online, wanted_offline = _targets(schema, stores)
        # Checked as a record would be: the identifier's type is one of the group's.
        record, identifier, moment = schema.check(
            [
                {"FeatureName": schema.identifier, "ValueAsString": identifier},
                *(
                    [{"FeatureName": schema.event_time, "ValueAsString": event_time}]
                    if schema.event_time != schema.identifier
                    else []
                ),
            ]
        )
        version = Version(identifier, moment, self._now(), True, record)
        if hard and online:
            if not self._records.erase(schema.key, version, offline=wanted_offline):
                raise invalid(
                    f"EventTime [{event_time}] must be later than that of the record [{identifier}] in the OnlineStore"
                    f" of the FeatureGroup [{group}]"
                )
        else:
            self._records.write(schema.key, version, online=online, offline=wanted_offline)
        self._added(wanted_offline)

    def get(self, schema: Schema, identifier: str, names: Sequence[str] | None) -> tuple[Record, int | None] | None:
        """The latest version of a record, with the features named (or all), and when it expires; None without one.

        Raises ServiceError if the group has no online store or no such feature.
        """
        if not schema.online:
            raise invalid(f"The FeatureGroup [{schema.group}] has no OnlineStore, which records are read from")
        schema.require_features(names)
        found = self._records.latest(schema.key, identifier, self._now())
        if found is None or names is None:
            return found
        record = dict(found[0])
        return [(name, record[name]) for name in names if name in record], found[1]

    # offline store -----------------------------------------------------------------------------------------------

    def flush(self, key: str) -> None:
        """Write all that waits of a group (`Schema.key`) to the offline store. Raises FlushError."""
        with self._flushing:
            # An upload that was cut off is finished first, and then what came after it.
            while True:
                document = self._document(key)
                if document is None or not document.get("OfflineStoreConfig"):
                    return
                now = self._context.clock.now()
                name = functools.partial(offline.object_name, offline.object_stem(now))
                batches = self._records.batches(key, microseconds(now), name)
                if not batches:
                    return
                for first in range(0, len(batches), _UPLOADED_AT_ONCE):
                    self._upload(batches[first : first + _UPLOADED_AT_ONCE], document)

    def _upload(self, batches: Sequence[Batch], document: dict[str, Any]) -> None:
        place = document["OfflineStoreConfig"]["S3StorageConfig"]["ResolvedOutputS3Uri"]
        schema, role_arn = schema_of(document), document["RoleArn"]
        contents = offline.parquet(self._records.contents(batches), schema.types, batches[0].written_at)
        bucket, prefix = parse_uri(place)
        objects = [(f"{prefix}/{batch.object}", content) for batch, content in zip(batches, contents, strict=True)]
        try:
            for key, _ in objects:
                # As the role of the feature group, by whose rights SageMaker writes.
                for action in ("s3:PutObject", "s3:PutObjectAcl"):
                    self._context.authority.check(role_arn, action, f"arn:aws:s3:::{bucket}/{key}")
            etags = self._context.leaf.put_objects(bucket, objects)
        except (ClientError, BotoCoreError, LeafUnavailable, ServiceError) as error:
            reason = f"cannot write to {place}: {error}"
            self._report(schema.group, {"Status": "Blocked", "BlockedReason": reason[:1024]})
            raise FlushError(f"the offline store of the feature group {schema.group!r}: {reason}") from error
        self._records.finish(batches)
        if self._files is not None:
            for batch, etag, content in zip(batches, etags, contents, strict=True):
                self._files.keep(place, batch.object, etag, content)
        self._report(schema.group, {"Status": "Active"})

    def _report(self, group: str, status: dict[str, str]) -> None:
        """Say in the group's description how the offline store is."""
        document = self._context.store.get(GROUP_KIND, group)
        if document is not None and document.get("OfflineStoreStatus") != status:
            self._context.store.update(GROUP_KIND, group, lambda stored: {**stored, "OfflineStoreStatus": status})

    def _document(self, key: str) -> dict[str, Any] | None:
        document = self._context.store.get(GROUP_KIND, key.partition(" ")[0].rpartition("/")[2])
        return document if document is not None and group_key(document) == key else None

    def _flush_all(self) -> bool:
        """Write all groups' versions; whether that went well."""
        done = True
        for key in self._records.groups_waiting():
            if self._document(key) is None:
                # A record that was being taken while its group was deleted.
                self._records.forget(key)
                continue
            try:
                self.flush(key)
            except FlushError as error:
                _LOG.error("%s. What was accepted is kept, and written when that is possible again", error)
                done = False
        self._waiting = self._records.waiting()
        return done

    def _added(self, offline: bool) -> None:
        # Not exact where threads meet, and it need not be: it is set right with every flush.
        self._taken += 1
        self._waiting += offline
        if not self._wake.is_set():
            self._wake.set()
        if self._waiting >= self._flush_count:
            self._full.set()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            if self._stopping.is_set():
                return
            try:
                self._wait_for_others()
                if self._stopping.is_set():
                    return
                self._wake.clear()
                self._full.clear()
                done = self._flush_all()
                self._records.checkpoint()
            except Exception:
                _LOG.exception("a bug in localcloud, while it wrote the offline store")
                done = False
            if not done:
                self._stopping.wait(_RETRY_SECONDS)
                self._wake.set()

    def _wait_for_others(self) -> None:
        waited, before = 0.0, -1
        while waited < self._flush_seconds and before != self._taken and not self._full.is_set():
            before = self._taken
            self._full.wait(self._quiet_seconds)
            waited += self._quiet_seconds
            if self._records.log_is_long:
                self._records.checkpoint()

    def _now(self) -> int:
        return microseconds(self._context.clock.now())


def missing(group: str) -> ServiceError:
    """There is no feature group of that name."""
    return ServiceError(
        "ResourceNotFound", f"Resource Not Found: Amazon SageMaker can't find a FeatureGroup with name {group}", 400
    )


def group_key(document: dict[str, Any]) -> str:
    """What a group's records are kept under: a group of the same name that is made later has none of them."""
    return f"{document['FeatureGroupArn']} {document['CreationTime'].isoformat()}"


def schema_of(document: dict[str, Any]) -> Schema:
    """The group as its records see it."""
    online = document.get("OnlineStoreConfig") or {}
    return Schema(
        group=document["FeatureGroupName"],
        key=group_key(document),
        identifier=document["RecordIdentifierFeatureName"],
        event_time=document["EventTimeFeatureName"],
        types={feature["FeatureName"]: feature["FeatureType"] for feature in document["FeatureDefinitions"]},
        online=bool(online.get("EnableOnlineStore")),
        offline=bool(document.get("OfflineStoreConfig")),
        ttl_microseconds=ttl_microseconds(online.get("TtlDuration")),
    )


def table_of(document: dict[str, Any]) -> Table:
    """The group's table in the catalog."""
    config = document["OfflineStoreConfig"]
    names = config["DataCatalogConfig"]
    schema = schema_of(document)
    return Table(
        database=names.get("Database", FEATURE_STORE_DATABASE),
        name=names["TableName"],
        location=config["S3StorageConfig"]["ResolvedOutputS3Uri"],
        columns=offline.columns(schema.types),
        feature_group=schema.key,
    )


def expires_at(value: int | None) -> str | None:
    """The ExpiresAt of an answer: ISO-8601 in UTC, to the second."""
    return None if value is None else f"{from_microseconds(value):%Y-%m-%dT%H:%M:%SZ}"


def _targets(schema: Schema, stores: Sequence[str] | None) -> tuple[bool, bool]:
    """Whether to write to the online and to the offline store."""
    if stores is None:
        return schema.online, schema.offline
    for store, there in ((ONLINE, schema.online), (OFFLINE, schema.offline)):
        if store in stores and not there:
            raise invalid(f"TargetStores has {store}, which the FeatureGroup [{schema.group}] does not have")
    return ONLINE in stores, OFFLINE in stores
