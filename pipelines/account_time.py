"""What time it is in the account, which need not be what this machine's clock says: an account on a laptop may have
been moved ahead by days (`localcloud advance`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from pipelines.errors import ServiceError

__all__ = ["account_time"]


def account_time(sts: Any, seen: Iterable[datetime | None] = ()) -> datetime:
    """The account's time, aware: the header `Date` of an answer (RFC 9110: when the message was made), or the latest
    moment that was `seen` there, if that is later: what has happened is not in the future.

    Raises ServiceError for an answer without a date.
    """
    # No role needs a right for it.
    answer = sts.get_caller_identity()
    header = answer["ResponseMetadata"].get("HTTPHeaders", {}).get("date", "")
    try:
        now = parsedate_to_datetime(header).astimezone(UTC)
    except ValueError:
        raise ServiceError(
            f"the account's answer has the Date `{header}`, expected one such as `Sun, 22 Nov 2026 14:00:00 GMT`; "
            "look whether AWS_ENDPOINT_URL names a proxy that leaves it out"
        ) from None
    return max([now, *(moment.astimezone(UTC) for moment in seen if moment is not None)])
