"""Feature groups: Create, Describe, List, Update and Delete. Their records are `localcloud.featurestore`'s."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.catalog import CATALOG, FEATURE_STORE_DATABASE
from localcloud.context import Context, Request
from localcloud.errors import ServiceError, validation
from localcloud.featurestore import offline
from localcloud.featurestore.store import FeatureStore, FlushError, missing, schema_of, table_of
from localcloud.jobs.transfer import TransferError, parse_uri
from localcloud.leaf import LeafUnavailable
from localcloud.sagemaker import shapes
from localcloud.sagemaker.arns import Arns, name_of
from localcloud.sagemaker.crud import Document, Kind, Resources, listing

_LOG = logging.getLogger(__name__)
KIND = Kind(
    noun="FeatureGroup",
    resource="feature-group",
    missing=lambda name, arn: missing(name),
    duplicate=lambda name, arn: ServiceError(
        "ResourceInUse",
        f"Resource Already Exists: FeatureGroup with name {name} already exists. Choose a different name.",
    ),
    status="FeatureGroupStatus",
    defaults={"FeatureGroupStatus": "Creating"},
)
_RESERVED = frozenset({*offline.ADDED, "year", "month", "day", "hour"})


class FeatureGroups:
    """The operations. What takes time on AWS runs on a thread here, so that every status can be seen."""

    def __init__(self, context: Context, arns: Arns, store: FeatureStore) -> None:
        self._context, self._store = context, store
        self.resources = Resources(KIND, context, arns)
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()

    def recover(self) -> None:
        """Go on with what an earlier process began. Their thread waits for the leaf."""
        for name, document in self._context.store.list(KIND.store):
            if document["FeatureGroupStatus"] == "Creating":
                self._later(self._finish_creation, name)
            elif document["FeatureGroupStatus"] == "Deleting":
                self._later(self._finish_deletion, name)

    def join(self) -> None:
        """Wait for what is under way."""
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    def create(self, request: Request) -> dict[str, Any]:
        """CreateFeatureGroup: checked and stored now, Created when its bucket is found."""
        params = request.params
        _check(params)
        config = params.get("OfflineStoreConfig")
        name = params["FeatureGroupName"]
        document = self.resources.add(
            {**params, **({"OfflineStoreConfig": self._resolved(name, config)} if config else {})}
        )
        self._later(self._finish_creation, name)
        return {"FeatureGroupArn": document["FeatureGroupArn"]}

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribeFeatureGroup. All features come at once, so there is no further page."""
        document = self.resources.get(name_of(request.params["FeatureGroupName"]))
        return {**shapes.project(document, shapes.output_shape("DescribeFeatureGroup").name), "NextToken": ""}

    def list(self, request: Request) -> dict[str, Any]:
        """ListFeatureGroups."""
        params = request.params
        documents = [
            {**document, "offline": (document.get("OfflineStoreStatus") or {}).get("Status", "")}
            for _, document in self._context.store.list(KIND.store)
        ]
        wanted = {"FeatureGroupStatus": "FeatureGroupStatusEquals", "offline": "OfflineStoreStatusEquals"}
        for member, equals in wanted.items():
            if equals in params:
                documents = [document for document in documents if document[member] == params[equals]]
        if params.get("SortBy") == "OfflineStoreStatus":
            params = {**params, "SortBy": "offline"}
        return listing(
            "ListFeatureGroups", documents, params, name="FeatureGroupName", default_order=KIND.default_order
        )

    def update(self, request: Request) -> dict[str, Any]:
        """UpdateFeatureGroup: more features, or another time to live for what comes from now on."""
        params = request.params
        given = [name for name in ("FeatureAdditions", "OnlineStoreConfig", "ThroughputConfig") if name in params]
        if len(given) != 1:
            raise validation(
                "Validation Error: Give one of FeatureAdditions, OnlineStoreConfig and ThroughputConfig at a time;"
                f" got {', '.join(given) or 'none'}"
            )
        _check_throughput(params)
        name = name_of(params["FeatureGroupName"])

        def updated(document: Document) -> Document:
            if document["FeatureGroupStatus"] != "Created":
                raise validation(
                    f"Validation Error: The FeatureGroup {name} is in status {document['FeatureGroupStatus']};"
                    " expected Created"
                )
            document["LastUpdateStatus"] = {"Status": "Successful"}
            if "ThroughputConfig" in params:
                return {**document, "ThroughputConfig": params["ThroughputConfig"]}
            if "OnlineStoreConfig" in params:
                online = document.get("OnlineStoreConfig") or {}
                if not online.get("EnableOnlineStore"):
                    raise validation(f"Validation Error: The FeatureGroup {name} has no OnlineStore")
                kept = {key: value for key, value in online.items() if key != "TtlDuration"}
                duration = params["OnlineStoreConfig"].get("TtlDuration")
                _check_ttl(duration)
                return {**document, "OnlineStoreConfig": {**kept, **({"TtlDuration": duration} if duration else {})}}
            definitions = [*document["FeatureDefinitions"], *params["FeatureAdditions"]]
            _check_definitions(definitions)
            return {**document, "FeatureDefinitions": definitions}

        with self._context.store.transaction():
            document = self.resources.change(name, updated)
            if document.get("OfflineStoreConfig"):
                self._store.catalog.replace(table_of(document))
        self._store.changed(name)
        return {"FeatureGroupArn": document["FeatureGroupArn"]}

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteFeatureGroup: the online store's records go; the offline store's files, and their table, stay."""
        name = name_of(request.params["FeatureGroupName"])

        def deleting(document: Document) -> Document:
            if document["FeatureGroupStatus"] == "Creating":
                raise validation(f"Validation Error: The FeatureGroup {name} is in status Creating; wait for its end")
            return {**document, "FeatureGroupStatus": "Deleting"}

        self.resources.change(name, deleting)
        self._store.changed(name)
        self._later(self._finish_deletion, name)
        return {}

    def _resolved(self, name: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """The request's OfflineStoreConfig with what the service chooses: the files' place, and the table's name."""
        storage = config["S3StorageConfig"]
        given = config.get("DataCatalogConfig")
        database = (given or {}).get("Database", FEATURE_STORE_DATABASE).lower()
        seconds = int(self._context.clock.now().timestamp())
        table = given["TableName"].lower() if given else offline.table_name(name, seconds)
        if given and self._store.catalog.find(database, table):
            raise validation(f"Validation Error: The catalog has the table {database}.{table} already")
        # A group of this name may have been made, and deleted, within the same second; its table is still there.
        while not given and self._store.catalog.find(database, table):
            seconds += 1
            table = offline.table_name(name, seconds)
        place = offline.location(storage["S3Uri"], self._context.account_id, self._context.region, name, seconds)
        return {
            **config,
            "S3StorageConfig": {**storage, "ResolvedOutputS3Uri": place},
            "DisableGlueTableCreation": False,
            "DataCatalogConfig": {"TableName": table, "Catalog": CATALOG, "Database": database},
            "TableFormat": "Glue",
        }

    def _finish_creation(self, name: str) -> None:
        document = self.resources.get(name)
        config = document.get("OfflineStoreConfig")
        members: Document = {"FeatureGroupStatus": "Created"}
        if config:
            place = config["S3StorageConfig"]["ResolvedOutputS3Uri"]
            try:
                bucket, _ = parse_uri(place)
                self._context.leaf.client("s3").head_bucket(Bucket=bucket)
                self._context.authority.check(document["RoleArn"], "s3:GetBucketAcl", f"arn:aws:s3:::{bucket}")
                members["OfflineStoreStatus"] = {"Status": "Active"}
                offline.prepare()
            except LeafUnavailable:
                return  # localcloud stops before it could look: the next start does
            except (ClientError, BotoCoreError, ServiceError) as error:
                members = {
                    "FeatureGroupStatus": "CreateFailed",
                    "FailureReason": f"Validation Error: The bucket of {place} cannot be used: {error}"[:1024],
                }
        with self._context.store.transaction():
            if config and members["FeatureGroupStatus"] == "Created":
                self._store.catalog.replace(table_of(document))
            self.resources.change(name, lambda stored: {**stored, **members})
        self._store.changed(name)

    def _finish_deletion(self, name: str) -> None:
        schema = schema_of(self.resources.get(name))
        try:
            self._store.forget(schema)
        except FlushError as error:
            reason = f"{error}"[:1024]
            failed = {"FeatureGroupStatus": "DeleteFailed", "FailureReason": reason}
            self.resources.change(name, lambda stored: {**stored, **failed})
            return
        self.resources.remove(name)

    def _later(self, work: Callable[[str], None], name: str) -> None:
        def run() -> None:
            try:
                work(name)
            except Exception:
                _LOG.exception("the feature group %s", name)
            finally:
                with self._lock:
                    self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=run, name=f"feature-group-{name}", daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()


def _check(params: Mapping[str, Any]) -> None:
    """Raise ValidationException for a group that there cannot be, or that localcloud does not have."""
    definitions = params["FeatureDefinitions"]
    _check_definitions(definitions)
    types = {feature["FeatureName"]: feature["FeatureType"] for feature in definitions}
    for member in ("RecordIdentifierFeatureName", "EventTimeFeatureName"):
        if params[member] not in types:
            raise validation(
                f"Validation Error: {member} {params[member]!r} is not among the FeatureDefinitions: {', '.join(types)}"
            )
    event_time = params["EventTimeFeatureName"]
    if types[event_time] not in ("String", "Fractional"):
        raise validation(
            f"Validation Error: The type of the EventTime feature {event_time!r} is {types[event_time]}; expected"
            " String or Fractional"
        )
    online, storage = params.get("OnlineStoreConfig") or {}, params.get("OfflineStoreConfig")
    if not online.get("EnableOnlineStore") and not storage:
        raise validation(
            "Validation Error: Give an OnlineStoreConfig with EnableOnlineStore, an OfflineStoreConfig or both"
        )
    _check_ttl(online.get("TtlDuration"))
    _check_throughput(params)
    if storage:
        _check_offline(storage, params.get("RoleArn"))


def _check_offline(config: Mapping[str, Any], role: str | None) -> None:
    if not role:
        raise validation("Validation Error: A group with an OfflineStoreConfig needs a RoleArn")
    if config.get("TableFormat", "Glue") not in ("Glue", "Default"):
        raise validation(f"localcloud has no TableFormat {config['TableFormat']!r}; leave it out, or give 'Glue'")
    if config.get("DisableGlueTableCreation"):
        raise validation("localcloud makes the table of every offline store: leave DisableGlueTableCreation out")
    catalog = (config.get("DataCatalogConfig") or {}).get("Catalog", CATALOG)
    if catalog.lower() != CATALOG.lower():
        raise validation(f"localcloud has the catalog {CATALOG} only; got {catalog!r}")
    uri = config["S3StorageConfig"]["S3Uri"]
    try:
        parse_uri(uri)
    except TransferError as error:
        raise validation(f"Validation Error: {error}") from error


def _check_definitions(definitions: list[Mapping[str, Any]]) -> None:
    seen: set[str] = set()
    for feature in definitions:
        name = feature["FeatureName"]
        if name.lower() in _RESERVED:
            raise validation(f"Validation Error: The feature name {name!r} is one that the service itself uses")
        # The catalog knows columns in lower case only.
        if name.lower() in seen:
            raise validation(f"Validation Error: Two features are named {name!r}, apart from upper and lower case")
        seen.add(name.lower())
        if feature.get("CollectionType") or feature.get("CollectionConfig"):
            raise validation(f"localcloud has no collection features; {name!r} must have no CollectionType")
    if len(definitions) > 2500:
        raise validation(f"Validation Error: A group has at most 2,500 features; got {len(definitions)}")


def _check_ttl(duration: Mapping[str, Any] | None) -> None:
    if duration and duration.keys() != {"Unit", "Value"}:
        raise validation(f"Validation Error: A TtlDuration needs both Unit and Value; got {sorted(duration)}")


def _check_throughput(params: Mapping[str, Any]) -> None:
    mode = (params.get("ThroughputConfig") or {}).get("ThroughputMode", "OnDemand")
    if mode != "OnDemand":
        raise validation(f"localcloud measures out no capacity: ThroughputMode must be 'OnDemand'; got {mode!r}")
