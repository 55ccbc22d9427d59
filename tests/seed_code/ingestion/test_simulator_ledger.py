"""The ledger: the truth that minutes are held against."""

import json
import sys
from pathlib import Path

import pytest

from seed_code.ingestion.simulator import ledger
from seed_code.ingestion.simulator.ledger import Ledger
from seed_code.ingestion.simulator.traffic import Transaction

HOUR = 1_779_364_800  # 2026-05-21T12:00:00Z


def transaction(name: str, time: int, fee: int | None = 1000) -> Transaction:
    return Transaction(name, time, fee, float(time))


def kept(folder: Path) -> list[dict]:
    return list(ledger.records(folder, HOUR - 100_000, HOUR + 100_000))


def test_a_transaction_is_written_once_with_when_it_was_first_served(tmp_path):
    book = Ledger(tmp_path)
    one, other = transaction("a", HOUR + 5), transaction("b", HOUR + 6, None)
    book.write([one], HOUR + 7)
    book.write([other, one], HOUR + 9)
    book.close()
    assert kept(tmp_path) == [
        {"hash": "a", "time": HOUR + 5, "fee": 1000, "served_at": HOUR + 7},
        {"hash": None, "time": HOUR + 7, "fee": None, "served_at": HOUR + 7},
        {"hash": "b", "time": HOUR + 6, "fee": None, "served_at": HOUR + 9},
    ]
    assert book.served == 2


def test_rows_follow_from_what_was_served(tmp_path):
    book = Ledger(tmp_path)
    book.write([transaction("a", HOUR, 10), transaction("b", HOUR + 59, 15), transaction("c", HOUR, None)], HOUR + 59)
    book.write([], HOUR + 60)  # quiet
    book.write([transaction("d", HOUR + 130, None)], HOUR + 190)  # served in the minute after its own
    book.write([transaction("e", HOUR + 3700, 7)], HOUR + 191)  # from the future: whoever reads it sets it aside
    book.write([transaction("f", HOUR + 40, 5)], HOUR + 192)  # late
    book.close()
    rows = list(ledger.minutes(tmp_path, HOUR, HOUR + 7200))
    assert [tuple(row.values()) for row in rows] == [
        ("2026-05-21T12:00:00Z", 4, 30, 10.0),
        ("2026-05-21T12:01:00Z", 0, 0, None),
        ("2026-05-21T12:02:00Z", 1, 0, None),
        ("2026-05-21T12:03:00Z", 0, 0, None),
    ]
    assert list(ledger.minutes(tmp_path, HOUR + 60, HOUR + 120)) == rows[1:2]


def test_the_same_served_again_after_a_restart_counts_once(tmp_path):
    for _ in range(2):
        book = Ledger(tmp_path)
        book.write([transaction("a", HOUR, 10)], HOUR + 1)
        book.close()
    assert [row["total_nb_trx_1min"] for row in ledger.minutes(tmp_path, HOUR, HOUR + 60)] == [1]


def test_a_line_that_was_cut_off_is_no_record_and_none_is_written_behind_it(tmp_path):
    book = Ledger(tmp_path)
    book.write([transaction("a", HOUR)], HOUR)
    book.close()
    (file,) = (tmp_path / "served").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"hash":"b","ti')
    assert len(kept(tmp_path)) == 2
    book = Ledger(tmp_path)
    book.write([transaction("c", HOUR + 1)], HOUR + 1)
    book.close()
    assert [record["hash"] for record in kept(tmp_path)] == ["a", None, "c", None]


def test_late_ones_go_into_their_own_hours_and_few_files_are_open(tmp_path):
    book = Ledger(tmp_path)
    for hour in (0, 5, 1, 4, 2, 3, 0, 5):
        book.write([transaction(f"of{hour}", HOUR + 3600 * hour)], HOUR + 3600 * 5)
        assert len(book._open) <= 4
    book.close()
    assert len(list((tmp_path / "served").iterdir())) == 6
    assert [record["time"] for record in kept(tmp_path)] == sorted(record["time"] for record in kept(tmp_path))


def test_what_is_long_past_is_deleted(tmp_path):
    book = Ledger(tmp_path)
    for day in range(12):
        book.write([transaction(f"of{day}", HOUR + 86_400 * day)], HOUR + 86_400 * day)
    book.close()
    files = sorted(path.name for path in (tmp_path / "served").iterdir())
    assert (files[0], files[-1]) == ("2026-05-24T12.ndjson", "2026-06-01T12.ndjson")


@pytest.fixture
def run(monkeypatch, tmp_path, capsysbinary):
    def ran(*arguments: str) -> bytes:
        monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
        monkeypatch.setattr(sys, "argv", ["ledger", *arguments])
        ledger.main()
        return capsysbinary.readouterr().out

    return ran


def test_the_command_writes_lines_of_the_minutes_stream(run, tmp_path):
    book = Ledger(tmp_path)
    book.write([transaction("a", HOUR, 9000)], HOUR)
    book.close()
    span = ("--from", "2026-05-21T12:00:00Z", "--to", "2026-05-21T13:00:00Z")
    assert run(*span, "--ledger", str(tmp_path)) == (
        b'{"tx_minute":"2026-05-21T12:00:00Z","total_nb_trx_1min":1,"total_fee_1min":9000,"avg_fee_1min":9000.0}\n'
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--from", "noon", "--to", "1", "--ledger", "x"), "argument --from: `noon` is no ISO 8601 time"),
        (("--from", "0", "--to", "1", "--ledger", "/nowhere"), "--ledger is `/nowhere`, which has no `served` in it"),
    ],
)
def test_wrong_arguments_are_named(run, tmp_path, arguments, expected):
    with pytest.raises(SystemExit):
        run(*arguments)
    assert expected in (tmp_path / "output/message").read_text()


def test_lines_are_compact():
    assert ledger.line({"hash": None, "time": 1}) == b'{"hash":null,"time":1}\n'
    assert json.loads(ledger.line({"fee": 2**40}))["fee"] == 2**40
