"""Repositories: what is told of a push and when, what a kill leaves, and archives that are what was committed."""

from __future__ import annotations

import fcntl
import io
import sqlite3
import threading
import zipfile
from pathlib import Path

import pytest

from localcloud.codecommit.bare import EXECUTABLE, NORMAL, SYMLINK, Change
from localcloud.codecommit.repositories import Push, is_connected_name
from localcloud.errors import ServiceError
from tests.localcloud.codecommit.conftest import ADA, ROOT, Place
from tests.working_copy import WorkingCopy


class Killed(BaseException):
    """Stands for the end of the process: nothing that follows is done."""


def refused(call: object, *arguments: str) -> str:
    assert callable(call)
    with pytest.raises(ServiceError) as caught:
        call(*arguments)
    return caught.value.code


def test_a_push_is_told_with_what_it_changed(place: Place) -> None:
    first = place.commit("main", a="1", d__b="2", d__c="3")
    second = place.commit("main", a=None, d__b="4", e="5")
    made, moved = place.told
    assert (made.ref, made.branch, made.tag) == ("refs/heads/main", "main", None)
    assert (made.before, made.after, made.principal) == (None, first, ROOT)
    assert made.changed == ("a", "d/b", "d/c")
    assert (moved.before, moved.after, moved.changed) == (first, second, ("a", "d/b", "e"))
    assert place.repositories.branch_head("demo", "main") == second
    assert place.repositories.commit("demo", second).parents == (first,)


def test_each_reference_of_one_push_is_told_by_itself(place: Place, tmp_path: Path) -> None:
    first = place.commit("main", a="1")
    folder = place.repositories.open("demo").folder
    ours = WorkingCopy.cloned(str(folder), tmp_path / "ours")
    ours.run("tag", "-a", "v1", "-m", "one")
    ours.run("branch", "next")
    with place.repositories.changing("demo", ROOT):
        ours.push("next", "v1")
        ours.run("push", "origin", f"{first}:refs/notes/x")
    tag, branch = sorted(place.told[1:], key=lambda push: push.ref, reverse=True)
    assert (branch.branch, tag.tag) == ("next", "v1")
    assert (branch.after, tag.after, tag.changed) == (first, first, ("a",))


def test_a_change_that_fails_half_way_is_told_as_far_as_it_came(place: Place) -> None:
    def fail() -> None:
        with place.repositories.changing("demo", ROOT) as (bare, _):
            bare.write("main", None, {"a": Change(content=b"1")}, ADA, "m")
            raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"):
        fail()
    assert [push.branch for push in place.told] == ["main"]


def test_what_changed_before_a_kill_is_told_by_the_next_localcloud(place: Place) -> None:
    commits = []

    def be_killed() -> None:
        with place.repositories.changing("demo", ROOT) as (bare, _):
            commits.append(bare.write("main", None, {"a": Change(content=b"1")}, ADA, "m"))
            # From here on nothing can be kept.
            place.context.store.close()
            (bare.folder / "refs" / "heads" / "next.lock").touch()

    with pytest.raises(sqlite3.ProgrammingError):
        be_killed()
    assert place.told == []
    place.restart()
    place.settle()
    (push,) = place.told
    assert (push.repository, push.after, push.principal) == ("demo", commits[0], ROOT)
    place.restart()
    place.settle()
    assert place.told == [push]
    # What git was killed with is in nobody's way.
    place.commit("next", a="1")


def test_a_kill_while_it_is_told_lets_it_be_told_again_with_the_same_id(place: Place) -> None:
    seen: list[Push] = []

    def die(push: Push) -> None:
        seen.append(push)
        raise Killed

    place.restart(die)
    with pytest.raises(Killed):
        place.commit("main", a="1")
    place.restart()
    place.settle()
    assert [push.id for push in place.told] == [push.id for push in seen]
    # The next change of the repository does not tell it once more.
    place.commit("main", a="2")
    assert len(place.told) == 2


def test_a_listener_that_fails_keeps_nobody_from_being_told(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    def fail(push: Push) -> None:
        raise RuntimeError("a bug")

    place.restart(fail)
    place.repositories.on_push(place.told.append)
    place.commit("main", a="1")
    assert len(place.told) == 1
    assert "while it told of the push" in caplog.text


def test_a_command_that_outlives_its_localcloud_is_waited_for(place: Place) -> None:
    """It holds the lock that it was given; here the test does so."""
    place.commit("main", a="1")
    changed = threading.Event()

    def change() -> None:
        place.commit("main", a="2")
        changed.set()

    with (place.repositories.open("demo").folder / "localcloud.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = threading.Thread(target=change)
        waiting.start()
        assert not changed.wait(0.2)
    waiting.join(10)
    assert changed.is_set()
    assert len(place.told) == 2


def test_an_archive_is_what_was_committed_whatever_its_attributes_say(place: Place) -> None:
    changes = {
        ".gitattributes": Change(content=b"* text eol=crlf\nleft-out export-ignore\n"),
        "left-out": Change(content=b"a\nb\n"),
        "bin/run": Change(EXECUTABLE, content=b"#!/bin/sh\n"),
        "link": Change(SYMLINK, content=b"bin/run"),
        'nä me "q"\\': Change(NORMAL, content=b"\x00\xff"),
    }
    with place.repositories.changing("demo", ROOT) as (bare, _):
        commit = bare.write("main", None, changes, ADA, "m")
    with zipfile.ZipFile(io.BytesIO(place.repositories.archive("demo", commit))) as archive:
        found = {one.filename: (f"{one.external_attr >> 16:o}", archive.read(one)) for one in archive.infolist()}
    assert found == {path: (change.mode, change.content) for path, change in changes.items()}
    assert {path for push in place.told for path in push.changed} == set(changes)


def test_the_first_branch_is_the_default_one_whatever_its_name(place: Place) -> None:
    bare = place.repositories.open("demo")
    assert bare.head() is None
    place.commit("trunk", a="1")
    place.commit("main", a="1")
    assert bare.head() == "trunk"


def test_only_names_are_looked_up_and_no_expressions(place: Place) -> None:
    first = place.commit("main", a="1")
    second = place.commit("main", a="2")
    bare = place.repositories.open("demo")
    assert [bare.resolve(name) for name in (second, "main", "refs/heads/main", "HEAD")] == [second] * 4
    assert bare.resolve(first) == first
    for name in ("main~1", "main^", ":/a", "--all", "main@{1}", first[:10], "", "0" * 40):
        assert bare.resolve(name) is None, name


def test_what_is_not_there_is_said_as_codecommit_says_it(place: Place) -> None:
    repositories = place.repositories
    place.commit("main", a="1")
    assert refused(repositories.open, "none") == "RepositoryDoesNotExistException"
    assert refused(repositories.branch_head, "demo", "none") == "BranchDoesNotExistException"
    assert refused(repositories.archive, "demo", "0" * 40) == "CommitDoesNotExistException"
    assert refused(repositories.commit, "demo", "main") == "CommitDoesNotExistException"
    assert refused(repositories.create, "demo", "other") == "RepositoryNameExistsException"
    repositories.delete("demo")
    assert refused(repositories.delete, "demo") == "RepositoryDoesNotExistException"
    assert not list(place.folder.glob("git/*.git"))


def test_names_of_connected_repositories() -> None:
    assert is_connected_name("some-one/app.v2")
    for name in ("app", "a/b/c", "../app", "a/..", "a/b.git", "a b/c", "a/", "/b"):
        assert not is_connected_name(name), name


def test_neither_the_users_settings_nor_a_missing_git_are_passed_over(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = tmp_path / "hooks" / "reference-transaction"
    hook.parent.mkdir()
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    settings = tmp_path / "settings"
    settings.write_text(f"[core]\n\thooksPath = {hook.parent}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    place.commit("main", a="1")
    assert not (tmp_path / "ran").exists()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServiceError, match="Install git"):
        place.repositories.branch_head("demo", "main")
