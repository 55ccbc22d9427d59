"""The document store: round trips, order, transactions, and what survives."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.store import Store, dumps, loads, transaction

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.datetimes(timezones=st.just(UTC))
)
_KEYS = st.text() | st.sampled_from(["$datetime", "$bytes", "$object"])
_VALUES = st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state" / "documents.sqlite")


@given(st.dictionaries(_KEYS, _VALUES, max_size=4))
def test_a_document_reads_back_as_it_was_written(document: dict) -> None:
    assert loads(dumps(document)) == document


def test_a_datetime_of_another_zone_reads_back_as_the_same_moment_in_utc(store: Store) -> None:
    moment = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    store.put("job", "a", {"at": moment})
    read = store.get("job", "a")
    assert read == {"at": moment}
    assert read["at"].tzinfo is UTC


def test_a_naive_datetime_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        store.put("job", "a", {"at": datetime(2026, 1, 1)})
    assert store.get("job", "a") is None


@pytest.mark.parametrize("value", [{1: "number as key"}, object(), {1, 2}])
def test_what_json_has_no_word_for_is_refused(store: Store, value: object) -> None:
    with pytest.raises(TypeError):
        store.put("job", "a", {"value": value})


def test_put_replaces_in_place_and_keeps_the_order_of_insertion(store: Store) -> None:
    for key in ("b", "a", "c"):
        assert store.put("job", key, {"version": 1})
    assert store.put("job", "b", {"version": 2})
    assert store.list("job") == [("b", {"version": 2}), ("a", {"version": 1}), ("c", {"version": 1})]


def test_put_if_absent_writes_only_once(store: Store) -> None:
    assert store.put("job", "a", {"n": 1}, if_absent=True)
    assert not store.put("job", "a", {"n": 2}, if_absent=True)
    assert store.get("job", "a") == {"n": 1}


def test_list_gives_one_kind_and_one_prefix(store: Store) -> None:
    for kind, key in [("job", "x/1"), ("job", "x%2"), ("job", "y/1"), ("model", "x/1"), ("job", "x")]:
        store.put(kind, key, {})
    assert [key for key, _ in store.list("job", "x/")] == ["x/1"]
    assert [key for key, _ in store.list("job", "x")] == ["x/1", "x%2", "x"]


def test_delete_says_whether_there_was_one(store: Store) -> None:
    store.put("job", "a", {})
    assert store.delete("job", "a")
    assert not store.delete("job", "a")


def test_update_of_a_missing_document_raises_and_names_it(store: Store) -> None:
    with pytest.raises(KeyError, match="job 'nowhere'"):
        store.update("job", "nowhere", lambda document: document)


def test_update_that_fails_changes_nothing(store: Store) -> None:
    store.put("job", "a", {"n": 1})

    def fail(document: dict) -> dict:
        document["n"] = 2
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        store.update("job", "a", fail)
    assert store.get("job", "a") == {"n": 1}


def test_a_transaction_is_all_or_nothing_and_nested_ones_join(store: Store) -> None:
    def fail_after_writing() -> None:
        with store.transaction():
            store.put("job", "a", {})
            with store.transaction():
                store.put("job", "b", {})
            raise RuntimeError("after the inner block")

    with pytest.raises(RuntimeError):
        fail_after_writing()
    assert store.list("job") == []
    store.put("job", "c", {})
    assert [key for key, _ in store.list("job")] == ["c"]


def test_updates_from_many_threads_are_all_counted(store: Store) -> None:
    store.put("counter", "a", {"n": 0})

    def count() -> None:
        for _ in range(50):
            store.update("counter", "a", lambda document: {"n": document["n"] + 1})

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("counter", "a") == {"n": 400}


def test_what_was_committed_is_seen_by_the_next_process(tmp_path: Path) -> None:
    first = Store(tmp_path / "documents.sqlite")
    first.put("job", "a", {"n": 1})
    # Not closed: a killed process closes nothing.
    assert Store(tmp_path / "documents.sqlite").get("job", "a") == {"n": 1}
    first.close()


def test_a_list_may_leave_most_of_each_document_out(store: Store) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    store.put("job", "a", {"At": moment, "Long": "x" * 1000, "Inner": {"$bytes": "no"}, 'odd "name"': 1})
    store.put("job", "b", {"Name": "b"})
    assert store.list("job", members=("At", "Name")) == [("a", {"At": moment}), ("b", {"Name": "b"})]
    assert store.list("job", members=("Inner",)) == [("a", {"Inner": {"$bytes": "no"}}), ("b", {})]
    assert store.list("job", "b", members=frozenset({"Name"})) == [("b", {"Name": "b"})]


def test_a_state_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "documents.sqlite"
    Store(path).close()
    Store(path).close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 7")
    with pytest.raises(sqlite3.DatabaseError, match="its format is number 7, this localcloud's is number 1"):
        Store(path)


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "documents.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE documents (id INTEGER)")
    with pytest.raises(sqlite3.DatabaseError, match="no such column"):
        Store(path)


def test_a_commit_that_fails_leaves_no_transaction_open() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(
        "PRAGMA foreign_keys = ON; CREATE TABLE parent (id INTEGER PRIMARY KEY);"
        "CREATE TABLE child (parent REFERENCES parent DEFERRABLE INITIALLY DEFERRED)"
    )
    with pytest.raises(sqlite3.IntegrityError), transaction(connection):
        connection.execute("INSERT INTO child VALUES (1)")
    with transaction(connection):
        connection.execute("INSERT INTO parent VALUES (1)")
    assert connection.execute("SELECT (SELECT count(*) FROM child), (SELECT count(*) FROM parent)").fetchone() == (0, 1)
    connection.close()
