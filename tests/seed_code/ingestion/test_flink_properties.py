"""The Flink job's properties: what of them goes into its SQL, and what is refused. No Flink."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seed_code.ingestion.flink import check, main
from tests.seed_code.ingestion import flink_run

SQL = (Path(main.__file__).parent / "minutes.sql").read_text(encoding="utf-8")
GROUPS = {group["PropertyGroupId"]: group["PropertyMap"] for group in flink_run.properties(30)}


def test_the_statements_are_three_tables_a_view_and_two_inserts() -> None:
    statements = list(main.fill(SQL, GROUPS))
    begins = [" ".join(statement.split()[:4]).split(" (")[0] for statement in statements]
    assert begins == [
        "CREATE TEMPORARY TABLE transactions",
        "CREATE TEMPORARY TABLE minutes",
        "CREATE TEMPORARY TABLE late",
        "CREATE TEMPORARY VIEW counted",
        "INSERT INTO minutes SELECT",
        "INSERT INTO late SELECT",
    ]
    assert not any("$" in statement or "--" in statement for statement in statements)


def test_options_go_into_the_tables_as_they_are() -> None:
    kinesis = {"connector": "kinesis", "stream.arn": "arn:aws:kinesis:eu-west-1:1:stream/p-transactions"}
    statement = next(main.fill(SQL, {**GROUPS, "transactions": kinesis}, "/mounts"))
    assert statement.endswith(
        "WITH (\n  'connector' = 'kinesis',\n  'stream.arn' = 'arn:aws:kinesis:eu-west-1:1:stream/p-transactions'\n)"
    )


def test_an_option_may_hold_what_sql_and_templates_mean_something_by() -> None:
    statement = next(main.fill(SQL, {**GROUPS, "transactions": {"odd": "it's; $one -- 'two'"}}))
    assert "'odd' = 'it''s; $one -- ''two'''" in statement


def test_a_path_lies_below_the_folder_that_streams_are_mounted_in() -> None:
    statement = next(main.fill(SQL, GROUPS, "/tmp/app"))
    assert "'path' = '/tmp/app/streams/transactions'" in statement


@pytest.mark.parametrize(("seconds", "interval"), [("0", "00:00:00"), ("30", "00:00:30"), ("3600", "01:00:00")])
def test_the_lateness_is_an_interval(seconds: str, interval: str) -> None:
    statement = next(main.fill(SQL, {**GROUPS, "aggregate": {"lateness_seconds": seconds}}))
    assert f"`tx_time` - INTERVAL '{interval}' HOUR TO SECOND" in statement


@pytest.mark.parametrize("seconds", ["", "-1", "1.5", "3601", "٣"])
def test_a_lateness_that_is_none_is_refused(seconds: str) -> None:
    with pytest.raises(main.PropertyError, match=r"lateness_seconds of the group aggregate is .* from 0 to 3600"):
        list(main.fill(SQL, {**GROUPS, "aggregate": {"lateness_seconds": seconds}}))


def test_missing_groups_are_named_together() -> None:
    with pytest.raises(main.PropertyError, match="have no group minutes, late"):
        list(main.fill(SQL, {"transactions": GROUPS["transactions"], "minutes": {}}))


def test_the_services_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "properties.json").write_text(json.dumps(flink_run.properties(30)))
    assert main.read(tmp_path / "properties.json") == GROUPS


@pytest.mark.parametrize("content", [None, "{", '{"transactions": {}}', '[{"PropertyGroupId": "a"}]'])
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "properties.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(main.PropertyError, match=r"properties\.json is no file of an application's properties"):
        main.read(file)


def test_only_settings_that_the_managed_service_allows_a_program_are_made() -> None:
    # Of those on its page "Programmatic Flink configuration properties".
    assert set(main.SETTINGS) == {
        "table.local-time-zone",
        "pipeline.auto-watermark-interval",
        "table.exec.source.idle-timeout",
    }


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime Environment', 17),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "21" 2023-09-19', 21),
        ("command not found", None),
    ],
)
def test_the_version_of_java_is_read(said: str, version: int | None) -> None:
    assert check.java_version(said) == version


def _program(path: Path, said: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{said}' >&2\n")
    path.chmod(0o755)
    return path


def test_all_that_the_machine_lacks_is_said_at_once(tmp_path: Path) -> None:
    _program(tmp_path / "bin" / "java", 'openjdk version "11.0.2"')
    python = _program(tmp_path / "python", "PackageNotFoundError: apache-flink")
    with pytest.raises(check.Unfit, match=r"is Java 11; Flink needs Java 17.*; .*has no PyFlink 2\.3\.x.*`make "):
        check.check(python, {"JAVA_HOME": str(tmp_path)})
    with pytest.raises(check.Unfit, match=r"there is no Java on the PATH; Flink needs Java 17: install it"):
        check.check(python, {"PATH": str(tmp_path)})


def test_a_machine_that_has_both_is_fit(tmp_path: Path) -> None:
    _program(tmp_path / "bin" / "java", 'openjdk version "17.0.15"')
    check.check(_program(tmp_path / "python", "2.3.0"), {"JAVA_HOME": str(tmp_path)})
    assert check.main([], {}) == 2
    assert check.main([str(tmp_path / "none")], {"JAVA_HOME": str(tmp_path)}) == 1
