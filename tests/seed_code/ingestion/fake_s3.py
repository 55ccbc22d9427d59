"""S3 in memory, as the stream's programs use it; it can end a program before or after any of its calls."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.seed_code.ingestion.lambda_doubles import refusal


class PowerCut(BaseException):
    """The program ends here, whatever it would like to do about it."""


@dataclass
class S3:
    """One bucket.

    Attributes:
        objects: contents by key.
        keys: of KMS, that objects were put with.
        before, after: called with the number of each call that may change something, before and after it does.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    before: Callable[[int], None] = lambda number: None
    after: Callable[[int], None] = lambda number: None
    keys: dict[str, str | None] = field(default_factory=dict)
    page: int = 3
    calls: int = 0

    def list_objects_v2(self, **wanted: Any) -> dict[str, Any]:
        after = wanted.get("ContinuationToken") or wanted.get("StartAfter", "")
        keys = sorted(key for key in self.objects if key.startswith(wanted["Prefix"]) and key > after)
        found = [
            {"Key": key, "ETag": hashlib.md5(self.objects[key]).hexdigest(), "Size": len(self.objects[key])}
            for key in keys[: self.page]
        ]
        more = len(keys) > self.page
        return {"Contents": found, "IsTruncated": more, **({"NextContinuationToken": found[-1]["Key"]} if more else {})}

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        if Key not in self.objects:
            raise refusal("NoSuchKey", "GetObject")
        return {"Body": io.BytesIO(self.objects[Key])}

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, ContentType: str, **encryption: str) -> dict[str, Any]:
        self.keys[Key] = encryption.get("SSEKMSKeyId")
        self._change(lambda: self.objects.update({Key: Body}))
        return {}

    def delete_objects(self, *, Bucket: str, Delete: dict[str, Any]) -> dict[str, Any]:
        """Each deletion is a call of its own here: AWS may come half-way, too."""
        for one in Delete["Objects"]:
            key = one["Key"]
            self._change(lambda key=key: self.objects.pop(key, None))  # type: ignore[misc]
        return {}

    def _change(self, act: Callable[[], object]) -> None:
        self.calls += 1
        number = self.calls
        self.before(number)
        act()
        self.after(number)
