"""The code of the Flink application, as the zip file that Managed Service for Apache Flink takes.

It holds the job, its SQL and, where a build has fetched it, the connector's jar, which is the job's only need of the
internet; localcloud, whose streams are files, needs none.
"""

from __future__ import annotations

import boto3

from pipelines import code_bucket, functions
from pipelines.names import LocalPaths, Names

__all__ = ["pack", "upload"]

_SUFFIXES = (".py", ".sql", ".jar")


def pack(paths: LocalPaths) -> bytes:
    """The zip file; the same tree gives the same bytes."""
    roots = (paths.flink_job, paths.flink_connector)
    found = ((root, path) for root in roots for path in root.rglob("*") if path.suffix in _SUFFIXES)
    return functions.zipped((path.relative_to(root).as_posix(), path) for root, path in found)


def upload(session: boto3.Session, names: Names, paths: LocalPaths) -> str:
    """Put it into the project's code bucket, unless it is there; gives its key."""
    code = pack(paths)
    place = functions.key(code, "flink")
    code_bucket.put(session, names, place, code)
    return place
