"""The source's pages: what is new, what is known, what is set aside, and how often it is asked."""

import asyncio
import gzip
import json

import httpx
import pytest

from seed_code.ingestion.poller.observation import Failure, Known, Observation
from seed_code.ingestion.poller.pace import Pace
from seed_code.ingestion.poller.pages import Pages, connected, seconds_of
from tests.seed_code.ingestion.poller_doubles import NOW, Time, date, first, tx


class Answers:
    """Answers requests one after the other; the last for ever. It notes when it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        self.asked_at = []
        self.time = Time()

    def __call__(self, request):
        self.requests.append(request)
        self.asked_at.append(self.time.now)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            answer = answer()
        if isinstance(answer, Exception):
            raise answer
        # Each request has an answer of its own: httpx reads one once.
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def source(self, requests_per_5_minutes=500):
        client = httpx.AsyncClient(base_url="http://source", transport=httpx.MockTransport(self))
        pace = Pace(requests_per_5_minutes)
        return Pages(client, pace, sleep=self.time.sleep, monotonic=self.time.monotonic)

    def seen(self, count, **options):
        return asyncio.run(first(self.source(**options), count))


def page(*items, at=NOW):
    return httpx.Response(200, headers=date(at), json={"txs": list(items)})


def body(content, at=NOW, status=200, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers={**date(at), **named}, content=content)


def test_a_page_gives_what_is_not_known_yet_and_the_servers_time():
    answers = Answers(page(tx(2), tx(1, NOW - 3)), page(tx(3), tx(2), tx(1, NOW - 3), at=NOW + 2), page(at=NOW + 4))
    seen = answers.seen(3)
    assert seen == [
        Observation(NOW, [tx(2), tx(1, NOW - 3)], newest=NOW),
        Observation(NOW + 2, [tx(3)], duplicates=2, newest=NOW),
        Observation(NOW + 4, []),
    ]
    assert str(answers.requests[0].url) == "http://source/unconfirmed-transactions?format=json"


def test_what_was_not_taken_is_given_again():
    answers = Answers(page(tx(1)))

    async def asked_without_being_handed_on():
        source = answers.source()
        return [await source.ask(), await source.ask()]

    assert [len(seen.transactions) for seen in asyncio.run(asked_without_being_handed_on())] == [1, 1]


def test_a_page_that_shares_nothing_with_those_before_is_a_gap_but_for_the_first():
    seen = Answers(page(tx(1)), page(tx(2), tx(3)), page(tx(3), tx(4)), page()).seen(4)
    assert [one.gap for one in seen] == [False, True, False, False]


def test_the_first_page_with_transactions_is_no_gap_though_empty_ones_came_before():
    seen = Answers(page(), page(tx(1)), page(tx(2))).seen(3)
    assert [one.gap for one in seen] == [False, False, True]


@pytest.mark.parametrize(("handed_on", "gap"), [([], False), ([tx(7)["hash"]], True), ([tx(1)["hash"]], False)])
def test_the_first_page_after_a_process_that_was_cut_off_may_be_a_gap(handed_on, gap):
    source = Answers(page(tx(2), tx(1))).source()
    source.resume(handed_on)
    (seen,) = asyncio.run(first(source, 1))
    assert seen.gap == gap
    assert tx(2) in seen.transactions
    assert (tx(1) in seen.transactions) == (tx(1)["hash"] not in handed_on)


def test_a_transaction_twice_on_a_page_counts_once_and_hides_no_gap():
    seen = Answers(page(tx(1)), page(tx(2), tx(2))).seen(2)
    assert [(len(one.transactions), one.duplicates, one.gap) for one in seen] == [(1, 0, False), (1, 0, True)]


def test_single_bad_items_are_set_aside_once_and_the_rest_is_used():
    bad = {"hash": "x", "time": "now", "note": "é"}
    seen = Answers(page(tx(1), bad, "words"), page(tx(2), bad, tx(1))).seen(2)
    assert [one["hash"] for one in seen[0].transactions] == [tx(1)["hash"]]
    assert [found.item for found in seen[0].set_aside] == ['{"hash":"x","time":"now","note":"é"}', '"words"']
    assert seen[0].set_aside[0].reason == "the time is 'now'; expected whole seconds since 1970, more than 0"
    assert seen[1].set_aside == ()
    assert [one["hash"] for one in seen[1].transactions] == [tx(2)["hash"]]


def test_an_item_from_the_future_is_used_when_its_time_has_come():
    early = tx(1, NOW + 90)
    seen = Answers(page(early), page(early, at=NOW + 29), page(early, at=NOW + 30)).seen(3)
    assert "from the future" in seen[0].set_aside[0].reason
    assert [len(one.set_aside) for one in seen] == [1, 0, 0]
    assert [len(one.transactions) for one in seen] == [0, 0, 1]


def test_what_is_set_aside_is_cut():
    seen = Answers(page({"hash": "é" * 10_000})).seen(1)
    item = seen[0].set_aside[0].item
    assert 4090 < len(item.encode()) <= 4096
    assert item.startswith('{"hash":"éé')


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (body(b'{"txs": [{"hash"'), "the page is no JSON"),
        (body(b"<html>Just a moment...</html>", Content_Type="text/html"), "the page is no JSON"),
        (body(b"\xff\xfe\x00"), "the page is no JSON"),
        (body(b""), "the page is no JSON"),
        (body(b'{"txs": [{"fee": NaN}]}'), "NaN is no number of JSON"),
        (body(b'{"txs": [{"fee": 1e999}]}'), "1e999 is too large for a number"),
        (body(b"[" * 200_000), "the page is no JSON"),
        (body(b'{"txs": [' + b"9" * 5000 + b"]}"), "the page is no JSON"),
        (body(b'{"txs": {}}'), "the page has no list `txs`"),
        (body(b"[]"), "the page has no list `txs`"),
    ],
)
def test_a_page_of_garbage_is_a_failure_that_is_set_aside_once(answer, reason):
    answers = Answers(answer, answer, page(tx(1)))
    failure, again, seen = answers.seen(3)
    assert isinstance(failure, Failure)
    assert reason in failure.reason
    assert failure.observed_at == NOW
    (found,) = failure.set_aside
    assert found.reason == failure.reason
    assert found.item.startswith(answer.content[:10].decode("utf-8", "replace"))
    assert (again.reason, again.set_aside) == (failure.reason, ())
    assert seen.transactions == [tx(1)]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx.ConnectError("refused"), "failed: ConnectError: refused"),
        (httpx.ReadTimeout("slow"), "failed: ReadTimeout: slow"),
        (httpx.RemoteProtocolError("cut off"), "failed: RemoteProtocolError: cut off"),
        (body(b"", status=500), "was answered with status 500, expected 200"),
        (body(b"", status=302, Location="http://elsewhere"), "was answered with status 302, expected 200"),
        (body(b"", status=404), "was answered with status 404, expected 200"),
        (httpx.Response(200, json={"txs": []}), "the answer has no Date header"),
        (httpx.Response(200, headers={"Date": "yesterday"}, json={"txs": []}), "the answer has no Date header"),
    ],
)
def test_an_answer_that_is_none_is_a_failure(answer, reason):
    failure, seen = Answers(answer, page(tx(1))).seen(2)
    assert isinstance(failure, Failure)
    assert reason in failure.reason
    assert failure.set_aside == ()
    assert seen.transactions == [tx(1)]


def test_a_page_that_is_not_complete_in_time_is_a_failure():
    class Dripping(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            raise TimeoutError

    answers = Answers()
    client = httpx.AsyncClient(base_url="http://source", transport=Dripping())
    source = Pages(client, Pace(500), sleep=answers.time.sleep, monotonic=answers.time.monotonic)
    (failure,) = asyncio.run(first(source, 1))
    assert "was not answered within 20 seconds" in failure.reason


def test_a_page_without_end_is_not_read_to_its_end():
    packed = gzip.compress(b" " * (33 * 1024 * 1024))

    def packed_page(request):
        return httpx.Response(200, headers={**date(), "Content-Encoding": "gzip"}, content=packed)

    answers = Answers()
    client = httpx.AsyncClient(base_url="http://source", transport=httpx.MockTransport(packed_page))
    source = Pages(client, Pace(500), sleep=answers.time.sleep, monotonic=answers.time.monotonic)
    (failure,) = asyncio.run(first(source, 1))
    assert "the page has more than 33554432 bytes" in failure.reason


@pytest.mark.parametrize(
    ("value", "least"),
    [("7", 7), ("120", 120), ("999999", 900), (date(NOW + 40)["Date"], 40), (date(NOW - 40)["Date"], 0), ("soon", 0)],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_asks_for_peace_gets_it(value, least, status):
    answers = Answers(body(b"", status=status, Retry_After=value), page(tx(1)))
    failure, _ = answers.seen(2)
    waited = answers.asked_at[1] - answers.asked_at[0]
    assert max(least, 0.75) <= waited <= max(least, 0.75)
    assert (f"it asks for {least} seconds" in failure.reason) == (least > 0)


def test_a_server_that_goes_on_failing_is_asked_less_and_less():
    answers = Answers(body(b"", status=500))
    answers.seen(40)
    waits = [later - sooner for sooner, later in zip(answers.asked_at, answers.asked_at[1:], strict=False)]
    assert all(0.75 <= wait <= 30 for wait in waits)
    assert all(wait <= max(0.75, 0.5 * 2**at) for at, wait in enumerate(waits))
    assert max(waits) > 8
    assert len(set(waits[6:])) > 20  # at random: callers who failed together do not come back together


def test_pages_overlap_by_half_at_any_rate_within_what_is_allowed():
    def waits(rate, requests_per_5_minutes):
        """Of a source with so many transactions a second, in the long run."""
        answers = Answers(None)

        def current():
            newest = int(answers.time.now * rate)
            return page(*(tx(number) for number in range(newest, newest - 100, -1)))

        answers.answers = [current]
        seen = answers.seen(30, requests_per_5_minutes=requests_per_5_minutes)
        late = [later - sooner for sooner, later in zip(answers.asked_at, answers.asked_at[1:], strict=False)][10:]
        return min(late), max(late), sum(one.gap for one in seen)

    assert waits(0, 500) == (pytest.approx(2.0), pytest.approx(2.0), 0)
    assert waits(10, 500) == (pytest.approx(2.0), pytest.approx(2.0), 0)
    shortest, longest, gaps = waits(40, 500)
    assert 1.1 < shortest <= longest < 1.35  # 50 new ones
    assert gaps == 0
    assert waits(120, 500)[:2] == (pytest.approx(0.75), pytest.approx(0.75))  # 400 in 300 seconds, and no more
    assert waits(300, 500)[2] > 25
    assert waits(1, 10)[:2] == (pytest.approx(37.5), pytest.approx(37.5))


def test_a_burst_shortens_the_interval_at_once_and_its_end_slowly():
    pace = Pace(500)
    assert pace.interval(100, 100, None) == 0.75
    assert pace.interval(20, 100, 2.0) == 2.0
    assert pace.interval(90, 100, 2.0) == pytest.approx(50 / 45)
    assert pace.interval(10, 100, 1.1) == pytest.approx(50 / (0.7 * 45 + 0.3 * 10 / 1.1))
    assert pace.interval(0, 0, 1.0) == 2.0
    assert Pace(10).interval(100, 100, 1.0) == 37.5


def test_what_is_known_is_bounded_and_the_latest():
    known = Known(3)
    known.add(["a", "b", "c"])
    known.add(["d", "b"])
    assert [name for name in "abcd" if name in known] == ["b", "c", "d"]


def test_a_real_connection_says_who_it_is_and_decompresses():
    async def served():
        async def handle(reader, writer):
            head = await reader.readuntil(b"\r\n\r\n")
            content = gzip.compress(json.dumps({"txs": [tx(1)]}).encode())
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nDate: %s\r\nContent-Length: %d\r\n\r\n%s"
                % (date()["Date"].encode(), len(content), content)
            )
            await writer.drain()
            heads.append(head)
            writer.close()

        heads = []
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        time = Time()
        source = Pages(connected(f"http://127.0.0.1:{port}"), Pace(500), sleep=time.sleep, monotonic=time.monotonic)
        seen = await first(source, 1)
        server.close()
        await server.wait_closed()
        return seen, heads

    seen, heads = asyncio.run(served())
    assert seen[0].transactions == [tx(1)]
    assert heads[0].startswith(b"GET /unconfirmed-transactions?format=json HTTP/1.1\r\n")


@pytest.mark.parametrize("text", [None, "", "soon", "Sun, 99 Nov 2026 10:00:00 GMT"])
def test_what_is_no_date_is_none(text):
    assert seconds_of(text) is None


def test_a_page_with_a_single_wrong_date_moves_nothing_on():
    answers = Answers(page(tx(1)), page(tx(2), tx(1), at=NOW + 7200), page(tx(3), at=NOW + 2))
    seen = answers.seen(3)
    assert isinstance(seen[1], Failure)
    assert "7,19" in seen[1].reason
    assert seen[1].observed_at is None
    assert answers.asked_at[2] - answers.asked_at[1] == Pace(500).least_seconds, "at once"
    assert seen[2] == Observation(NOW + 2, [tx(3), tx(2)], duplicates=1, newest=NOW), "with what was on it"
