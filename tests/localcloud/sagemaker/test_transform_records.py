"""A transform job's payloads, and what is made of their answers."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.sagemaker.transform_records import Payload, RecordError, assembled, check_join, payloads

RECORDS = st.lists(st.binary(min_size=1, max_size=12).filter(lambda record: not {10, 13} & set(record)), max_size=12)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records") / "a"


@given(records=RECORDS, most_bytes=st.integers(12, 40))
def test_payloads_hold_what_fits_and_lose_nothing(path: Path, records: list[bytes], most_bytes: int) -> None:
    path.write_bytes(b"\r\n".join(records))
    made = list(payloads(path, split=True, several=True, most_bytes=most_bytes, compressed=False))
    assert [record for payload in made for record in payload.records] == records
    for payload in made:
        assert payload.body == b"\n".join(payload.records)
        assert len(payload.body) <= most_bytes
    for payload, following in itertools.pairwise(made):
        assert len(payload.body) + 1 + len(following.records[0]) > most_bytes


def test_a_file_that_is_not_split_must_fit(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abcd")
    with pytest.raises(RecordError, match="the file has 4 bytes, MaxPayloadInMB allows 3"):
        list(payloads(tmp_path / "a", split=False, several=False, most_bytes=3, compressed=False))
    (payload,) = payloads(tmp_path / "a", split=False, several=False, most_bytes=None, compressed=False)
    assert payload == Payload(b"abcd", (b"abcd",))


def test_answers_are_put_one_after_the_other_or_line_by_line() -> None:
    payload = Payload(b"a\nb", (b"a", b"b"))
    assert assembled(payload, b"1\n2", by_line=False, join=False, content_type="") == b"1\n2"
    assert assembled(payload, b"1\n2", by_line=True, join=False, content_type="") == b"1\n2\n"
    assert assembled(payload, b"1\n2\n", by_line=True, join=False, content_type="") == b"1\n2\n"


def test_what_is_joined_must_be_json() -> None:
    payload = Payload(b"a", (b"a",))
    with pytest.raises(RecordError, match="the input is not JSON"):
        assembled(payload, b"1", by_line=True, join=True, content_type="application/jsonlines")
    payload = Payload(b"{}", (b"{}",))
    with pytest.raises(RecordError, match="the server's answer is not JSON"):
        assembled(payload, b"no", by_line=True, join=True, content_type="application/jsonlines")


@pytest.mark.parametrize(
    ("content_type", "accept", "split", "assemble", "told"),
    [
        ("application/jsonlines; charset=utf-8", "application/jsonlines", "Line", "Line", None),
        ("text/csv", "text/csv", "Line", "Line", None),
        ("application/json", "application/json", "None", "None", None),
        (None, "text/csv", "Line", "Line", "ContentType must be"),
        ("image/png", "text/csv", "Line", "Line", "ContentType must be"),
        ("text/csv", "application/json", "Line", "Line", "Accept must be"),
        ("application/json", None, "None", "None", "Accept must be"),
        ("text/csv", "text/csv", "None", "Line", "must be Line"),
        ("text/csv", "text/csv", "Line", "None", "must be Line"),
    ],
)
def test_what_can_be_joined(
    content_type: str | None, accept: str | None, split: str, assemble: str, told: str | None
) -> None:
    problems = check_join(content_type, accept, split, assemble)
    assert (told is None and problems == []) or (told is not None and told in problems[0])
