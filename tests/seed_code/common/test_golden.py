"""Golden requests: what is kept of a server's answers, and which answers are not worth keeping."""

import json
from contextlib import contextmanager

import pytest

from seed_code.common import golden
from seed_code.common.errors import ClientError
from seed_code.common.golden import Request


class Server:
    """Answers everything alike, and remembers what it was asked."""

    source = "the model"

    def __init__(self, status, answer):
        self.answer = (status, answer)
        self.asked = []

    @contextmanager
    def connection(self):
        yield None

    def post(self, connection, content_type, body):
        self.asked.append((content_type, body))
        return self.answer


def test_a_body_is_sent_as_compact_json_and_its_whole_answer_kept():
    server = Server(200, {"response": [1.5], "id": 7})
    (line,) = golden.ask(server, [Request("one", {"k": [1, None]}, tolerance=1e-6)])
    assert server.asked == [("application/json", '{"k":[1,null]}')]
    assert line == {
        "name": "one", "content_type": "application/json", "body": {"k": [1, None]}, "status": 200,
        "answer": {"response": [1.5], "id": 7}, "tolerance": 1e-6,
    }  # fmt: skip


@pytest.mark.parametrize(("field", "kept"), [(None, {}), ("k", {"field": "k"})])
def test_a_text_is_sent_as_it_stands_and_of_a_refusal_the_field_is_kept(field, kept):
    server = Server(415, {"error": {"message": "any words", "field": field}})
    (line,) = golden.ask(server, [Request("csv", "1, 2", "text/csv", wrong=True)])
    assert server.asked == [("text/csv", "1, 2")]
    assert (line["text"], line["status"], line["answer"], line["tolerance"]) == ("1, 2", 415, {"error": kept}, 0)
    assert "body" not in line


@pytest.mark.parametrize(
    ("status", "wrong", "expected"),
    [(400, False, "expected 200"), (500, False, "expected 200"), (200, True, "400 to 499"), (500, True, "400 to 499")],
)
def test_an_answer_that_is_not_worth_keeping_is_named(status, wrong, expected):
    server = Server(status, {"error": {"message": "no", "field": "k"}})
    with pytest.raises(
        ClientError, match=f"the server of the model answered {status} to the golden .*`far`.*{expected}"
    ):
        golden.ask(server, [Request("far", {}, wrong=wrong)])


def test_a_line_holds_one_request(tmp_path):
    golden.write(tmp_path / "deep" / golden.FILE, [{"name": "a"}, {"name": "b\u2028c"}])
    lines = (tmp_path / "deep" / "golden.jsonl").read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["a", "b\u2028c"]
