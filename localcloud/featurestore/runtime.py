"""The service sagemaker-featurestore-runtime: records in and out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.context import Request
from localcloud.errors import ServiceError
from localcloud.featurestore.store import FeatureStore, expires_at
from localcloud.featurestore.values import Record
from localcloud.service import Handler


class FeatureStoreRuntime:
    """PutRecord, GetRecord, BatchGetRecord, DeleteRecord. Starting and stopping it starts and stops the store."""

    name = "sagemaker-featurestore-runtime"

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        self._operations: dict[str, Handler] = {
            "PutRecord": self.put,
            "GetRecord": self.get,
            "BatchGetRecord": self.batch_get,
            "DeleteRecord": self.delete,
        }

    @property
    def operations(self) -> Mapping[str, Handler]:
        """What is implemented, by name."""
        return self._operations

    def start(self) -> None:
        """Take up what an earlier process left."""
        self._store.start()

    def stop(self) -> None:
        """Write what waits to the offline store."""
        self._store.stop()

    def put(self, request: Request) -> dict[str, Any]:
        """PutRecord."""
        params = request.params
        self._store.put(
            _name(params["FeatureGroupName"]), params["Record"], params.get("TargetStores"), params.get("TtlDuration")
        )
        return {}

    def get(self, request: Request) -> dict[str, Any]:
        """GetRecord: an empty answer where there is no record."""
        params = request.params
        schema = self._store.schema(_name(params["FeatureGroupName"]))
        found = self._store.get(schema, params["RecordIdentifierValueAsString"], params.get("FeatureNames"))
        if found is None or not found[0]:
            return {}
        return {
            "Record": _values(found[0]),
            "ExpiresAt": expires_at(found[1]) if params.get("ExpirationTimeResponse") == "Enabled" else None,
        }

    def batch_get(self, request: Request) -> dict[str, Any]:
        """BatchGetRecord: records that there are not are left out, groups that there are not are among the errors."""
        records: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        with_expiry = request.params.get("ExpirationTimeResponse") == "Enabled"
        for wanted in request.params["Identifiers"]:
            group = wanted["FeatureGroupName"]
            for identifier in wanted["RecordIdentifiersValueAsString"]:
                place = {"FeatureGroupName": group, "RecordIdentifierValueAsString": identifier}
                try:
                    schema = self._store.schema(_name(group))
                    found = self._store.get(schema, identifier, wanted.get("FeatureNames"))
                except ServiceError as error:
                    errors.append({**place, "ErrorCode": error.code, "ErrorMessage": error.message[:2048]})
                    continue
                if found is not None and found[0]:
                    expiry = expires_at(found[1]) if with_expiry else None
                    records.append({**place, "Record": _values(found[0]), "ExpiresAt": expiry})
        return {"Records": records, "Errors": errors, "UnprocessedIdentifiers": []}

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteRecord."""
        params = request.params
        self._store.delete(
            _name(params["FeatureGroupName"]),
            params["RecordIdentifierValueAsString"],
            params["EventTime"],
            params.get("TargetStores"),
            hard=params.get("DeletionMode") == "HardDelete",
        )
        return {}


def _name(name_or_arn: str) -> str:
    return name_or_arn.rpartition("/")[2]


def _values(record: Record) -> list[dict[str, str]]:
    return [{"FeatureName": name, "ValueAsString": value} for name, value in record]
