"""Single transactions: that they are the market's, always the same, and in the API's shapes."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seed_code.common import market
from seed_code.ingestion.simulator import faults, shapes
from seed_code.ingestion.simulator.plan import NOTHING, Plan, Switches
from seed_code.ingestion.simulator.traffic import Traffic, _shared_out

MINUTE = 29_655_360 + 870  # 2026-05-21T14:30:00Z, counted from 1970-01-01
ON_A_PAGE = {
    *("hash", "ver", "vin_sz", "vout_sz", "size", "weight", "fee", "relayed_by", "lock_time", "tx_index"),
    *("double_spend", "time", "block_index", "block_height", "inputs", "out"),
}
IN_A_MESSAGE = {
    *("lock_time", "ver", "size", "inputs", "time", "tx_index", "vin_sz", "hash", "vout_sz", "relayed_by", "out"),
}


def traffic(rate: float = 1.0, seed: int = 7, drift_at: int | None = None, **switched: dict) -> Traffic:
    return Traffic(seed, rate, Plan(None, Switches(drift_at, faults.parse(switched))))


def of_market(seed: int = 7) -> tuple[int, int]:
    """Transactions and total fee of the minute."""
    minutes = market.day(seed, MINUTE // market.MINUTES).minutes
    place = MINUTE % market.MINUTES
    return int(minutes.transactions[place]), int(minutes.fee[place])


def test_a_minute_has_the_markets_transactions_and_fees():
    transactions, total = of_market()
    found = traffic().minute(MINUTE)
    assert len(found) == transactions
    assert sum(one.fee or 0 for one in found) == total
    assert len({one.hash for one in found}) == transactions
    assert [one.arrival for one in found] == sorted(one.arrival for one in found)
    assert all(60 * MINUTE <= one.time == int(one.arrival) < 60 * (MINUTE + 1) for one in found)


@given(st.integers(0, 2**45), st.lists(st.floats(0.001, 1000), min_size=1, max_size=200))
def test_shares_are_whole_and_add_up(total, weights):
    shares = _shared_out(total, np.array(weights))
    assert int(shares.sum()) == total
    assert (shares >= 0).all()


def test_fees_are_spread_and_some_are_unknown():
    minutes = [one for minute in range(MINUTE, MINUTE + 30) for one in traffic(rate=3).minute(minute)]
    unknown = [one for one in minutes if one.fee is None]
    assert 0.001 < len(unknown) / len(minutes) < 0.01
    fees = sorted(one.fee for one in minutes if one.fee is not None)
    assert fees[len(fees) * 9 // 10] > 5 * fees[len(fees) // 10] > 0


def test_the_same_seed_gives_the_same_and_another_one_others():
    hashes = [one.hash for one in traffic().minute(MINUTE)]
    assert [one.hash for one in traffic().minute(MINUTE)] == hashes
    assert not set(hashes) & {one.hash for one in traffic(seed=8).minute(MINUTE)}
    # Another rate gives the same place in a minute another moment and fee: it is another transaction.
    assert not set(hashes) & {one.hash for one in traffic(rate=2).minute(MINUTE)}


def test_the_rate_scales_transactions_and_leaves_their_average():
    transactions, total = of_market()
    found = traffic(rate=2.5).minute(MINUTE)
    assert len(found) == round(2.5 * transactions)
    assert sum(one.fee or 0 for one in found) / len(found) == pytest.approx(total / transactions, rel=1e-4)
    assert traffic(rate=0.001).minute(MINUTE) == []


def test_another_market_halves_transactions():
    assert len(traffic(drift_at=MINUTE).minute(MINUTE)) == -(-of_market()[0] // 2)
    assert len(traffic(drift_at=MINUTE + 1).minute(MINUTE)) == of_market()[0]


def test_the_newest_have_arrived_newest_first_and_go_back_as_far_as_it_takes():
    source = traffic()
    now = 60.0 * MINUTE + 5.5
    newest = source.newest(now)
    arrivals = [one.arrival for one in newest]
    assert len(newest) == 100
    assert arrivals == sorted(arrivals, reverse=True)
    assert arrivals[0] <= now
    assert arrivals[-1] < 60.0 * MINUTE
    assert next(source.between(arrivals[0], now), None) is None
    slow = traffic(rate=0.01)
    assert len(slow.newest(now)) == 100
    assert len({one.hash for one in slow.newest(now)}) == 100


def test_it_keeps_the_minutes_of_the_newest_page_alone():
    source = traffic()
    for minute in range(MINUTE, MINUTE + 50):
        source.newest(60.0 * minute + 59)
    assert len(source._kept) <= 3


def test_pages_overlap_in_the_same_objects():
    source = traffic()
    first, second = source.newest(60.0 * MINUTE + 30), source.newest(60.0 * MINUTE + 32)
    known = {one.hash: one for one in first}
    again = [one for one in second if one.hash in known]
    assert 50 < len(again) < 100
    assert all(known[one.hash] is one for one in again)


def test_between_gives_every_transaction_once_and_the_next_arrival_is_the_next():
    source = traffic()
    moment, seen = 60.0 * MINUTE, []
    while moment < 60.0 * (MINUTE + 2):
        following = source.next_arrival(moment)
        assert following > moment
        seen += source.between(moment, following)
        moment = following
    assert [one.hash for one in seen] == [one.hash for one in source.minute(MINUTE) + source.minute(MINUTE + 1)]


def test_a_page_item_has_the_apis_shape():
    for one in traffic().minute(MINUTE):
        item = json.loads(one.page_item())
        assert set(item) - {"rbf"} == ON_A_PAGE
        assert (item["hash"], item["time"], item["fee"]) == (one.hash, one.time, one.fee)
        assert (len(item["inputs"]), len(item["out"])) == (item["vin_sz"], item["vout_sz"])
        assert item.get("rbf") in (None, True)
        for place, entry in enumerate(item["inputs"]):
            assert set(entry) - {"prev_out"} == {"sequence", "witness", "script", "index"}
            assert entry["index"] == place
        for output in item["out"]:
            assert set(output) - {"addr"} == {"type", "spent", "value", "spending_outpoints", "n", "tx_index", "script"}
        assert item["weight"] >= item["size"] > 80


def test_inputs_less_outputs_are_the_fee_in_both_shapes_or_cannot_be_known():
    unknown = 0
    for minute in range(MINUTE, MINUTE + 3):
        for one in traffic().minute(minute):
            for document in (json.loads(one.page_item()), json.loads(one.message())["x"]):
                spent = [entry.get("prev_out") for entry in document["inputs"]]
                assert (None in spent) == (one.fee is None)
                if one.fee is None:
                    unknown += 1
                    continue
                values = [output["value"] for output in (*spent, *document["out"])]
                assert min(values) >= 0
                paid = sum(output["value"] for output in spent) - sum(output["value"] for output in document["out"])
                assert paid == one.fee
    assert unknown


def test_a_message_has_the_websockets_shape():
    for one in traffic().minute(MINUTE)[:50]:
        message = json.loads(one.message())
        assert message["op"] == "utx"
        assert set(message["x"]) == IN_A_MESSAGE
        assert (message["x"]["hash"], message["x"]["time"]) == (one.hash, one.time)


def test_both_shapes_tell_of_the_same_transaction():
    one = traffic().minute(MINUTE)[3]
    item, message = json.loads(one.page_item()), json.loads(one.message())["x"]
    for name in ("ver", "size", "tx_index", "vin_sz", "vout_sz", "lock_time"):
        assert item[name] == message[name]
    assert [output["script"] for output in item["out"]] == [output["script"] for output in message["out"]]


def test_addresses_are_absent_now_and_then():
    outputs = [output for one in traffic().minute(MINUTE) for output in json.loads(one.page_item())["out"]]
    without = [output for output in outputs if "addr" not in output]
    assert 0 < len(without) < len(outputs) / 4


def test_padding_makes_a_transaction_as_large_as_that():
    assert 2_000_000 < len(shapes.page_item("ab" * 32, 1, 5, 2_000_000)) < 2_010_000


def share_hit(changed: list, whole: list) -> float:
    return len(changed) / len(whole)


def test_late_ones_say_an_earlier_time_and_arrive_when_they_would():
    plain = {one.hash: one for one in traffic(rate=5).minute(MINUTE)}
    late = traffic(rate=5, late={"share": 0.1, "seconds": 90}).minute(MINUTE)
    hit = [one for one in late if one.time != plain[one.hash].time]
    assert 0.05 < share_hit(hit, late) < 0.15
    assert all(1 <= plain[one.hash].time - one.time <= 90 for one in hit)
    assert all(one.arrival == plain[one.hash].arrival for one in late)
    other = traffic(rate=5, late={"share": 0.1, "seconds": 90, "seed": 1}).minute(MINUTE)
    assert {one.hash for one in other if one.time != plain[one.hash].time} != {one.hash for one in hit}


def test_skewed_huge_and_large_ones():
    plain = {one.hash: one for one in traffic().minute(MINUTE)}
    found = traffic(
        skew={"share": 0.1, "seconds": -600}, huge_fee={"share": 0.1}, large={"share": 0.1, "bytes": 5000}
    ).minute(MINUTE)
    skewed = [one for one in found if one.time != plain[one.hash].time]
    huge = [one for one in found if one.fee != plain[one.hash].fee]
    large = [one for one in found if one.padding]
    assert skewed
    assert huge
    assert large
    assert all(plain[one.hash].time - one.time == 600 for one in skewed)
    assert all(one.fee is not None and 2**31 <= one.fee < 2_100_000_000_000_000 for one in huge)
    assert all(len(one.page_item()) > 5000 for one in large)
    assert {one.hash for one in skewed} != {one.hash for one in huge} != {one.hash for one in large}


def test_quiet_minutes_have_none_and_come_in_runs():
    source = traffic(quiet={"share": 0.2, "minutes": 5})
    quiet = [not source.minute(minute) for minute in range(MINUTE, MINUTE + 100)]
    assert 0 < sum(quiet) < 60
    assert all(len(set(quiet[start : start + 5])) == 1 for start in range(0, 100, 5))


def test_switches_hold_from_the_next_minute_on_and_survive_a_restart(tmp_path: Path):
    file = tmp_path / "control.json"
    plan = Plan(file, NOTHING)
    wanted = Switches(0, faults.parse({"quiet": {"share": 1}}))
    held = plan.change(wanted, MINUTE)
    assert held.drift_at == MINUTE  # what was served cannot change any more
    for known in (plan, Plan(file, NOTHING)):
        assert known.at(MINUTE - 1) == NOTHING
        assert known.at(MINUTE) == held == known.latest
    plan.change(Switches(None, {}), MINUTE)
    assert plan.at(MINUTE) == NOTHING
    assert Traffic(7, 1.0, plan).minute(MINUTE)


def test_a_drift_that_holds_already_goes_on_when_something_else_is_switched():
    plan = Plan(None, Switches(MINUTE, {}))
    assert plan.change(Switches(MINUTE, faults.parse({"error": {"share": 1}})), MINUTE + 50).drift_at == MINUTE
