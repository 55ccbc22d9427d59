"""Addresses of templates: objects in S3, in AWS's two styles and the same at localcloud."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, unquote, urlsplit

_VIRTUAL_HOST = re.compile(r"(?P<bucket>.+)\.s3([.-](dualstack\.)?[a-z0-9-]+)?\.amazonaws\.com")
_LOCAL_HOST = re.compile(r"(?P<bucket>.+?)(\.s3([.-][a-z0-9-]+)?)?\.localhost")
_PATH_HOST = re.compile(r"s3([.-](dualstack\.)?[a-z0-9-]+)?\.amazonaws\.com")


def object_at(url: str) -> dict[str, str]:
    """Bucket, Key and, where one is named, VersionId of the object at an address, as GetObject takes them. Raises
    ValueError for an address of something else."""
    parts = urlsplit(url)
    host, path = parts.hostname or "", unquote(parts.path.lstrip("/"))
    version = parse_qs(parts.query).get("versionId", [""])[0]
    if _PATH_HOST.fullmatch(host) or host in ("127.0.0.1", "localhost", "::1"):
        bucket, _, key = path.partition("/")
    elif found := _VIRTUAL_HOST.fullmatch(host) or _LOCAL_HOST.fullmatch(host):
        bucket, key = found["bucket"], path
    else:
        bucket, key = "", ""
    if not bucket or not key or parts.scheme not in ("https", "http"):
        raise ValueError(f"Domain name specified in {url} is not a valid S3 domain")
    return {"Bucket": bucket, "Key": key, **({"VersionId": version} if version else {})}
