"""A newer seed as a branch of a project's repository, that merges like any other.

The branch `template/{version}` goes on from the commit that the repository began with (or from the branch of the
upgrade before) and holds the newer seed's files, so that Git sees what the template changed apart from what the
project's people did.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from pipelines.names import BRANCH
from pipelines.projects import cloning
from pipelines.projects.repository import AUTHOR, git, replace_files

__all__ = ["push"]


def push(url: str, region: str, version: str, content: bytes) -> str:
    """Push the branch, and give its name. content: the seed, a zip file. Raises ServiceError when Git fails."""
    branch = f"template/{version}"
    with tempfile.TemporaryDirectory(prefix="mlops-upgrade-") as folder:
        clone = Path(folder) / "repository"
        git(*cloning.arguments(url, region, clone))
        here = ("-C", str(clone))
        earlier = git(
            *here, "for-each-ref", "--sort=-committerdate", "--format=%(refname)", "refs/remotes/origin/template/"
        ).split()
        base = earlier[0] if earlier else git(*here, "rev-list", "--max-parents=0", f"origin/{BRANCH}").split()[-1]
        git(*here, "checkout", "-q", "-B", branch, base)
        replace_files(clone, content)
        git(*here, "add", "--all", "--force")
        git(*here, *AUTHOR, "commit", "-q", "--allow-empty", "-m", f"Version {version} of the template")
        git(*here, "push", "-q", "origin", branch)
    return branch
