"""The program of a function's process: it imports the handler, and calls it with one event after the other.

It is run as a script by `localcloud.functions.process`, with nothing but the standard library, and speaks with it over
a socket that it inherits (the file descriptor is its argument). Each message is two lengths (4 bytes each, big-endian),
a JSON object and a body:

    in   {"handler", "code", "libraries", "memory"}                  once, before anything of the user's runs
    out  {"kind": "ready", "seconds"}  or  {"kind": "error", "log": TEXT}, body the error
    in   {"request_id", "arn", "milliseconds", "client_context"}, body the event
    out  {"kind": "result", "memory": MB}, body the answer  or  {"kind": "error", "memory", "log"}, body the error

Errors have the form and the words of AWS's own runtime. Standard output and error go to localcloud as they are.
"""

from __future__ import annotations

import contextlib
import decimal
import importlib
import importlib.abc
import importlib.machinery
import json
import logging
import os
import resource
import socket
import struct
import sys
import time
import traceback
import types
from collections.abc import Callable, Sequence
from typing import Any

_Handler = Callable[[Any, Any], Any]
_LENGTHS = struct.Struct(">II")
# What AWS's Python runtime has besides the standard library. Whatever else a function imports must be in its package,
# here as there, though the environment that localcloud runs in may have it.
_LIBRARIES = frozenset({"boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3"})
# The interpreter's own mappings, its libraries' and threads' reserved ones: counted by the kernel, not by Lambda.
_HEADROOM_MB = 512
_LOG_LINE = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"


class _RuntimeLibraries(importlib.abc.MetaPathFinder):
    """Finds the libraries of the runtime, after everything that the function brings itself."""

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = folders

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if path is None and fullname in _LIBRARIES:
            return importlib.machinery.PathFinder.find_spec(fullname, self._folders, target)
        return None


class _Identity:
    """No Cognito identity."""

    cognito_identity_id: str | None = None
    cognito_identity_pool_id: str | None = None


class _ClientContext:
    """What the caller gave as ClientContext."""

    def __init__(self, value: dict[str, Any]) -> None:
        self.custom = value.get("custom")
        self.env = value.get("env")
        self.client = types.SimpleNamespace(**value["client"]) if value.get("client") else None


class _Context:
    """The handler's second argument."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.aws_request_id: str = request["request_id"]
        self.invoked_function_arn: str = request["arn"]
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = _Identity()
        given = request.get("client_context")
        self.client_context = _ClientContext(given) if given else None
        self.tenant_id: str | None = None
        self._deadline = time.monotonic() + request["milliseconds"] / 1000

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._deadline - time.monotonic()) * 1000))

    def log(self, message: Any) -> None:
        sys.stdout.write(str(message))


class _Formatter(logging.Formatter):
    """Lines as AWS's runtime writes them."""

    def __init__(self) -> None:
        super().__init__(_LOG_LINE, "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime
        self.request_id = ""

    def format(self, record: logging.LogRecord) -> str:
        record.aws_request_id = self.request_id
        return super().format(record)


class _Failure(Exception):
    """The handler cannot be had; type and message as AWS words them."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def main() -> None:
    """Serve invocations until the other end closes the socket."""
    began = time.monotonic()
    channel = socket.socket(fileno=int(sys.argv[1]))
    received = _receive(channel)
    if received is None:
        return
    start = received[0]
    formatter = _set_up(start)
    try:
        handler = _load(start["handler"])
    except Exception as error:
        _send_error(channel, error, None)
        return
    _send(channel, {"kind": "ready", "seconds": time.monotonic() - began}, b"")
    while (received := _receive(channel)) is not None:
        request, payload = received
        formatter.request_id = request["request_id"]
        _invoke(channel, handler, request, payload)


def _set_up(start: dict[str, Any]) -> _Formatter:
    if sys.platform == "linux":
        limit = (start["memory"] + _HEADROOM_MB) << 20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    time.tzset()
    sys.path.insert(0, start["code"])
    sys.meta_path.append(_RuntimeLibraries(start["libraries"]))
    formatter = _Formatter()
    output = logging.StreamHandler(sys.stdout)
    output.setFormatter(formatter)
    logging.getLogger().addHandler(output)
    return formatter


def _load(handler: str) -> Callable[[Any, Any], Any]:
    module_name, dot, function_name = handler.rpartition(".")
    if not dot or not module_name:
        raise _Failure(
            "Runtime.MalformedHandlerName", f"Bad handler '{handler}': not enough values to unpack (expected 2, got 1)"
        )
    name = module_name.replace("/", ".")
    if name.split(".")[0] in sys.builtin_module_names:
        raise _Failure("Runtime.BuiltInModuleConflict", f"Cannot use built-in module {name} as a handler module")
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise _Failure("Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}") from error
    except SyntaxError as error:
        raise _Failure("Runtime.UserCodeSyntaxError", f"Syntax error in module '{module_name}': {error}") from error
    function = getattr(module, function_name, None)
    if function is None:
        raise _Failure("Runtime.HandlerNotFound", f"Handler '{function_name}' missing on module '{module_name}'")
    found: Callable[[Any, Any], Any] = function
    return found


def _invoke(
    channel: socket.socket, handler: Callable[[Any, Any], Any], request: dict[str, Any], payload: bytes
) -> None:
    try:
        answer = handler(json.loads(payload), _Context(request))
    except Exception as error:
        _send_error(channel, error, request["request_id"])
        return
    try:
        body = json.dumps(answer, ensure_ascii=False, default=_decimal).encode()
    except Exception as error:
        failure = _Failure("Runtime.MarshalError", f"Unable to marshal response: {error}")
        _send_error(channel, failure, request["request_id"])
        return
    _flush()
    _send(channel, {"kind": "result", "memory": _memory()}, body)


def _decimal(value: Any) -> Any:
    if isinstance(value, decimal.Decimal):
        return float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _send_error(channel: socket.socket, error: Exception, request_id: str | None) -> None:
    own = isinstance(error, _Failure)
    kind = error.kind if isinstance(error, _Failure) else type(error).__name__
    # The frames of this file, and those of the import system, say nothing to the function's author.
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and not frame.filename.startswith("<frozen importlib")
    ]
    lines = [] if own else traceback.format_list(frames)
    shown = "Traceback (most recent call last):\n" + "".join(lines) if lines else ""
    body = {"errorMessage": str(error), "errorType": kind}
    if request_id is not None:
        body["requestId"] = request_id
    _flush()
    text = json.dumps({**body, "stackTrace": lines}, ensure_ascii=False).encode(errors="backslashreplace")
    header = {"kind": "error", "memory": _memory(), "log": f"[ERROR] {kind}: {error}\n{shown}".rstrip("\n")}
    _send(channel, header, text)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # The function may have closed them.
        with contextlib.suppress(ValueError, OSError):
            stream.flush()


def _memory() -> int:
    """The most memory that the process has had, in MB."""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii") as stream:
        # getrusage counts what localcloud itself had when it started this process.
        for line in stream:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) // 1024 + 1
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most // (1 << 20 if sys.platform == "darwin" else 1 << 10) + 1


def _send(channel: socket.socket, header: dict[str, Any], body: bytes) -> None:
    text = json.dumps(header).encode()
    channel.sendall(_LENGTHS.pack(len(text), len(body)) + text + body)


def _receive(channel: socket.socket) -> tuple[dict[str, Any], bytes] | None:
    lengths = _exactly(channel, _LENGTHS.size)
    if lengths is None:
        return None
    header_length, body_length = _LENGTHS.unpack(lengths)
    header, body = _exactly(channel, header_length), _exactly(channel, body_length)
    return None if header is None or body is None else (json.loads(header), body)


def _exactly(channel: socket.socket, length: int) -> bytes | None:
    parts = []
    while length > 0:
        part = channel.recv(min(length, 1 << 20))
        if not part:
            return None
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


if __name__ == "__main__":
    main()
