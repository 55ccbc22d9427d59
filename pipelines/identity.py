"""Which project a working copy is of, where its configuration leaves that open.

The repository of a project is made from a seed that knows no project: `name` and `account_id` in configs/project.yml
are empty there. They are found, the first that tells:

    name        SAGEMAKER_PROJECT_NAME (the project's own builds set it); the file; the name of the CodeCommit
                repository that the remote `origin` of Git is, for a project's repository bears its name
    account     AWS_ACCOUNT_ID; the file; whose the credentials are, by STS, kept in `.mlops/account`

What is found goes into the environment, which goes before the file (pipelines/config.py). Nothing is found where
nobody can tell; the configuration then says what to set.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.names import ACCOUNT_VARIABLE, PROJECT_NAME_VARIABLE, LocalPaths

__all__ = ["complete", "repository_name"]

_EMPTY = re.compile(r"""^(name|account_id):[ \t]*(?:""|'')?[ \t]*(?:#.*)?$""", re.MULTILINE)
# git-remote-codecommit's addresses: codecommit::REGION://[PROFILE@]NAME and codecommit://[PROFILE@]NAME
_GRC = re.compile(r"codecommit(?:::[a-z0-9-]+)?://(?:[^@/]+@)?([\w.-]+)")
_REPOSITORY_PATH = re.compile(r"/v1/repos/([\w.-]+?)/?")


def complete(root: Path, environ: MutableMapping[str, str], *, account: bool = True) -> None:
    """Put what the working copy at `root` leaves open into an environment, where that does not say it already.

    account: whether to ask STS; not for what starts the servers that are asked.
    """
    file = root / "configs" / "project.yml"
    try:
        open_keys = set(_EMPTY.findall(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError):
        return  # the configuration says what is wrong with it
    if "name" in open_keys and not environ.get(PROJECT_NAME_VARIABLE) and (name := repository_name(_origin(root))):
        environ[PROJECT_NAME_VARIABLE] = name
    wanted = account and "account_id" in open_keys and not environ.get(ACCOUNT_VARIABLE)
    if wanted and (account_id := _account(root, environ)):
        environ[ACCOUNT_VARIABLE] = account_id


def repository_name(url: str | None) -> str | None:
    """The CodeCommit repository that an address of Git's is of; None for any other address.

    As AWS has them (HTTPS, SSH, git-remote-codecommit), and as what stands for AWS has them, by their path.
    """
    if not url:
        return None
    if grc := _GRC.fullmatch(url):
        return grc[1]
    found = _REPOSITORY_PATH.fullmatch(urlsplit(url).path)
    return found[1] if found else None


def _origin(root: Path) -> str | None:
    # Of this folder's own repository: one that merely lies inside of another is not that other one.
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "config", "--get", "remote.origin.url"],
            env={**os.environ, "GIT_CEILING_DIRECTORIES": str(root.resolve().parent)},
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _account(root: Path, environ: Mapping[str, str]) -> str | None:
    """Whose the credentials are; asked once for each pair of them and an endpoint."""
    # Here and not above: the import takes a tenth of a second, which no help text needs.
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        session = boto3.Session()
        credentials = session.get_credentials()
        if credentials is None:
            return None
        key = _key(environ.get("AWS_ENDPOINT_URL", ""), credentials.access_key)
        file = LocalPaths(root).account
        known = _known(file)
        if key not in known:
            config = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 2})
            region = session.region_name or "us-east-1"
            known[key] = session.client("sts", region_name=region, config=config).get_caller_identity()["Account"]
            _keep(file, known)
    except (BotoCoreError, ClientError, ValueError):
        return None
    return known[key]


def _key(endpoint: str, access_key: str) -> str:
    return hashlib.sha256(f"{endpoint}\0{access_key}".encode()).hexdigest()[:16]


def _known(file: Path) -> dict[str, str]:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def _keep(file: Path, known: Mapping[str, str]) -> None:
    with suppress(OSError):  # a working copy that cannot be written to is asked again
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{file.name}.{os.getpid()}")
        partial.write_text(json.dumps(known))
        partial.replace(file)
