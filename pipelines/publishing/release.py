"""What a version of the template consists of: the template, the code of its functions, the seed of its repositories.

A version is named by setup.py. Where something else was published by that name, the name goes on with the beginning
of the content's digest (`0.1.0-3f2a91bc`): nothing that is published is ever overwritten, and a working copy can be
published as often as it changes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pipelines import functions
from pipelines.errors import UsageError
from pipelines.names import Names
from pipelines.publishing import templates
from pipelines.publishing.seed import Seed

__all__ = ["Release", "chosen_version", "own_version"]

VERSION_PATTERN = r"^[0-9A-Za-z](?:[0-9A-Za-z.-]{0,22}[0-9A-Za-z])?$"
_SETUP_VERSION = re.compile(r'^\s*version="([^"]+)"', re.MULTILINE)
_SHOWN_DIGITS = 8


@dataclass(frozen=True)
class Release:
    """What is published, before it has a version.

    Attributes:
        names: of the account and region.
        template: template/project.yml as the file is.
        defaults: the values of its parameters that do not depend on the version.
        code: the functions' zip file.
        seed: the files of a repository.
    """

    names: Names
    template: str = field(repr=False)
    defaults: Mapping[str, str]
    code: bytes = field(repr=False)
    seed: Seed

    @cached_property
    def digest(self) -> str:
        """Of all of it: 64 hexadecimal characters."""
        sha = hashlib.sha256()
        for part in (self._filled("").encode(), self.code, self.seed.archive):
            sha.update(hashlib.sha256(part).digest())
        return sha.hexdigest()

    def code_key(self, version: str) -> str:
        return functions.key(self.code, f"{version}/functions")

    def seed_key(self, version: str) -> str:
        return functions.key(self.seed.archive, f"{version}/seed")

    def published_template(self, version: str) -> str:
        """The template with every default. Raises UsageError when a parameter would have to be asked for."""
        text = self._filled(version)
        if unfilled := templates.unfilled(text):
            raise UsageError(
                f"template/project.yml: no default for {', '.join(f'`{name}`' for name in unfilled)}: everybody who "
                f"makes a project would have to know it; give it one in the template or in pipelines/publishing"
            )
        return text

    def _filled(self, version: str) -> str:
        return templates.filled(
            self.template,
            {
                **self.defaults,
                "SeedBucket": self.names.template_bucket,
                "SeedKey": self.seed_key(version),
                "CodeBucket": self.names.template_bucket,
                "CodeKey": self.code_key(version),
                "PermissionsBoundary": self.names.boundary_arn,
                "TemplateVersion": version,
            },
        )


def own_version(root: Path) -> str:
    """The version of a working copy, as its setup.py says. Raises UsageError."""
    file = root / "setup.py"
    found = _SETUP_VERSION.search(file.read_text(encoding="utf-8")) if file.is_file() else None
    if found is None:
        raise UsageError(f'`{file}` names no version; expected a line such as version="0.1.0"')
    return _valid(found[1])


def chosen_version(own: str, wanted: str | None, digest: str, published: Callable[[str], str | None]) -> str:
    """By what name a digest is published, or is published already.

    own: the working copy's version. wanted: the one that somebody asks for. published: a version's digest, None while
    there is none. Raises UsageError when what is asked for is something else already.
    """
    version = own if wanted is None else _valid(wanted)
    if published(version) in (None, digest):
        return version
    if wanted is not None:
        raise UsageError(
            f"version `{wanted}` is published already, with another content, and stays as it is; leave --version away, "
            "or choose another"
        )
    return _valid(f"{version}-{digest[:_SHOWN_DIGITS]}")


def _valid(version: str) -> str:
    if not re.fullmatch(VERSION_PATTERN, version):
        raise UsageError(
            f"version `{version}`: expected at most 24 letters, digits, points and hyphens, such as 0.2.0 or 0.2.0-rc1"
        )
    return version
