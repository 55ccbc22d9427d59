"""What can be wrong with the source: how it is asked for, and what a malformed answer is."""

import json

import pytest

from seed_code.ingestion.simulator import faults, plan, wrong
from seed_code.ingestion.simulator.plan import NOTHING, Plan
from seed_code.ingestion.simulator.traffic import Traffic

MINUTE = 29_655_360


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ([], "faults are []; expected an object of late, skew"),
        ({"rain": {"share": 1}}, "fault `rain` is unknown; expected one of late"),
        ({"slow": 1}, 'fault `slow` is 1; expected an object such as {"share": 0.1}'),
        ({"slow": {}}, "fault `slow` has the share None; expected a number from 0 to 1"),
        ({"slow": {"share": True}}, "has the share True"),
        ({"slow": {"share": 2}}, "has the share 2"),
        ({"slow": {"share": 1, "seed": -1}}, "has the seed -1; expected a whole number from 0 on"),
        ({"slow": {"share": 1, "second": 3}}, "has an option `second`; expected only share, seed, seconds"),
        ({"slow": {"share": 1, "seconds": 0.5}}, "has seconds 0.5; expected a whole number, 1 to 86400"),
        ({"slow": {"share": 1, "seconds": -5}}, "has seconds -5"),
        ({"malformed": {"share": 1, "as": ["html", "pdf"]}}, "expected a list of truncated, html, types, hash"),
        ({"skew": {"share": 1, "seconds": 90}}, "expected at most 50, or at least 660"),
        ({"skew": {"share": 1, "seconds": -90_000}}, "expected a whole number, -86400 to 86400"),
        (
            {"rain": {}, "slow": {}},
            "fault `rain` is unknown; expected one of late, skew, huge_fee, large, quiet, outage",
        ),
    ],
)
def test_a_wrong_fault_is_named(document, expected):
    with pytest.raises(faults.FaultError) as raised:
        faults.parse(document)
    assert expected in str(raised.value)


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(faults.FaultError) as raised:
        faults.parse({"rain": {}, "slow": {}})
    assert "`rain`" in str(raised.value)
    assert "`slow`" in str(raised.value)


def test_a_fault_hits_its_share_by_its_seed_alone():
    fault = faults.parse({"error": {"share": 0.2, "seed": 3}})["error"]
    hit = [number for number in range(2000) if fault.hits(number)]
    assert 300 < len(hit) < 500
    assert [number for number in range(2000) if fault.hits(number)] == hit
    other = faults.parse({"error": {"share": 0.2, "seed": 4}})["error"]
    assert [number for number in range(2000) if other.hits(number)] != hit


@pytest.mark.parametrize("share", [0, 1])
def test_none_and_all_are_exact(share):
    fault = faults.parse({"error": {"share": share}})["error"]
    assert {fault.hits(number) for number in range(500)} == {bool(share)}


def test_what_is_asked_for_is_answered_again():
    asked = {"drift_at": "2026-05-21T14:30:00Z", "faults": {"slow": {"share": 0.5, "seed": 2, "seconds": 4}}}
    assert plan.switches(asked, NOTHING).document() == asked
    assert plan.switches({}, plan.switches(asked, NOTHING)).document() == asked
    assert plan.switches({"drift_at": None}, plan.switches(asked, NOTHING)).drift_at is None


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (7, "7 is no object with drift_at or faults"),
        ({"drift": "now"}, "`drift` cannot be switched; expected drift_at or faults"),
        ({"drift_at": "soon"}, "drift_at is 'soon'; expected an ISO 8601 time such as 2026-11-22T00:00:00Z, or null"),
        ({"drift_at": 7}, "drift_at is 7; expected"),
    ],
)
def test_a_wrong_switch_is_named(document, expected):
    with pytest.raises(faults.FaultError) as raised:
        plan.switches(document, NOTHING)
    assert expected in str(raised.value)


def malformed(*kinds: str) -> faults.Fault:
    return faults.parse({"malformed": {"share": 1, "as": list(kinds)}})["malformed"]


@pytest.fixture
def newest():
    return Traffic(7, 1.0, Plan(None, NOTHING)).newest(60.0 * MINUTE)


@pytest.mark.parametrize("kind", ["truncated", "html"])
@pytest.mark.parametrize("answer", range(5))
def test_nothing_of_such_an_answer_can_be_used(newest, kind, answer):
    content, intact, found = wrong.page(newest, malformed(kind), answer)
    assert (intact, found) == ([], kind)
    with pytest.raises(ValueError):  # noqa: PT011 - JSON's own error, or UTF-8's
        json.loads(content)
    with pytest.raises(ValueError):  # noqa: PT011
        json.loads(wrong.message(newest[0], malformed(kind), answer))


@pytest.mark.parametrize("kind", ["types", "hash"])
@pytest.mark.parametrize("answer", range(8))
def test_of_such_a_page_one_item_cannot_be_used(newest, kind, answer):
    content, intact, _ = wrong.page(newest, malformed(kind), answer)
    items = json.loads(content)["txs"]
    sound = [
        item
        for item in items
        if isinstance(item, dict) and isinstance(item.get("hash"), str) and isinstance(item["time"], int)
    ]
    assert len(items) == 100
    assert [item["hash"] for item in sound] == [one.hash for one in intact]
    assert len(intact) == 99


@pytest.mark.parametrize("kind", ["types", "hash"])
def test_of_such_a_message_nothing_can_be_used(newest, kind):
    x = json.loads(wrong.message(newest[0], malformed(kind), 3))["x"]
    assert not isinstance(x, dict) or not isinstance(x.get("hash"), str) or not isinstance(x["time"], int)


def test_an_empty_page_cannot_be_spoilt():
    assert wrong.page([], malformed("types"), 1) == (b'{"txs":[]}', [], "types")
