"""Prepare end to end: what it writes, and what it says of bad input. No bad file ends in a traceback."""

import codecs
import datetime
import gzip
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from seed_code.cardholders import features, generate, prepare, transactions
from seed_code.common.errors import ClientError

COLUMNS = generate.COLUMNS
OUTPUTS = (
    "holders/holders.parquet",
    "train/examples.parquet",
    "validation/examples.parquet",
    "holdout/examples.parquet",
    "holdout/holders.parquet",
)
Prepare = Callable[..., dict[str, Any]]


def line(day: int, holder: str = "C_Mason", amount: str = "10.00", vendor: str = "ACME", **others: str) -> list[str]:
    """One line of the Oklahoma format; day 0 is 2013-07-01."""
    initial, _, last = holder.partition("_")
    date = f"{datetime.date(2013, 7, 1) + datetime.timedelta(days=day):%m/%d/%Y} 12:00:00 AM"
    values = {
        "Year-Month": "201307",
        "Agency Number": "1000",
        "Agency Name": "OFFICE",
        "Cardholder Last Name": last,
        "Cardholder First Initial": initial,
        "Description": "GENERAL PURCHASE",
        "Amount": amount,
        "Vendor": vendor,
        "Transaction Date": date,
        "Posted Date": date,
        "Merchant Category Code (MCC)": '"BOOKS, ETC"',
    }
    return list((values | others).values())


def regular(days: int = 300, holders: Iterable[str] = ("C_Mason", "J_Adams"), every: int = 3) -> list[list[str]]:
    return [line(day, holder) for day in range(0, days, every) for holder in holders]


def text(lines: Iterable[list[str]], header: Iterable[str] = COLUMNS, delimiter: str = ",") -> str:
    return "".join(delimiter.join(one) + "\n" for one in (list(header), *lines))


@pytest.fixture
def run(tmp_path: Path) -> Prepare:
    """Run prepare on the files given by name (text or bytes), with arguments as on the command line."""

    def prepared(files: dict[str, str | bytes], *arguments: str, out: str = "out") -> dict[str, Any]:
        source = tmp_path / f"{out}-in"
        source.mkdir()
        for name, content in files.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return prepare.prepare(prepare.parser().parse_args(arguments), source, tmp_path / out)

    return prepared


def outputs(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in OUTPUTS}


@pytest.fixture(scope="module")
def generated() -> bytes:
    first_day = datetime.date(2013, 7, 1)
    lines = generate.simulate(8_000, 120, 3, first_day, 365)
    texts = generate._Texts(lines, 120, first_day)
    return (",".join(COLUMNS) + "\n").encode() + texts.chunk(slice(0, 8_000))


# --- what it writes ---------------------------------------------------------------------------------------------------


def test_outputs_keep_to_the_contract(run: Prepare, tmp_path: Path, generated: bytes) -> None:
    report = run({"cards.csv": generated}, "--max-bad-share", "0.02")
    behaviour = ["holder", *features.FIELDS]
    for name in ("holders/holders.parquet", "holdout/holders.parquet"):
        holders = pd.read_parquet(tmp_path / "out" / name)
        assert list(holders.columns) == behaviour
        assert holders["holder"].is_unique
        assert (holders["usage_freq"] >= 1).all()
        assert (holders["uniq_merchant"] <= holders["usage_freq"]).all()
        assert (holders["amount_spend"] > 0).all()
    seen = {}
    for part in ("train", "validation", "holdout"):
        file = tmp_path / "out" / part / "examples.parquet"
        examples = pd.read_parquet(file)
        assert list(examples.columns) == [
            "holder",
            "reference_date",
            *features.FIELDS,
            *features.STORED_FEATURE_NAMES,
            "days_to_next",
        ]
        assert not examples.duplicated(["holder", "reference_date"]).any()
        assert examples["days_to_next"].dropna().between(1, 30).all()
        seen[part] = pd.to_datetime(examples["reference_date"])
        described = report["split"][part]
        assert described["examples"] == len(examples)
        assert described["positives"] == {str(k): int((examples["days_to_next"] <= k).sum()) for k in (1, 7, 14, 30)}
        assert described["first"] <= str(seen[part].min().date()) <= str(seen[part].max().date()) <= described["last"]
        meta = {key.decode(): value.decode() for key, value in pq.read_schema(file).metadata.items()}
        assert (meta["window_days"], meta["max_horizon"]) == ("120", "30")
    horizon = pd.Timedelta(days=30)
    assert seen["train"].max() + horizon < seen["validation"].min()
    assert seen["validation"].max() + horizon < seen["holdout"].min()
    assert seen["holdout"].max() + horizon <= pd.Timestamp("2014-06-30")
    counts = report["counts"]
    assert counts["lines"] == 8_000 == counts["parsed"] + sum(counts["bad"].values())
    assert counts["parsed"] == counts["duplicates"] + counts["refunds"] + counts["zero"] + counts["purchases"]
    assert min(counts["duplicates"], counts["refunds"], sum(counts["bad"].values())) > 0
    assert counts["holders"] == 120
    assert report["leakage_check"]["examples"] > 30
    assert report == json.loads((tmp_path / "out/report/prepare.json").read_text())
    assert not (tmp_path / "out/.spill").exists()


def test_an_example_is_what_the_holder_would_send(run: Prepare, tmp_path: Path, generated: bytes) -> None:
    run({"cards.csv": generated})
    examples = pd.read_parquet(tmp_path / "out/holdout/examples.parquet")
    examples = examples[examples["usage_freq"] > 5].iloc[::97]
    lines = [one.split(",") for one in dict.fromkeys(generated.decode().splitlines()[1:])]
    own: dict[str, list[tuple[datetime.date, float, str]]] = {}
    hashed = duckdb.connect()
    for row in lines:
        try:
            day = datetime.datetime.strptime(next(x for x in row if x.endswith("AM"))[:10], "%m/%d/%Y").date()
            initial, last = row[-len(row) + 4], row[-len(row) + 3]
            offset = next(index for index, value in enumerate(row) if value.endswith("AM"))
            own.setdefault(f"{initial}_{last}", []).append((day, float(row[offset - 2]), row[offset - 1]))
        except (StopIteration, ValueError):  # a bad line
            continue
    by_id = {
        hashed.execute("SELECT left(sha256('cardholders' || chr(31) || ?), 16)", [name]).fetchone()[0]: name
        for name in own
    }
    assert len(examples) > 2
    for example in examples.to_dict("records"):
        sent = features.holder_features(own[by_id[example["holder"]]], example["reference_date"])
        assert sent == pytest.approx({name: example[name] for name in sent}, nan_ok=True)


def test_files_are_the_same_whatever_the_order_threads_and_memory(
    run: Prepare, tmp_path: Path, generated: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, *lines = generated.splitlines(keepends=True)
    random.Random(0).shuffle(lines)
    half = len(lines) // 2
    run({"cards.csv": generated}, "--threads", "2", out="one")
    monkeypatch.setattr(prepare, "ROWS_AT_ONCE", 500)  # many batches of holders
    run(
        {"2014/a.csv": header + b"".join(lines[:half]), "b.csv.gz": gzip.compress(header + b"".join(lines[half:]))},
        *("--threads", "1", "--memory-limit", "500MB"),
        out="other",
    )
    assert outputs(tmp_path / "one") == outputs(tmp_path / "other")


def test_no_name_and_no_vendor_leaves(run: Prepare, tmp_path: Path) -> None:
    run({"cards.csv": text([*regular(), line(5, "Q_Unmistakable", amount="what")])})
    report = (tmp_path / "out/report/prepare.json").read_text()
    content = report + "".join(str(pd.read_parquet(tmp_path / "out" / name).to_csv()) for name in OUTPUTS)
    for private in ("Mason", "Adams", "Unmistakable", "ACME"):
        assert private not in content
    run({"cards.csv": text(regular())}, "--holder-salt", "another", out="salted")
    one, other = (pd.read_parquet(tmp_path / out / OUTPUTS[0])["holder"] for out in ("out", "salted"))
    assert set(one).isdisjoint(other)
    assert one.str.fullmatch("[0-9a-f]{16}").all()


def test_examples_are_limited_deterministically(run: Prepare, tmp_path: Path, generated: bytes) -> None:
    report = run({"cards.csv": generated}, "--max-examples", "400")
    assert [report["split"][part]["examples"] for part in ("train", "validation", "holdout")] == [400, 100, 100]
    run({"cards.csv": generated}, "--max-examples", "400", out="again")
    assert outputs(tmp_path / "out") == outputs(tmp_path / "again")


def test_another_banks_file_gives_the_same_outputs(run: Prepare, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    records = [(day, f"{'CJ'[day % 2]}_Müller", int(rng.integers(50, 900_000))) for day in range(300)]
    ours = [line(day, holder, f"{cents / 100:.2f}", vendor=f"V{day % 7}") for day, holder, cents in records]
    theirs = [
        [
            f"{datetime.date(2013, 7, 1) + datetime.timedelta(days=day):%d.%m.%Y}",
            f"{cents / 100:,.2f}".translate(str.maketrans(",.", ".,")),
            f"V{day % 7}",
            holder,
        ]
        for day, holder, cents in records
    ]
    run({"cards.csv": text(ours)}, out="ours")
    run(
        {"umsatz.csv": text(theirs, ("Datum", "Betrag", "Händler", "Karte"), ";").encode("cp1252")},
        *("--column", "date=Datum", "--column", "amount=Betrag", "--column", "vendor=Händler"),
        *("--column", "holder=Karte", "--date-format", "%d.%m.%Y", "--encoding", "cp1252"),
        *("--delimiter", ";", "--decimal", ","),
        out="theirs",
    )
    assert outputs(tmp_path / "ours") == outputs(tmp_path / "theirs")


# --- time -------------------------------------------------------------------------------------------------------------


def test_what_comes_after_the_evaluation_time_is_as_if_it_were_not_there(run: Prepare, tmp_path: Path) -> None:
    report = run({"cards.csv": text(regular(400))}, "--evaluation-time", "2014-04-30T23:30:00Z", out="later")
    run({"cards.csv": text(regular(304))}, out="until")
    assert report["period"]["last"] == "2014-04-30"
    assert report["counts"]["later"] == len(regular(400)) - len(regular(304))
    assert outputs(tmp_path / "later") == outputs(tmp_path / "until")


def test_an_evaluation_time_long_after_the_data_changes_nothing(run: Prepare, tmp_path: Path) -> None:
    report = run({"cards.csv": text(regular())}, "--evaluation-time", "2031-01-01", out="late")
    run({"cards.csv": text(regular())}, "--evaluation-time", "", out="none")
    assert report["period"]["last"] == "2014-04-24"
    assert outputs(tmp_path / "late") == outputs(tmp_path / "none")


def test_a_mistyped_year_does_not_stretch_the_period(run: Prepare) -> None:
    strays = [line(-40_000), line(20_000)]
    report = run({"cards.csv": text([*regular(600, holders=[f"H_{n}" for n in range(20)]), *strays])})
    assert (report["period"]["first"], report["period"]["days"]) == ("2013-07-01", 598)
    assert report["counts"]["outside_period"] == 2


def test_too_short_a_period_is_refused(run: Prepare) -> None:
    with pytest.raises(ClientError, match=r"cover 226 days .* expected at least 230.*--window-days"):
        run({"cards.csv": text(regular(228))})
    report = run({"cards.csv": text(regular(228))}, "--window-days", "60", out="shorter")
    assert report["window_days"] == 60


# --- lines ------------------------------------------------------------------------------------------------------------


def test_duplicates_count_once_unless_they_are_kept(run: Prepare, tmp_path: Path) -> None:
    lines = regular()
    report = run({"cards.csv": text([*lines, *lines[:10], *lines[:5]])})
    assert (report["counts"]["duplicates"], report["counts"]["purchases"]) == (15, len(lines))
    run({"cards.csv": text(lines)}, out="plain")
    assert outputs(tmp_path / "out") == outputs(tmp_path / "plain")
    kept = run({"cards.csv": text([*lines, *lines[:10], *lines[:5]])}, "--keep-duplicates", "true", out="kept")
    assert (kept["counts"]["duplicates"], kept["counts"]["purchases"]) == (15, len(lines) + 15)


def test_a_line_that_differs_anywhere_is_no_duplicate(run: Prepare) -> None:
    lines = regular()
    other = [line(0, Description="SERVICE"), line(0, **{"Posted Date": "08/01/2013 12:00:00 AM"})]
    report = run({"cards.csv": text([*lines, *other])})
    assert (report["counts"]["duplicates"], report["counts"]["purchases"]) == (0, len(lines) + 2)


def test_refunds_and_zero_are_no_purchases(run: Prepare, tmp_path: Path) -> None:
    others = [line(280, amount="-5.00"), line(281, amount="(7.00)"), line(282, amount="0.00"), line(1, "R_Only", "-1")]
    report = run({"cards.csv": text([*regular(), *others])})
    assert (report["counts"]["refunds"], report["counts"]["zero"]) == (3, 1)
    assert (report["counts"]["purchases"], report["counts"]["holders"]) == (len(regular()), 2)
    with pytest.raises(ClientError, match=r"none of the 2 readable lines is a purchase \(refunds 2, zero 0"):
        run({"cards.csv": text([line(0, amount="-1"), line(1, amount="-2")])}, out="refunds only")


@pytest.mark.parametrize(
    ("written", "cents"),
    [
        ("890.00", 89_000),
        ("-42863.04", -4_286_304),
        (" 12.5 ", 1_250),
        ("$1,234.50", 123_450),
        ("-$1,234.50", -123_450),
        ("($89)", -8_900),
        ("1903858", 190_385_800),
        ("12,50", None),
        ("1.234,50", None),
        ("nan", None),
        ("inf", None),
        ("12 EUR", None),
        ("1e30", None),
        ("", None),
    ],
)
def test_amounts_are_read_or_refused_never_guessed(written: str, cents: int | None) -> None:
    sql = transactions._cents("trim(?::VARCHAR)", ".")
    found = duckdb.execute(f"SELECT {sql}", [written] * sql.count("?::VARCHAR")).fetchone()
    assert found == (cents,)


def test_bad_lines_are_counted_with_their_line_numbers(run: Prepare) -> None:
    lines = regular(900)
    broken = {
        7: ",".join(line(1))[:30],
        50: ",".join(line(2, **{"Transaction Date": "02/30/2014 12:00:00 AM"})),
        51: ",".join(line(2, amount="n/a")),
        52: ",".join(line(2, amount="")),
        90: ",".join(line(2, "_Mason")),
        91: ",".join(line(2, vendor="  ")),
        95: ",".join([*line(3), "one too many"]),
    }
    content = text(lines).splitlines(keepends=True)
    for number, bad in sorted(broken.items()):
        content.insert(number - 1, bad + "\n")
    report = run({"cards.csv": "".join(content)}, "--max-bad-share", "0.02")
    assert report["counts"]["bad"] == {"columns": 2, "date": 1, "amount": 2, "holder": 1, "vendor": 1}
    found = {
        (reason, one["line"]): one["found"] for reason, examples in report["bad_lines"].items() for one in examples
    }
    assert found == {
        ("columns", 7): "6 fields instead of 11",
        ("columns", 95): "12 fields instead of 11",
        ("date", 50): "02/30/2014 12:00:00 AM",
        ("amount", 51): "n/a",
        ("amount", 52): "",
        ("holder", 90): "",
        ("vendor", 91): "",
    }
    assert report["counts"]["purchases"] == len(lines)
    with pytest.raises(ClientError) as refused:
        run({"cards.csv": "".join(content)}, "--max-bad-share", "0.01", out="strict")
    message = str(refused.value)
    assert f"7 of {len(lines) + 7} lines cannot be read (1.15%: columns 2, date 1, amount 2" in message
    assert "expected at most 1.00%" in message
    assert "cards.csv line 50: date `02/30/2014 12:00:00 AM`" in message
    assert message.count(" line ") == 5
    assert "raise `max_bad_share` (--max-bad-share)" in message
    assert len(message) < 1024


def test_examples_of_bad_lines_name_their_file(run: Prepare) -> None:
    ten = [line(day, amount="?") for day in range(6)]
    report = run({"a.csv": text(regular(900)), "b.csv": text([*regular(900, ["Z_Young"]), *ten])})
    examples = report["bad_lines"]["amount"]
    assert [(one["file"], one["line"]) for one in examples] == [("b.csv", 302 + n) for n in range(5)]
    assert report["files"] == [{"file": "a.csv", "lines": 600}, {"file": "b.csv", "lines": 306}]


def test_fields_may_hold_delimiters_quotes_and_line_breaks(run: Prepare) -> None:
    odd = [line(day, vendor='"A, ""B""\nC"') for day in range(1, 5)]
    report = run({"cards.csv": text([*regular(), *odd])})
    assert report["counts"]["purchases"] == len(regular()) + 4
    assert sum(report["counts"]["bad"].values()) == 0


def test_one_holder_is_enough_here(run: Prepare, tmp_path: Path) -> None:
    report = run({"cards.csv": text(regular(holders=["C_Mason"]))})
    assert report["holders"] == {"train": 1, "holdout": 1}
    assert all(report["split"][part]["examples"] >= 1 for part in ("train", "validation", "holdout"))


def test_people_of_one_name_are_one_holder(run: Prepare) -> None:
    other_agency = [line(day, **{"Agency Number": "2000"}) for day in range(0, 300, 3)]
    report = run({"cards.csv": text([*regular(), *other_agency])})
    assert report["counts"]["holders"] == 2


# --- files ------------------------------------------------------------------------------------------------------------

GOOD = text(regular())
REFUSED: dict[str, tuple[dict[str, str | bytes], tuple[str, ...], str]] = {
    "no file": ({"_SUCCESS": b""}, (), r"no file in .*expected transactions as \.csv or \.csv\.gz"),
    "empty": ({"cards.csv": b""}, (), r"cards\.csv is empty; expected a header"),
    "empty, compressed": ({"cards.csv.gz": gzip.compress(b"")}, (), r"cards\.csv\.gz is empty"),
    "no byte, compressed by name": ({"cards.csv.gz": b""}, (), r"cards\.csv\.gz is empty; expected a header"),
    "one of two is empty": ({"a.csv": GOOD, "b.csv": b""}, (), r"b\.csv is empty"),
    "blank lines": ({"cards.csv": b"\n\r\n\n"}, (), r"blank lines only"),
    "header only": ({"cards.csv": text([])}, (), r"cards\.csv: there is a header but no line"),
    "header only, no newline": ({"cards.csv": ",".join(COLUMNS)}, (), r"there is a header but no line"),
    "missing column": (
        {"cards.csv": GOOD.replace("Amount,", "Betrag,", 1)},
        (),
        r"cards\.csv has no column `Amount` for `amount`; found `Year-Month`.*`Betrag`.*--column amount=NAME",
    ),
    "missing columns": (
        {"cards.csv": GOOD.replace("Amount,Vendor,", "a,b,", 1)},
        (),
        r"no column `Amount` for `amount` and no column `Vendor` for `vendor`",
    ),
    "column twice": (
        {"cards.csv": GOOD.replace("Description,", "Amount,", 1)},
        (),
        r"2 columns `Amount` for `amount`",
    ),
    "other delimiter": ({"cards.csv": GOOD.replace(",", ";")}, (), r"is the delimiter another \(--delimiter\)"),
    "latin-1 in the header": (
        {"cards.csv": GOOD.replace("Year-Month", "Année", 1).encode("latin-1")},
        (),
        r"cards\.csv is not utf-8: line 1 .*expected a file in utf-8.*--encoding latin-1",
    ),
    "latin-1 in the line below the header": (
        {"cards.csv": text([line(3, vendor="CAFÉ"), *regular()]).encode("latin-1")},
        (),
        r"cards\.csv is not utf-8: line 2 holds .*--encoding latin-1",
    ),
    "latin-1 in a line": (
        {"cards.csv": text([*regular(), line(3, vendor="CAFÉ"), *regular()]).encode("latin-1")},
        (),
        r"cards\.csv is not utf-8: line 202 .*--encoding latin-1",
    ),
    "utf-16": ({"cards.csv": GOOD.encode("utf-16")}, (), r"is UTF-16 .*expected utf-8.*--encoding utf-16"),
    "not in the encoding named": (
        {"cards.csv": text([line(1, vendor="É")])},
        ("--encoding", "utf-16-le"),
        r"cards\.csv is not utf-16-le",
    ),
    "unknown encoding": ({"cards.csv": GOOD}, ("--encoding", "utf-9"), r"encoding is `utf-9`.*expected for example"),
    "zip": ({"cards.csv": b"PK\x03\x04rest"}, (), r"cards\.csv is a zip archive; expected .*unpack"),
    "cut gzip": ({"cards.csv.gz": gzip.compress(GOOD.encode())[:-300]}, (), r"cards\.csv\.gz cannot be read"),
    "garbled gzip": ({"cards.csv.gz": b"\x1f\x8b garbled"}, (), r"cards\.csv\.gz cannot be read"),
    "all dates in another format": (
        {"cards.csv": GOOD},
        ("--date-format", "%d.%m.%Y"),
        r"200 of 200 lines cannot be read \(100\.00%: date 200\).*line 2: date `07/01/2013.*`date_formats`",
    ),
    "no date format": ({"cards.csv": GOOD}, ("--date-format", "%q"), r"date format is `%q`; expected strptime's"),
    "evaluated too early": (
        {"cards.csv": GOOD},
        ("--evaluation-time", "2012-01-01"),
        r"after the evaluation time 200.*is the evaluation time too early",
    ),
    "unknown role": ({"cards.csv": GOOD}, ("--column", "price=Amount"), r"--column is `price=Amount`; expected ROLE"),
    "long delimiter": ({"cards.csv": GOOD}, ("--delimiter", "::"), r"--delimiter is `::`; expected one character"),
    "no memory": ({"cards.csv": GOOD}, ("--memory-limit", "lots"), r"--memory-limit is `lots`; expected a size"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name_value_and_what_to_do(case: str, run: Prepare, tmp_path: Path) -> None:
    files, arguments, said = REFUSED[case]
    with pytest.raises(ClientError, match=said) as refused:
        run(files, *arguments)
    assert len(str(refused.value)) <= 1024
    assert not (tmp_path / "out/report").exists()


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        (("--evaluation-time", "yesterday"), "is no ISO 8601 time"),
        (("--max-bad-share", "1.5"), "not between 0 and 1"),
        (("--keep-duplicates", "maybe"), "neither `true` nor `false`"),
        (("--max-horizon", "0"), "0 is below 1"),
        (("--decimal", "x"), "invalid choice"),
    ],
)
def test_bad_arguments_are_refused(argument: tuple[str, str], said: str) -> None:
    with pytest.raises(ClientError, match=f"{argument[0]}.*{said}"):
        prepare.parser().parse_args(argument)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1", "utf-16"])
def test_a_named_encoding_is_read(encoding: str, run: Prepare, tmp_path: Path) -> None:
    content = text([*regular(), *(line(day, "É_Größe", vendor="CAFÉ") for day in range(50))])
    run({"cards.csv": content}, out="utf-8")
    run({"cards.csv": content.encode(encoding)}, "--encoding", encoding, out="named")
    assert outputs(tmp_path / "utf-8") == outputs(tmp_path / "named")


def test_a_byte_order_mark_is_no_part_of_the_first_column(run: Prepare) -> None:
    header = ["Amount", *(name for name in COLUMNS if name != "Amount")]
    lines = [["10.00", *one[:6], *one[7:]] for one in regular()]
    report = run({"cards.csv": codecs.BOM_UTF8 + text(lines, header).encode()})
    assert report["counts"]["purchases"] == len(lines)


# --- the program ------------------------------------------------------------------------------------------------------


def program(base: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "seed_code.cardholders.prepare", *arguments],
        env=os.environ | {"SAGEMAKER_BASE_DIR": str(base)},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_program_reads_and_writes_where_the_contract_says(tmp_path: Path, generated: bytes) -> None:
    source = tmp_path / "processing/input/transactions"
    source.mkdir(parents=True)
    (source / "cards.csv.gz").write_bytes(gzip.compress(generated))
    done = program(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "purchases of 120 holders, 2013-07-01 to 2014-06-30" in done.stdout
    assert all((tmp_path / "processing/output" / name).is_file() for name in OUTPUTS)
    assert done.stderr == ""


def test_the_program_leaves_its_reason_and_no_traceback(tmp_path: Path) -> None:
    source = tmp_path / "processing/input/transactions"
    source.mkdir(parents=True)
    (source / "cards.csv").write_text("")
    done = program(tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "cards.csv is empty" in (tmp_path / "output/message").read_text()
