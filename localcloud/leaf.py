"""The services that localcloud does not own but stores: moto, in process, behind one lock and a journal.

moto is reached by its WSGI application only. Its dictionaries are not thread-safe, so one call runs at a time; a call
takes about a millisecond. moto is imported on a thread of its own after the start, which takes a second or two: a call
that comes earlier waits.

A call that changes something is journalled before it is answered, and replayed by the next process
(`localcloud.journal`). For a replay to give the same result, what moto takes from its surroundings has to be the same
again: its random numbers (seeded by the number of the call), and the time (the time of the call). Asymmetric KMS keys
are the exception: their material comes from a library that takes no seed.
"""

from __future__ import annotations

import datetime as datetime_module
import importlib
import logging
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, tzinfo
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from botocore.exceptions import ClientError

from localcloud.clients import credential_scope, in_process_client
from localcloud.clock import Clock
from localcloud.journal import Call, Journal
from localcloud.protocols import models
from localcloud.protocols.http import HttpRequest, HttpResponse
from localcloud.wsgi import call

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

SERVICES = (
    "s3",
    "ssm",
    "sts",
    "iam",
    "kms",
    "dynamodb",
    "ec2",
    "sqs",
    "sns",
    "logs",
    "ecr",
    "secretsmanager",
)
"""What moto answers for, by botocore name; each is also its own signing name."""

# What the first jobs call, and then what else the build loop does: moto imports a service, compiles its templates and
# its routes, and boto3 makes its client, when they are first called. All of these are refused or only read.
_NOWHERE = "localcloud-warm-up"
_WARMED: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("s3", "put_object", {"Bucket": _NOWHERE, "Key": "k", "Body": b""}),
    ("s3", "get_object", {"Bucket": _NOWHERE, "Key": "k"}),
    ("s3", "head_object", {"Bucket": _NOWHERE, "Key": "k"}),
    ("s3", "list_objects_v2", {"Bucket": _NOWHERE}),
    ("ecr", "batch_get_image", {"repositoryName": _NOWHERE, "imageIds": [{"imageTag": "t"}]}),
    ("logs", "create_log_stream", {"logGroupName": _NOWHERE, "logStreamName": "s"}),
    (
        "logs",
        "put_log_events",
        {"logGroupName": _NOWHERE, "logStreamName": "s", "logEvents": [{"timestamp": 0, "message": "m"}]},
    ),
    ("logs", "get_log_events", {"logGroupName": _NOWHERE, "logStreamName": "s"}),
    ("sts", "get_caller_identity", {}),
    ("ssm", "get_parameters_by_path", {"Path": f"/{_NOWHERE}"}),
    ("iam", "get_role", {"RoleName": _NOWHERE}),
)

# Settings that moto reads from the environment, most of them at import. MOTO_S3_DEFAULT_KEY_BUFFER_SIZE: objects above
# this size are kept in unlinked files below TMPDIR, not in memory. MOTO_DISABLE_GLOBAL_CORS: a web page that is open in
# a browser has no business here.
_MOTO_ENVIRONMENT = {
    "MOTO_DISABLE_GLOBAL_CORS": "true",
    "MOTO_S3_DEFAULT_KEY_BUFFER_SIZE": str(1024 * 1024),
    "MOTO_EVENTS_INVOKE_HTTP": "false",
    # A second and tens of megabytes for images of machines, which nobody asks for.
    "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",
}

_READ_ONLY = re.compile(
    r"(Get|Describe|List|Head|BatchGet|BatchCheck|Query$|Scan$|Search|Lookup|Filter|Simulate|TransactGet|Validate)"
)
_READ_ONLY_KMS = re.compile(r"(Encrypt|Decrypt|ReEncrypt|GenerateDataKey|GenerateRandom|GenerateMac|Verify|Sign)")

_ISSUED_ACCESS_KEY = re.compile(rb"<AccessKeyId>(A[A-Z0-9]{15,127})</AccessKeyId>")

_LOG = logging.getLogger(__name__)

Answer = TypeVar("Answer")


class LeafUnavailable(Exception):
    """The leaf could not be started, or has been closed; the message says why."""


class Leaf:
    """moto behind one lock. All methods may be called from any thread.

    folder: where the journal lives; None keeps none (for a state that nobody will come back to).
    """

    def __init__(self, folder: Path | None, *, region: str, account_id: str, clock: Clock) -> None:
        self._region = region
        self._account_id = account_id
        self._time = _LeafTime(clock)
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._failure: str | None = None
        self._applications: _Applications | None = None
        self._clients: dict[str, Any] = {}
        self._clients_lock = threading.Lock()
        self._journal = Journal(folder) if folder is not None else None
        self._changes: Counter[str] = Counter()
        self._sequence = self._journal.next_sequence() if self._journal else 1
        self._issued_access_keys = self._journal.access_keys() if self._journal else set()
        self._replayed = 0
        self._replay_failures = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to import moto and to replay the journal, on another thread; returns at once."""
        self._thread = threading.Thread(target=self._run, name="leaf-start", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish the call under way and close the journal. Later calls raise LeafUnavailable."""
        self._closed = True
        if self._thread is not None:
            # An import of moto in the middle of the process's own end, or beside a caller's imports, breaks them.
            self._thread.join()
        with self._lock:
            if self._journal is not None:
                self._journal.close()
            self._applications = None
        self._ready.set()

    def wait_until_ready(self, timeout_seconds: float | None = None) -> bool:
        """Wait until calls are answered at once; whether they are."""
        return self._ready.wait(timeout_seconds)

    def status(self) -> dict[str, Any]:
        """For `localcloud status`: whether it is ready, and how the replay went."""
        return {
            "ready": self._ready.is_set() and self._failure is None and not self._closed,
            "replayed_calls": self._replayed,
            "replay_failures": self._replay_failures,
            "failure": self._failure,
        }

    def changes(self, service: str) -> int:
        """How many calls have changed the service so far: what was read from it holds while this stays the same."""
        return self._changes[service]

    def issued(self, access_key: str) -> bool:
        """Whether the leaf's STS or IAM made up this access key itself."""
        return access_key in self._issued_access_keys

    def handle(self, service: str, request: HttpRequest) -> HttpResponse:
        """Answer a request for a leaf service, addressed in path style, its body not chunked.

        A change is in the journal when this returns. Raises LeafUnavailable.
        """
        return self._handle_all(service, [request])[0]

    def put_objects(self, bucket: str, objects: Sequence[tuple[str, bytes]]) -> list[str]:
        """Write S3 objects, given as keys and contents; gives their ETags.

        A third of the time of as many calls of the client: no client, and one transaction of the journal. Other calls
        wait meanwhile, so give a few dozen at a time. Raises what the client's PutObject raises, and LeafUnavailable.
        """
        headers = {"host": "127.0.0.1", "authorization": credential_scope("localcloud", self._region, "s3")}
        requests = [HttpRequest("PUT", f"/{bucket}/{quote(key)}", "", headers, content) for key, content in objects]
        etags = []
        for (key, content), response in zip(objects, self._handle_all("s3", requests), strict=True):
            etag = response.header("etag") if response.status == 200 else None
            # The client says what is wrong as its callers expect it.
            etags.append(etag or self.client("s3").put_object(Bucket=bucket, Key=key, Body=content)["ETag"])
        return etags

    def converse(
        self,
        service: str,
        talk: Callable[[Callable[[HttpRequest], HttpResponse]], Answer],
        ending: str | None = None,
    ) -> Answer:
        """Let `talk` ask a service for several things, with no other call in between; gives what it gives.

        What it changes is in the journal, all or nothing, when this returns; `ending` is `journal.ending` where that is
        items of a table that end. Raises LeafUnavailable, and what `talk` raises.
        """
        self._ready.wait()
        changes: list[tuple[Call, HttpResponse]] = []
        with self._lock:
            applications = self._applications
            if applications is None:
                raise LeafUnavailable(self._failure or "localcloud is shutting down")
            try:
                return talk(partial(self._ask, applications, service, changes, ending))
            finally:
                if changes and self._journal is not None:
                    self._journal.record(changes)

    def _handle_all(self, service: str, requests: Sequence[HttpRequest]) -> list[HttpResponse]:
        """Answer requests in their order, with none of another's in between."""
        return self.converse(service, lambda ask: [ask(request) for request in requests])

    def _ask(
        self,
        applications: _Applications,
        service: str,
        changes: list[tuple[Call, HttpResponse]],
        ending: str | None,
        request: HttpRequest,
    ) -> HttpResponse:
        """Answer one request, under the lock; a change is added to those that are to be recorded."""
        if changes_something(service, request):
            change = Call(self._sequence, self._time.now(), service, request, ending)
            response = self._perform(applications, change)
            if response.status < 400:
                # Counted before it is recorded: moto has done it, whether the disk has room for it or not.
                self._sequence += 1
                self._changes[service] += 1
                changes.append((change, response))
        else:
            response = call(applications[service], request)
        if service == "sts" or (service == "iam" and b"CreateAccessKey" in request.body):
            self._remember_access_keys(response)
        return response

    def forget(self, table: str, attribute: str, moment: int) -> None:
        """Replay no more what was inserted into a table of DynamoDB and had ended, as that attribute says, before a
        moment (epoch seconds): it has been deleted."""
        with self._lock:
            if self._journal is not None and self._applications is not None:
                self._journal.forget(table, attribute, moment)

    def client(self, service: str) -> Any:
        """A boto3 client whose calls come here without HTTP. One per service, shared by all threads."""
        if service not in SERVICES:
            raise ValueError(f"{service!r} is not a leaf service; there are {', '.join(SERVICES)}")
        with self._clients_lock:
            if service not in self._clients:
                self._clients[service] = in_process_client(service, self._region, partial(self.handle, service))
            return self._clients[service]

    def _run(self) -> None:
        try:
            applications = _Applications(self._account_id, self._region)
            self._time.install()
            with self._lock:
                if self._closed:
                    return
                self._applications = applications
                self._replay(applications)
        except Exception as error:
            _LOG.exception("the leaf services cannot start")
            self._failure = f"the leaf services cannot start: {error}"
            self._applications = None
        finally:
            self._ready.set()
        if self._failure is None:
            self._warm()

    def _replay(self, applications: _Applications) -> None:
        for change in self._journal.calls() if self._journal else ():
            response = self._perform(applications, change)
            self._replayed += 1
            if response.status >= 400:
                self._replay_failures += 1
                _LOG.error(
                    "journal entry %d (%s %s %s) answers %d when it is replayed, so that its effect is missing now: %s",
                    change.sequence,
                    change.service,
                    change.request.method,
                    change.request.path,
                    response.status,
                    response.body[:300].decode(errors="replace"),
                )

    def _warm(self) -> None:
        for service, operation, params in _WARMED:
            if self._closed:
                return
            # moto imports a service when it is first called, under the lock: importing it here first lets others pass.
            importlib.import_module(f"moto.{service}.responses")
            try:
                getattr(self.client(service), operation)(**params)
            except ClientError:
                pass
            except LeafUnavailable:
                return

    def _perform(self, applications: _Applications, change: Call) -> HttpResponse:
        """A call that sees the random numbers that its number gives, and the moment at which it was made."""
        # What moto's own /moto-api/seed does, which as a request takes a fifth of the time of a small call.
        from moto.moto_api._internal import mock_random

        # First, since what a new application makes for itself takes random numbers, too.
        application = applications[change.service]
        mock_random.seed(change.sequence)
        with self._time.at(change.at):
            return call(application, change.request)

    def _remember_access_keys(self, response: HttpResponse) -> None:
        for found in _ISSUED_ACCESS_KEY.finditer(response.body):
            access_key = found[1].decode()
            self._issued_access_keys.add(access_key)
            if self._journal is not None:
                self._journal.add_access_key(access_key)


def changes_something(service: str, request: HttpRequest) -> bool:
    """Whether a request may change what the leaf holds. STS holds nothing: its sessions end with the process."""
    if service == "sts":
        return False
    if service == "s3":
        return request.method not in ("GET", "HEAD", "OPTIONS")
    operation = models.operation_name(request, models.protocol_of(request) or models.QUERY)
    if service == "kms" and _READ_ONLY_KMS.match(operation):
        return False
    return not _READ_ONLY.match(operation)


class _Applications:
    """moto's WSGI applications, one per service, made when first asked for.

    moto's own dispatcher over them (`DomainDispatcherApplication`) guesses the service from each request and looks
    through its folders while doing so, which is a third of the time of a small call; here the service is known.
    """

    def __init__(self, account_id: str, region: str) -> None:
        os.environ.update(_MOTO_ENVIRONMENT)
        os.environ["MOTO_ACCOUNT_ID"] = account_id
        # Imported here and not above because it takes a second, which readiness does not wait for.
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.moto_server.werkzeug_app import create_backend_app

        _leave_out_machines()
        # Whoever imported moto earlier in this process has fixed its account.
        if account_id != DEFAULT_ACCOUNT_ID:
            raise RuntimeError(f"moto was imported for account {DEFAULT_ACCOUNT_ID}, before {account_id} was asked for")
        self._create, self._region = create_backend_app, region
        self._applications: dict[str, WSGIApplication] = {}

    def __getitem__(self, service: str) -> WSGIApplication:
        if service not in self._applications:
            created: Any = self._create(service)
            if service == "ec2":
                self._make_network(created)
            self._applications[service] = created
        return self._applications[service]

    def _make_network(self, application: WSGIApplication) -> None:
        """Have the default VPC made, which moto does with the first call: with the same ids in every process, since
        what is made in it refers to them."""
        from moto.moto_api._internal import mock_random

        headers = {
            "host": "127.0.0.1",
            "authorization": credential_scope("localcloud", self._region, "ec2"),
            "content-type": "application/x-www-form-urlencoded",
        }
        mock_random.seed(0)
        call(application, HttpRequest("POST", "/", "", headers, b"Action=DescribeVpcs&Version=2016-11-15"))


@cache
def _leave_out_machines() -> None:
    """Let moto not load what types of machines EC2 has in each region: 64 MB, with the import of SSM already, for
    operations that are none of ours (`services.IN_PART`)."""
    import moto.utilities.utils

    utils: Any = moto.utilities.utils
    load = utils.load_resource
    utils.load_resource = lambda name: {} if name.startswith("ec2/resources/instance_type") else load(name)


class _LeafTime:
    """The time that moto sees: the clock's, or while a journal is replayed that of the call."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._replayed: datetime | None = None

    def now(self) -> datetime:
        return self._replayed or self._clock.now()

    def at(self, moment: datetime) -> _Replaying:
        return _Replaying(self, moment)

    def install(self) -> None:
        """Let moto's one time function, `moto.core.utils.utcnow`, and its byte source for ids read from here.

        This, the seeding in `_perform` and `_leave_out_machines` are what reaches past moto's WSGI application. The
        seed covers what moto takes from its own random numbers: access keys, version ids, role ids. It leaves out two
        things, for which moto has no setting: the time, which has to be the injected clock's (and the call's own at a
        replay), and the bytes that it asks the operating system for, which make the ids of multipart uploads and the
        material of symmetric KMS keys; a client goes on with an upload, or decrypts, after a restart. All of these are
        names in moto's modules, set before a service is in use; were one to go, the tests in
        `tests/localcloud/test_leaf.py` that restart in the middle of an upload, and compare times, would say so.
        """
        import moto.core.utils
        import moto.kms.models
        import moto.kms.utils
        import moto.s3.models

        utils: Any = moto.core.utils
        utils.datetime = _DatetimeModule(self)
        for module in (moto.s3.models, moto.kms.models, moto.kms.utils):
            patched: Any = module
            patched.os = _SeededOs()


class _Replaying:
    def __init__(self, time: _LeafTime, moment: datetime) -> None:
        self._time, self._moment = time, moment

    def __enter__(self) -> None:
        self._time._replayed = self._moment

    def __exit__(self, *_: object) -> None:
        self._time._replayed = None


class _DatetimeModule:
    """The module `datetime`, whose class tells the leaf's time."""

    def __init__(self, time: _LeafTime) -> None:
        class LeafDatetime(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
                moment = time.now()
                return moment.astimezone(tz) if tz is not None else moment.astimezone().replace(tzinfo=None)

            @classmethod
            def utcnow(cls) -> datetime:  # type: ignore[override]
                return time.now().replace(tzinfo=None)

        self.datetime = LeafDatetime

    def __getattr__(self, name: str) -> Any:
        return getattr(datetime_module, name)


class _SeededOs:
    """The module `os`, whose random bytes are moto's seeded ones."""

    def urandom(self, size: int) -> bytes:
        from moto.moto_api._internal import mock_random

        return bytes(mock_random.randbytes(size))

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)
