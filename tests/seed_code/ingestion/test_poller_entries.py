"""The entries that observations become, and the spool that they wait in."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seed_code.common.errors import ClientError
from seed_code.ingestion.poller import entries
from seed_code.ingestion.poller.entries import Entry, bare, of_observation, of_set_aside
from seed_code.ingestion.poller.observation import Observation, SetAside
from seed_code.ingestion.poller.spool import Spool
from seed_code.ingestion.transactions import in_order
from tests.seed_code.ingestion.poller_doubles import NOW, tx


def _details(made):
    return [json.loads(entry.detail) for entry in made]


def test_an_observation_is_one_entry_in_the_order_of_time_and_hash():
    seen = Observation(NOW, [tx(2, NOW - 1), tx(1, NOW - 1), tx(3, NOW - 2, fee=None)])
    (made,) = of_observation(seen)
    assert made.request("bus") == {
        "EventBusName": "bus",
        "Source": "mlops.ingestion",
        "DetailType": "Unconfirmed Transactions",
        "Detail": made.detail,
    }
    detail = json.loads(made.detail)
    assert detail == {
        "schema_version": 1,
        "observed_at": NOW,
        "transactions": [tx(3, NOW - 2, fee=None), tx(1, NOW - 1), tx(2, NOW - 1)],
    }


def test_an_observation_of_nothing_new_is_an_entry_too():
    assert _details(of_observation(Observation(NOW, []))) == [
        {"schema_version": 1, "observed_at": NOW, "transactions": []}
    ]


def test_what_was_set_aside_is_its_own_entry_and_nothing_is_none():
    assert of_set_aside([], NOW) == []
    (made,) = of_set_aside([SetAside("no object", '{"é"')], NOW)
    assert made.detail_type == "Transactions Set Aside"
    assert json.loads(made.detail) == {
        "schema_version": 1,
        "observed_at": NOW,
        "items": [{"reason": "no object", "item": '{"é"'}],
    }
    assert _details(of_set_aside([SetAside("a", "b")], None))[0]["observed_at"] is None


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3)), max_size=30),
    st.integers(700, 2500),
)
def test_no_entry_is_larger_than_allowed_and_nothing_is_lost(drawn, most):
    made_up = [tx(at, NOW - late, more="é" * length) for at, (length, late) in enumerate(drawn)]
    made = of_observation(Observation(NOW, made_up), most)
    assert all(entry.size <= most for entry in made)
    assert all(
        entry.size == len("mlops.ingestion") + len(entry.detail_type) + len(entry.detail.encode()) for entry in made
    )
    found = [transaction for detail in _details(made) for transaction in detail["transactions"]]
    ordered = in_order(made_up)
    assert [one["hash"] for one in found] == [one["hash"] for one in ordered]
    assert all(one == whole or one["trimmed"] for one, whole in zip(found, ordered, strict=True))
    assert len(made) == 1 or all(detail["transactions"] for detail in _details(made))
    # No two neighbours would have fitted into one.
    sizes = [sum(len(json.dumps(one, separators=(",", ":"))) + 1 for one in d["transactions"]) for d in _details(made)]
    room = most - of_observation(Observation(NOW, []))[0].size
    first = [len(json.dumps(d["transactions"][0], separators=(",", ":"))) + 1 for d in _details(made)[1:]]
    assert all(size + more > room for size, more in zip(sizes, first, strict=False))


def test_a_transaction_of_two_megabytes_goes_without_its_inputs_and_outputs():
    large = tx(1, inputs=[{"script": "ab" * 500_000}], out=[{"script": "cd" * 500_000}], relayed_by="0.0.0.0")
    made = of_observation(Observation(NOW, [tx(2, NOW - 1), large]))
    assert all(entry.size <= entries.ENTRY_BYTES for entry in made)
    found = [one for detail in _details(made) for one in detail["transactions"]]
    slim = {name: value for name, value in large.items() if name not in ("inputs", "out")}
    assert found == [tx(2, NOW - 1), {**slim, "trimmed": True}]


def test_a_transaction_that_is_large_without_them_too_keeps_what_counts():
    (made,) = of_observation(Observation(NOW, [tx(1, relayed_by="x" * 1_000_000)]))
    assert json.loads(made.detail)["transactions"] == [
        {"hash": tx(1)["hash"], "time": NOW, "fee": 1000, "trimmed": True}
    ]


def test_a_transaction_with_what_json_does_not_know_keeps_what_counts():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    made = of_observation(Observation(NOW, [tx(1, size=float("inf")), tx(2, out=deep), tx(3, more=deep)]))
    found = _details(made)[0]["transactions"]
    assert [one["hash"] for one in found] == [tx(at)["hash"] for at in (1, 2, 3)]
    assert found[1] == {"ver": 2, **{name: tx(2)[name] for name in ("hash", "time", "fee")}, "trimmed": True}


def test_an_entry_can_be_made_bare_once():
    (whole,) = of_observation(Observation(NOW, [tx(1)]))
    small = bare(whole)
    assert _details([small])[0]["transactions"] == [{"hash": tx(1)["hash"], "time": NOW, "fee": 1000, "trimmed": True}]
    assert bare(small) is None
    assert bare(of_observation(Observation(NOW, []))[0]) is None
    assert bare(of_set_aside([SetAside("a", "b")], NOW)[0]) is None


# --- the spool --------------------------------------------------------------------------------------------------------


@pytest.fixture
def spool(tmp_path):
    made = Spool(tmp_path / "spool", 1_000_000)
    yield made
    made.close()


def _entry(number, length=10):
    return Entry("T", json.dumps({"n": number}).ljust(length))


def test_a_spool_gives_the_oldest_first_within_a_requests_limits(spool):
    made = [_entry(at, 100) for at in range(12)]
    assert spool.append(made[:5]) == spool.append(made[5:]) == 0
    assert len(spool) == 12
    assert [entry for _, entry in spool.oldest(10, 10_000)] == made[:10]
    assert [entry for _, entry in spool.oldest(10, 3 * made[0].size)] == made[:3]
    assert [entry for _, entry in spool.oldest(10, 1)] == made[:1]  # one alone is as large as it is


def test_a_spool_forgets_what_it_is_told_to(spool):
    spool.append([_entry(at) for at in range(4)])
    rows = [row for row, _ in spool.oldest(10, 10_000)]
    spool.remove([rows[0], rows[2], 999])
    spool.replace(rows[1], _entry("another", 300))
    spool.replace(999, _entry("none"))
    assert [entry for _, entry in spool.oldest(10, 10_000)] == [_entry("another", 300), _entry(3)]
    assert len(spool) == 2


def test_a_spool_outlives_its_process(tmp_path):
    first = Spool(tmp_path, 1_000_000)
    first.append([_entry(1), _entry(2)])  # and is not closed
    second = Spool(tmp_path, 1_000_000)
    assert [entry for _, entry in second.oldest(10, 10_000)] == [_entry(1), _entry(2)]
    second.append([_entry(3)])
    second.close()
    assert [entry for _, entry in first.oldest(10, 10_000)] == [_entry(1), _entry(2), _entry(3)]
    first.close()


def test_a_spool_remembers_the_latest_transactions_though_they_have_left(tmp_path):
    first = Spool(tmp_path, 1_000_000)
    assert first.known() == []
    first.append([_entry(1)], (f"{at}" for at in range(1500)))
    first.append([_entry(2)], (f"{at}" for at in range(1500, 2100)))
    first.append([_entry(3)])
    first.remove([row for row, _ in first.oldest(10, 10_000)])
    first.close()
    second = Spool(tmp_path, 1_000_000)
    assert second.known() == [f"{at}" for at in range(100, 2100)]
    second.close()


@given(st.lists(st.lists(st.integers(1, 400), min_size=1, max_size=4), max_size=12))
def test_a_full_spool_gives_up_the_oldest_and_counts_them(tmp_path_factory, lengths):
    spool = Spool(tmp_path_factory.mktemp("spool"), 1000)
    kept: list[Entry] = []
    for number, some in enumerate(lengths):
        made = [_entry(f"{number}.{at}", length) for at, length in enumerate(some)]
        dropped = spool.append(made)
        kept += made
        assert sum(entry.size for entry in kept[dropped:]) <= 1000
        assert not dropped or sum(entry.size for entry in kept[dropped - 1 :]) > 1000
        kept = kept[dropped:]
        assert [entry for _, entry in spool.oldest(1000, 10**9)] == kept
        assert len(spool) == len(kept)
    spool.close()


def test_the_newest_entry_is_kept_whatever_its_size(tmp_path):
    spool = Spool(tmp_path, 100)
    assert spool.append([_entry(1)]) == 0
    assert spool.append([_entry(2, 500)]) == 1
    assert len(spool) == 1
    spool.close()


def test_what_is_published_gives_its_room_on_disk_back(tmp_path):
    spool = Spool(tmp_path, 10_000_000)
    spool.append([_entry(at, 100_000) for at in range(50)])
    spool.remove([row for row, _ in spool.oldest(50, 10**9)])
    spool.close()
    assert (tmp_path / "spool.sqlite").stat().st_size < 100_000


def test_a_damaged_spool_is_put_aside_and_said(tmp_path, caplog):
    (tmp_path / "spool.sqlite").write_bytes(b"not a database" * 100)
    spool = Spool(tmp_path, 1000)
    assert len(spool) == 0
    spool.append([_entry(1)])
    spool.close()
    assert "was damaged" in caplog.text
    assert (tmp_path / "spool.damaged").read_bytes().startswith(b"not a database")


def test_a_folder_that_cannot_be_written_is_a_mistake_in_the_settings(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ClientError, match="expected SPOOL_FOLDER to be a folder that the container's user may write"):
        Spool(tmp_path / "file" / "below", 1000)
