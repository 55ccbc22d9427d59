"""The operations on applications and their snapshots.

Snapshots are Flink's savepoints in the application's folder. Only the newest one can be restored: what an older one
would have to be fed again is no longer there as files.
"""

from __future__ import annotations

import builtins
import shutil
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.flink.configuration import RUNTIME, check, configured, described, updated
from localcloud.flink.errors import in_use, invalid, missing, refused, unfit
from localcloud.flink.supervisor import KIND, Supervisor
from localcloud.sagemaker.crud import paginate

_SNAPSHOT = "flink/snapshot"
Document = dict[str, Any]
# Ours, and told of otherwise.
_OWN = ("Configuration", "Logging", "Restore", "Run", "Tags")


class Applications:
    """Applications by name."""

    def __init__(self, context: Context, supervisor: Supervisor) -> None:
        self._context, self._store, self._supervisor = context, context.store, supervisor
        self._threads: set[threading.Thread] = set()

    def create(self, request: Request) -> dict[str, Any]:
        """CreateApplication."""
        params = request.params
        if params["RuntimeEnvironment"] != RUNTIME:
            raise invalid(f"localcloud runs {RUNTIME}; got RuntimeEnvironment {params['RuntimeEnvironment']}")
        if params.get("ApplicationMode", "STREAMING") != "STREAMING":
            raise refused(["ApplicationMode INTERACTIVE"], "application")
        name, now = params["ApplicationName"], self._context.clock.now()
        document: Document = {
            "ApplicationARN": self._arn(name),
            "ApplicationName": name,
            "ApplicationDescription": params.get("ApplicationDescription"),
            "RuntimeEnvironment": RUNTIME,
            "ServiceExecutionRole": params["ServiceExecutionRole"],
            "ApplicationStatus": "READY",
            "ApplicationVersionId": 1,
            "CreateTimestamp": now,
            "LastUpdateTimestamp": now,
            "ApplicationMode": "STREAMING",
            "Configuration": configured(params.get("ApplicationConfiguration") or {}),
            "Logging": [_logging(option) for option in params.get("CloudWatchLoggingOptions") or ()],
            "Run": {},
            "Tags": {tag["Key"]: tag.get("Value", "") for tag in params.get("Tags") or ()},
        }
        self._check_code(document)
        if not self._store.put(KIND, name, document, if_absent=True):
            raise in_use(f"Application already exists: {name}")
        return {"ApplicationDetail": _shown(document)}

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribeApplication."""
        return {"ApplicationDetail": _shown(self._get(request.params["ApplicationName"]))}

    def list(self, request: Request) -> dict[str, Any]:
        """ListApplications."""
        found = [document for _, document in self._store.list(KIND)]
        members = ("ApplicationName", "ApplicationARN", "ApplicationStatus", "ApplicationVersionId")
        page, token = self._page(request, found, "ApplicationName")
        shown = [{name: one[name] for name in (*members, "RuntimeEnvironment", "ApplicationMode")} for one in page]
        return {"ApplicationSummaries": shown, "NextToken": token}

    def update(self, request: Request) -> dict[str, Any]:
        """UpdateApplication. One that runs is stopped with a savepoint, and goes on from it."""
        params = request.params
        if names := [one for one in ("RunConfigurationUpdate", "RuntimeEnvironmentUpdate") if params.get(one)]:
            raise refused(names, "update of an application")
        name = params["ApplicationName"]

        def changed(document: Document) -> Document:
            self._check_version(document, params)
            _check_status(document, "READY", "RUNNING")
            configuration = updated(document["Configuration"], params.get("ApplicationConfigurationUpdate") or {})
            replaced = {
                one["CloudWatchLoggingOptionId"]: one for one in params.get("CloudWatchLoggingOptionUpdates") or ()
            }
            logging = [
                {**one, "LogStreamARN": replaced[one["CloudWatchLoggingOptionId"]].get("LogStreamARNUpdate")}
                if one["CloudWatchLoggingOptionId"] in replaced
                else one
                for one in document["Logging"]
            ]
            role = params.get("ServiceExecutionRoleUpdate", document["ServiceExecutionRole"])
            status = "UPDATING" if document["ApplicationStatus"] == "RUNNING" else "READY"
            return self._next_version(
                {
                    **document,
                    "Configuration": configuration,
                    "Logging": logging,
                    "ServiceExecutionRole": role,
                    "ApplicationStatus": status,
                }
            )

        after = self._change(name, changed)
        if after["ApplicationStatus"] == "UPDATING":
            self._later(name, lambda: self._restart(name))
        return {"ApplicationDetail": _shown(after)}

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteApplication, with its snapshots. One that runs must be stopped first."""
        name = request.params["ApplicationName"]
        document = self._get(name)
        if document["CreateTimestamp"].replace(microsecond=0) != request.params["CreateTimestamp"].replace(
            microsecond=0
        ):
            raise invalid(f"CreateTimestamp is not that of the application {name}: {document['CreateTimestamp']}")
        _check_status(document, "READY")
        with self._store.transaction():
            self._store.delete(KIND, name)
            for key, _ in self._store.list(_SNAPSHOT, f"{name}/"):
                self._store.delete(_SNAPSHOT, key)
        shutil.rmtree(self._supervisor.folder_of(name), ignore_errors=True)
        return {}

    def start(self, request: Request) -> dict[str, Any]:
        """StartApplication: from the newest snapshot, if there is one and nothing else is asked for.

        Raises InvalidApplicationConfigurationException where this machine cannot run it, and says what to do.
        """
        params = request.params
        name = params["ApplicationName"]
        document = self._get(name)
        _check_status(document, "READY")
        check(document["Configuration"])
        self._supervisor.engine.check()
        run = params.get("RunConfiguration") or {}
        if (run.get("FlinkRunConfiguration") or {}).get("AllowNonRestoredState"):
            raise refused(["AllowNonRestoredState"], "application")
        restore = self._restore_path(name, run.get("ApplicationRestoreConfiguration") or {})

        def changed(there: Document) -> Document:
            _check_status(there, "READY")
            return {**there, "ApplicationStatus": "STARTING", "Run": _run_shown(run), "Restore": restore}

        after = self._change(name, changed)
        if restore is None:
            self._outdate_snapshots(name)
        self._supervisor.begin(name, after, anew=True)
        return {}

    def stop(self, request: Request) -> dict[str, Any]:
        """StopApplication: with a snapshot, where they are enabled and Force is not asked for."""
        params = request.params
        name, force = params["ApplicationName"], params.get("Force", False)

        def changed(there: Document) -> Document:
            _check_status(there, "RUNNING", *(("STARTING", "STOPPING", "UPDATING") if force else ()))
            return {**there, "ApplicationStatus": "FORCE_STOPPING" if force else "STOPPING"}

        document = self._change(name, changed)
        with_snapshot = document["Configuration"]["Snapshots"] and not force
        self._later(name, lambda: self._stop(name, with_snapshot))
        return {}

    def create_snapshot(self, request: Request) -> dict[str, Any]:
        """CreateApplicationSnapshot: of an application that runs."""
        params = request.params
        document = self._get(params["ApplicationName"])
        _check_status(document, "RUNNING")
        if not document["Configuration"]["Snapshots"]:
            raise unfit(f"snapshots are not enabled for the application {document['ApplicationName']}")
        key = f"{document['ApplicationName']}/{params['SnapshotName']}"
        snapshot = self._new_snapshot(document, params["SnapshotName"])
        if not self._store.put(_SNAPSHOT, key, snapshot, if_absent=True):
            raise in_use(f"Snapshot already exists: {params['SnapshotName']}")
        self._later(key, lambda: self._save(document["ApplicationName"], key))
        return {}

    def list_snapshots(self, request: Request) -> dict[str, Any]:
        """ListApplicationSnapshots, the newest first."""
        name = self._get(request.params["ApplicationName"])["ApplicationName"]
        page, token = self._page(request, self._snapshots(name)[::-1], "SnapshotName")
        return {"SnapshotSummaries": [_snapshot_shown(one) for one in page], "NextToken": token}

    def describe_snapshot(self, request: Request) -> dict[str, Any]:
        """DescribeApplicationSnapshot."""
        return {"SnapshotDetails": _snapshot_shown(self._snapshot(request.params))}

    def delete_snapshot(self, request: Request) -> dict[str, Any]:
        """DeleteApplicationSnapshot."""
        snapshot = self._snapshot(request.params)
        self._store.delete(_SNAPSHOT, f"{request.params['ApplicationName']}/{snapshot['SnapshotName']}")
        if snapshot.get("Path"):
            shutil.rmtree(Path(snapshot["Path"]).parent, ignore_errors=True)
        return {}

    def add_logging(self, request: Request) -> dict[str, Any]:
        """AddApplicationCloudWatchLoggingOption: for the next start."""
        params = request.params

        def changed(document: Document) -> Document:
            self._check_version(document, params)
            if document["Logging"]:
                raise invalid("an application has one CloudWatch logging option at most, and this one has it")
            return self._next_version({**document, "Logging": [_logging(params["CloudWatchLoggingOption"])]})

        return self._logging_answer(self._change(params["ApplicationName"], changed))

    def delete_logging(self, request: Request) -> dict[str, Any]:
        """DeleteApplicationCloudWatchLoggingOption."""
        params = request.params

        def changed(document: Document) -> Document:
            self._check_version(document, params)
            left = [
                one
                for one in document["Logging"]
                if one["CloudWatchLoggingOptionId"] != params["CloudWatchLoggingOptionId"]
            ]
            if len(left) == len(document["Logging"]):
                raise missing(f"there is no logging option {params['CloudWatchLoggingOptionId']}")
            return self._next_version({**document, "Logging": left})

        return self._logging_answer(self._change(params["ApplicationName"], changed))

    def tag(self, request: Request) -> dict[str, Any]:
        """TagResource."""
        added = {tag["Key"]: tag.get("Value", "") for tag in request.params["Tags"]}
        self._change(
            self._named(request.params["ResourceARN"]), lambda there: {**there, "Tags": {**there["Tags"], **added}}
        )
        return {}

    def untag(self, request: Request) -> dict[str, Any]:
        """UntagResource."""
        gone = set(request.params["TagKeys"])

        def changed(there: Document) -> Document:
            return {**there, "Tags": {key: value for key, value in there["Tags"].items() if key not in gone}}

        self._change(self._named(request.params["ResourceARN"]), changed)
        return {}

    def tags(self, request: Request) -> dict[str, Any]:
        """ListTagsForResource."""
        document = self._get(self._named(request.params["ResourceARN"]))
        return {"Tags": [{"Key": key, "Value": value} for key, value in document["Tags"].items()]}

    def join(self) -> None:
        """Wait for what runs in the background."""
        for thread in list(self._threads):
            thread.join()

    def _get(self, name: str) -> Document:
        document = self._store.get(KIND, name)
        if document is None:
            raise missing(f"Application not found: {name}")
        return document

    def _change(self, name: str, function: Any) -> Document:
        now = self._context.clock.now()
        try:
            return self._store.update(KIND, name, lambda there: {**function(there), "LastUpdateTimestamp": now})
        except KeyError:
            raise missing(f"Application not found: {name}") from None

    def _next_version(self, document: Document) -> Document:
        return {**document, "ApplicationVersionId": document["ApplicationVersionId"] + 1}

    def _check_version(self, document: Document, params: Mapping[str, Any]) -> None:
        given = params.get("CurrentApplicationVersionId")
        if given is not None and given != document["ApplicationVersionId"]:
            raise ServiceError(
                "ConcurrentModificationException",
                f"CurrentApplicationVersionId is {given}; the application's is {document['ApplicationVersionId']}",
            )

    def _check_code(self, document: Document) -> None:
        location = document["Configuration"]["Code"]
        bucket = location["BucketARN"].rpartition(":")[2]
        s3 = self._context.clients.of("s3", document["ServiceExecutionRole"])
        try:
            s3.head_object(Bucket=bucket, Key=location["FileKey"])
        except ClientError as error:
            raise invalid(
                f"Unable to get the application's code s3://{bucket}/{location['FileKey']}:"
                f" {error.response['Error']['Code']}"
            ) from error

    def _restore_path(self, name: str, restore: Mapping[str, Any]) -> str | None:
        kind = restore.get("ApplicationRestoreType", "RESTORE_FROM_LATEST_SNAPSHOT")
        ready = [one for one in self._snapshots(name) if one["SnapshotStatus"] == "READY"]
        if kind == "SKIP_RESTORE_FROM_SNAPSHOT" or not ready:
            if restore.get("SnapshotName"):
                raise missing(f"there is no snapshot {restore['SnapshotName']} of {name}")
            return None
        newest = ready[-1]
        wanted = restore.get("SnapshotName", newest["SnapshotName"])
        if wanted != newest["SnapshotName"] or newest["Outdated"]:
            raise unfit(
                f"localcloud restores the snapshot of an application's last run; of {wanted} the streams' files are"
                " gone. Name another, or ApplicationRestoreType SKIP_RESTORE_FROM_SNAPSHOT"
            )
        return str(newest["Path"])

    def _outdate_snapshots(self, name: str) -> None:
        """A run that begins anew makes the streams' files anew, too."""
        for one in self._snapshots(name):
            self._store.put(_SNAPSHOT, f"{name}/{one['SnapshotName']}", {**one, "Outdated": True})

    def _restart(self, name: str) -> None:
        target = self._supervisor.folder_of(name) / "savepoints" / uuid.uuid4().hex
        path = self._supervisor.stop(name, target)
        if path is not None:
            self._change(name, lambda there: {**there, "Restore": path})
        self._supervisor.begin(name, self._get(name), anew=path is not None)

    def _stop(self, name: str, with_snapshot: bool) -> None:
        document = self._get(name)
        target = self._supervisor.folder_of(name) / "savepoints" / uuid.uuid4().hex
        path = self._supervisor.stop(name, target if with_snapshot else None)
        if path is not None:
            label = f"{self._context.clock.now():%Y%m%d%H%M%S}-{target.name[:8]}"
            snapshot = {**self._new_snapshot(document, label), "SnapshotStatus": "READY", "Path": path}
            self._store.put(_SNAPSHOT, f"{name}/{label}", snapshot)
        self._supervisor.settle(name, "READY")

    def _save(self, name: str, key: str) -> None:
        target = self._supervisor.folder_of(name) / "savepoints" / uuid.uuid4().hex
        path = self._supervisor.save(name, target)
        members = {"SnapshotStatus": "FAILED"} if path is None else {"SnapshotStatus": "READY", "Path": path}
        self._store.update(_SNAPSHOT, key, lambda there: {**there, **members})

    def _new_snapshot(self, document: Document, name: str) -> Document:
        return {
            "SnapshotName": name,
            "SnapshotStatus": "CREATING",
            "ApplicationVersionId": document["ApplicationVersionId"],
            "SnapshotCreationTimestamp": self._context.clock.now(),
            "RuntimeEnvironment": RUNTIME,
            "Outdated": False,
        }

    def _snapshots(self, name: str) -> builtins.list[Document]:
        return [document for _, document in self._store.list(_SNAPSHOT, f"{name}/")]

    def _snapshot(self, params: Mapping[str, Any]) -> Document:
        self._get(params["ApplicationName"])
        found = self._store.get(_SNAPSHOT, f"{params['ApplicationName']}/{params['SnapshotName']}")
        if found is None:
            raise missing(f"Snapshot not found: {params['SnapshotName']}")
        return found

    def _later(self, name: str, action: Any) -> None:
        def run() -> None:
            try:
                action()
            finally:
                self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=run, name=f"flink-{name}", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _logging_answer(self, document: Document) -> dict[str, Any]:
        return {
            "ApplicationARN": document["ApplicationARN"],
            "ApplicationVersionId": document["ApplicationVersionId"],
            "CloudWatchLoggingOptionDescriptions": document["Logging"],
        }

    def _page(self, request: Request, items: Any, key: str) -> Any:
        params = {"NextToken": request.params.get("NextToken"), "MaxResults": request.params.get("Limit", 50)}
        try:
            return paginate(request.operation, items, params, lambda one: str(one[key]))
        except ServiceError as error:
            raise invalid(error.message) from None

    def _named(self, arn: str) -> str:
        return arn.rpartition("/")[2]

    def _arn(self, name: str) -> str:
        return f"arn:aws:kinesisanalytics:{self._context.region}:{self._context.account_id}:application/{name}"


def _shown(document: Document) -> Document:
    return {
        **{name: value for name, value in document.items() if name not in _OWN},
        "ApplicationConfigurationDescription": described(document["Configuration"], document["Run"]),
        "CloudWatchLoggingOptionDescriptions": document["Logging"],
    }


def _snapshot_shown(document: Document) -> Document:
    return {name: value for name, value in document.items() if name not in ("Path", "Outdated")}


def _run_shown(run: Mapping[str, Any]) -> Document:
    found: Document = {}
    if run.get("ApplicationRestoreConfiguration"):
        found["ApplicationRestoreConfigurationDescription"] = dict(run["ApplicationRestoreConfiguration"])
    if run.get("FlinkRunConfiguration"):
        found["FlinkRunConfigurationDescription"] = dict(run["FlinkRunConfiguration"])
    return found


def _logging(option: Mapping[str, Any]) -> Document:
    return {"CloudWatchLoggingOptionId": uuid.uuid4().hex[:8], "LogStreamARN": option["LogStreamARN"]}


def _check_status(document: Document, *allowed: str) -> None:
    status = document["ApplicationStatus"]
    if status not in allowed:
        raise in_use(f"Application {document['ApplicationName']} is {status}; expected {' or '.join(allowed)}")
