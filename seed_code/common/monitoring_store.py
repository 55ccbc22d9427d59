"""What evaluations leave in S3, and how the next one finds it."""

import json
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from seed_code.common.monitoring import Evaluation, stamped
from seed_code.common.objects import Objects

OLDEST_STATE = timedelta(days=14)
_LINES = "application/jsonlines"


def encoded(document: Any) -> bytes:
    """Strict JSON on one line: the same document gives the same bytes."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def put_report(objects: Objects, of: Evaluation, report: Mapping[str, Any]) -> None:
    """Write the hour's report."""
    objects.put(of.report_uri, encoded(report))


def put_joined(objects: Objects, of: Evaluation, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the predictions with what happened; an empty object when there are none."""
    objects.put(of.joined_uri, b"".join(encoded(row) for row in rows), _LINES)


def put_state(objects: Objects, of: Evaluation, state: Mapping[str, Any]) -> None:
    """Write what the next evaluation goes on from. With it, this evaluation has happened: it is written last."""
    objects.put(of.state_uri, encoded({**state, "endpoint_config": of.endpoint_config}))


def newest_state(objects: Objects, of: Evaluation, read: Callable[[dict[str, Any]], object]) -> dict[str, Any] | None:
    """The state of the last evaluation before this one, if that was of the same deployment.

    Earlier than this one by its evaluation time, whenever it was written: what comes late, or is repeated, sees what it
    would have seen in time. None when there is none of the last `OLDEST_STATE`, or another model was served then. One
    that is damaged is passed over, with a warning: it would otherwise end every evaluation from then on.

    Args:
        read: what the workload does with a state; one for which it raises what a document that is none of its own
            leads to (ValueError, KeyError, TypeError, AttributeError, OverflowError, ArgumentTypeError) is damaged.

    Raises:
        ClientError: when S3 does not answer.
    """
    for uri in _newest_first(objects, of):
        content = objects.get(uri)
        if content is None:
            continue
        state = state_of(uri, content, read)
        if state is not None:
            return state if state["endpoint_config"] == of.endpoint_config else None
    return None


def document_of(uri: str, content: bytes) -> dict[str, Any]:
    """The JSON object that an object of S3 holds; an empty one, with a warning, where it is damaged."""
    try:
        found = json.loads(content)
        if isinstance(found, dict):
            return found
        reason = f"it is {type(found).__name__}, expected an object"
    except ValueError as error:
        reason = f"{error}"
    sys.stdout.write(f"warning: {uri} is damaged, and passed over: {reason}\n")
    return {}


def state_of(uri: str, content: bytes, read: Callable[[dict[str, Any]], object]) -> dict[str, Any] | None:
    """The state that an object holds; None, with a warning, for one that is damaged. read: see `newest_state`."""
    try:
        state: dict[str, Any] = json.loads(content)
        if not isinstance(state["endpoint_config"], str):
            raise TypeError(f"endpoint_config is {state['endpoint_config']!r}")
        read(state)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, ArgumentTypeError) as error:
        sys.stdout.write(f"warning: {uri} is damaged, and passed over: {type(error).__name__}: {error}\n")
        return None
    return state


def _newest_first(objects: Objects, of: Evaluation) -> Iterator[str]:
    """The day's own folder first, which in 23 of 24 hours is enough; then all since `OLDEST_STATE`."""
    whole = f"{of.root}/state"
    oldest = f"{whole}/{of.time - OLDEST_STATE:%Y/%m/%d}/"
    today = f"{whole}/{of.time:%Y/%m/%d}"
    for folder, after in ((today, ""), (whole, oldest)):
        found = []
        for uri in objects.list(folder, after):
            time = stamped(uri)
            if time is not None and time >= of.time:
                break
            if time is not None and (folder == today or not uri.startswith(f"{today}/")):
                found.append(uri)
        yield from reversed(found)
