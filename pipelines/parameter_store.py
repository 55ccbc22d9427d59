"""Reading a path of SSM Parameter Store. The standard library and a client only: Lambda functions carry this file."""

from __future__ import annotations

from typing import Any


def read(ssm: Any, path: str) -> dict[str, str]:
    """The values directly below a path, by the last part of their names, sorted. An empty dictionary when there are
    none.

    ssm: a boto3 client. path: with or without its trailing slash.
    """
    found: dict[str, str] = {}
    # AWS returns ten at most a page, and may return an empty page with a token before the last.
    for page in ssm.get_paginator("get_parameters_by_path").paginate(Path=path.rstrip("/"), WithDecryption=True):
        for parameter in page["Parameters"]:
            found[parameter["Name"].rsplit("/", 1)[-1]] = parameter["Value"]
    return dict(sorted(found.items()))
