"""What a change of the configuration does to the bill: two estimates beside each other."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.cost.estimate import Estimate, Line
from pipelines.errors import UsageError

__all__ = ["Change", "at", "changes"]

_CENT = 0.005
_Key = tuple[str, str, str]
# What an estimate reads of a working copy.
_READ = ("configs", "template")


@dataclass(frozen=True)
class Change:
    """One resource whose dollars a month differ; None where one side does not have it, or has no price of it."""

    part: str
    stage: str
    resource: str
    before: float | None
    after: float | None

    @property
    def dollars(self) -> float:
        return (self.after or 0.0) - (self.before or 0.0)


def changes(before: Estimate, after: Estimate) -> list[Change]:
    """The resources that differ by a cent or more, or that only one side has without a price, later ones first."""
    old, new = _dollars(before), _dollars(after)
    found = [Change(*key, old.get(key), new.get(key)) for key in dict.fromkeys((*new, *old))]
    return [
        change
        for change in found
        if abs(change.dollars) >= _CENT or ((_key(change) in old) != (_key(change) in new) and not _known(change))
    ]


def _dollars(found: Estimate) -> dict[_Key, float | None]:
    return {
        **{_key(each.line): each.dollars for each in found.priced},
        **{_key(line): None for line in found.unpriced},
    }


def _known(change: Change) -> bool:
    return change.before is not None or change.after is not None


def _key(line: Line | Change) -> _Key:
    return line.part, line.stage, line.resource


@contextmanager
def at(root: Path, ref: str) -> Iterator[Path]:
    """A folder with the configuration and the templates of a commit, branch or tag of the repository at `root`.

    Raises UsageError when Git does not know it, or there is no Git.
    """
    command = ["git", "-C", str(root), "archive", "--format=tar", ref, *_READ]
    try:
        done = subprocess.run(command, capture_output=True, check=True)
    except OSError as error:
        raise UsageError(f"`--diff {ref}` needs Git: {error}") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        raise UsageError(
            f"`--diff {ref}`: {said[-1] if said else 'Git gives no reason'}; "
            f"expected a commit, branch or tag of `{root}`"
        ) from error
    with TemporaryDirectory(prefix="mlops-cost-") as folder:
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            archive.extractall(folder, filter="data")
        yield Path(folder)
