"""This machine: what must be installed, in which version, and whether there is room."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version

from pipelines.doctor.finding import Finding, bad, good, hint

__all__ = ["disk", "docker", "git", "ports", "program", "python", "versions"]

LEAST_PYTHON = (3, 11)
# What the locks were made for, and the images run.
PYTHON = (3, 11)
LEAST_GB = 5
_GB = 1_000_000_000
_SHOWN = 5
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;]+)")
# In seconds: a program that says its version takes no time.
_PATIENCE = 20
Run = Callable[[Sequence[str]], str | None]
"""Runs a program; gives what it printed, or None when there is none, or it failed."""


def program(command: Sequence[str]) -> str | None:
    """`Run` of this machine."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def python(found: tuple[int, int]) -> Finding:
    """The Python that runs this (major, minor)."""
    shown, wanted = ".".join(map(str, found)), ".".join(map(str, PYTHON))
    if found < LEAST_PYTHON:
        return bad("Python", shown, f"install Python {wanted} and run `make setup` with it")
    if found != PYTHON:
        return hint("Python", shown, f"the locks are made for {wanted}; use it if something does not install")
    return good("Python", shown)


def git(run: Run) -> Finding:
    """Git, which repositories, commits in the lineage and `mlops cost --diff` need."""
    said = run(["git", "--version"])
    if said is None:
        return bad("Git", "not found", "install Git; the repository, and the commit that each run is of, need it")
    return good("Git", said.removeprefix("git version "))


def docker(run: Run, *, on_aws: bool) -> Finding:
    """Docker, which images on AWS are built with, here or in CodeBuild; a laptop's account needs none."""
    said = run(["docker", "version", "--format", "{{.Server.Version}}"])
    if said:
        return good("Docker", said)
    if not on_aws:
        return good("Docker", "not found, and not needed here")
    do = "images are built in CodeBuild after a push; to build them here (`mlops images`) install and start Docker"
    return hint("Docker", "not found, or not running", do)


def versions(lock: str, installed: Callable[[str], str] = version) -> Finding:
    """The installed packages against the lock, requirements/base.txt. What its markers leave out is not missed."""
    wrong: list[str] = []
    count = 0
    for line in lock.splitlines():
        pinned = _PINNED.match(line)
        if pinned is None:
            continue
        name, wanted = pinned.groups()
        count += 1
        try:
            found = installed(name)
        except PackageNotFoundError:
            if ";" not in line:
                wrong.append(f"{name} is missing")
            continue
        # A local version such as +cpu is another build of the same.
        if found.partition("+")[0] != wanted.partition("+")[0]:
            wrong.append(f"{name} {found} in place of {wanted}")
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        return bad("packages", ", ".join(wrong[:_SHOWN]) + more, "run `make setup`: it installs requirements/base.txt")
    return good("packages", f"{count} as in requirements/base.txt")


def disk(free_bytes: int) -> Finding:
    """Room for environments, state and caches."""
    free = f"{free_bytes / _GB:.1f} GB free"
    if free_bytes < LEAST_GB * _GB:
        return bad("disk", free, f"make room for at least {LEAST_GB} GB: `.mlops/` and `.venv/` can be made again")
    return good("disk", free)


def ports(taken: Callable[[int], bool], first: int, count: int, *, ours: bool) -> Finding:
    """The ports of `mlops up`. ours: whether its servers run, and may have them."""
    wanted = range(first, first + count)
    shown = f"{wanted[0]} to {wanted[-1]}"
    if ours:
        return good("ports", f"{shown}, of the servers that run")
    busy = [str(port) for port in wanted if taken(port)]
    if busy:
        do = f"end what listens there, or choose others: `mlops up --port {first + 100}`"
        return hint("ports", f"{', '.join(busy)} of {shown} in use", do)
    return good("ports", f"{shown} free")
