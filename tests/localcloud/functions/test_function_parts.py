"""The parts of Lambda that need no process: batch reports, packages, records, names, and the words of refusals."""

from __future__ import annotations

import io
import json
import stat
import zipfile
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from localcloud.errors import ServiceError
from localcloud.functions import packages
from localcloud.functions.destinations import dead_letter_attributes, record_of
from localcloud.functions.functions import name_of
from localcloud.functions.invocation import Invoker, Outcome
from localcloud.functions.poller import failures

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:f"


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        ("null", set()),
        ("", set()),
        ("{}", set()),
        ('{"batchItemFailures": []}', set()),
        ('{"batchItemFailures": null}', set()),
        ('{"batchItemFailures": [{"itemIdentifier": "a"}]}', {"a"}),
        ('{"batchItemFailures": [{"itemIdentifier": "x"}]}', None),
        ('{"batchItemFailures": [{"itemIdentifier": ""}]}', None),
        ('{"batchItemFailures": [{}]}', None),
        ('{"batchItemFailures": "a"}', None),
        ('"done"', None),
        ("no JSON", None),
    ],
)
def test_a_report_of_failures(answer: str, failed: set[str] | None) -> None:
    assert failures(answer.encode(), {"a", "b"}) == failed


@pytest.mark.parametrize(
    ("given", "name", "qualifier"),
    [
        ("f", "f", None),
        ("f:$LATEST", "f", "$LATEST"),
        (ARN, "f", None),
        (f"{ARN}:7", "f", "7"),
        ("123456789012:function:f", "f", None),
    ],
)
def test_the_names_that_a_request_may_use(given: str, name: str, qualifier: str | None) -> None:
    assert name_of(given) == (name, qualifier)


def archive(*entries: tuple[str, str, int]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as target:
        for name, text, mode in entries:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            target.writestr(entry, text)
    return content.getvalue()


def test_a_package_is_unpacked_once_and_keeps_what_can_be_run(tmp_path: Path) -> None:
    content = archive(("a/index.py", "x = 1", 0o644), ("tool", "#!/bin/sh", 0o755))
    first, second = packages.unpack(content, tmp_path), packages.unpack(content, tmp_path)
    assert first == second
    assert [path.name for path in tmp_path.iterdir()] == [first.folder]
    assert (tmp_path / first.folder / "a" / "index.py").read_text() == "x = 1"
    assert (tmp_path / first.folder / "tool").stat().st_mode & 0o111
    packages.remove_others(tmp_path, set())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no zip", "Could not unzip uploaded file"),
        (archive(("index.py", "x", 0o644))[:-30], "Could not unzip uploaded file"),
        (archive(("link", "/etc/passwd", stat.S_IFLNK | 0o777)), "is a link or lies outside"),
        (archive(("../outside.py", "x", 0o644)), "is a link or lies outside"),
    ],
)
def test_what_is_no_package_is_refused_and_leaves_nothing(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ServiceError, match=message):
        packages.unpack(content, tmp_path / "code")
    assert list((tmp_path / "code").iterdir()) == []


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ({}, "Please provide a source for function code"),
        ({"S3Bucket": "b"}, "Please provide a source for function code"),
        ({"ZipFile": b"", "S3Bucket": "b", "S3Key": "k"}, "Please do not provide other FunctionCode parameters"),
        ({"ImageUri": "x"}, "zip packages that it can read; got ImageUri 'x'"),
    ],
)
def test_where_a_package_cannot_come_from(code: dict[str, Any], message: str) -> None:
    with pytest.raises(ServiceError, match=message):
        packages.read(code, None)


def test_the_record_of_an_invocation() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    outcome = Outcome("r", b'{"errorMessage": "no way"}', "Unhandled", b"")
    record = record_of(ARN, "r", b'{"a": 1}', "RetriesExhausted", 3, moment, outcome)
    assert record == {
        "version": "1.0",
        "timestamp": "2026-01-02T03:04:05.678Z",
        "requestContext": {
            "requestId": "r",
            "functionArn": f"{ARN}:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        },
        "requestPayload": {"a": 1},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": {"errorMessage": "no way"},
    }
    assert dead_letter_attributes("r", outcome, "RetriesExhausted") == {
        "RequestID": "r",
        "ErrorCode": "200",
        "ErrorMessage": "no way",
    }
    assert "responsePayload" not in record_of(ARN, "r", json.dumps(1).encode(), "EventAgeExceeded", 0, moment, None)


def test_a_functions_time_does_not_pass_while_the_leaf_is_replayed() -> None:
    done: list[str] = []

    def acquire(*_: object) -> None:
        done.append("a process")
        raise OSError("enough seen")

    context: Any = SimpleNamespace(
        timetable=SimpleNamespace(working=nullcontext),
        leaf=SimpleNamespace(wait_until_ready=lambda: done.append("the leaf")),
    )
    functions: Any = SimpleNamespace(
        named=lambda name: {"FunctionName": name, "Role": "arn:aws:iam::123456789012:role/r"},
        spec=lambda document: document,
    )
    pool: Any = SimpleNamespace(acquire=acquire)
    with pytest.raises(ServiceError, match="enough seen"):
        Invoker(context, functions, pool, logs=None).invoke("f", b"{}")  # type: ignore[arg-type]
    assert done == ["the leaf", "a process"]
