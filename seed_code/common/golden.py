"""Golden requests: what a model's own server answered in Evaluate, for whoever asks the same of a live endpoint.

`golden.jsonl` holds a request and its answer a line:

    {"name": "…", "content_type": "application/json", "body": {…}, "status": 200, "answer": {…}, "tolerance": 1e-06}
    {"name": "…", "content_type": "text/csv", "text": "1,2", "status": 415, "answer": {"error": {}}, "tolerance": 0}

`body` is sent as compact JSON, `text` as it stands. An endpoint's answer is the same when it has that status and agrees
with `answer`: objects in the keys that are named there, arrays in length and every element, numbers a and b (b is the
file's) so that |a - b| <= tolerance * max(1, |b|), all else exactly.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seed_code.common.errors import ClientError
from seed_code.common.served_model import ServedModel

FILE = "golden.jsonl"
_JSON = "application/json"


@dataclass(frozen=True)
class Request:
    """A request to a model's server.

    Attributes:
        body: what is sent as JSON; a text is sent as it stands.
        tolerance: between numbers of two answers, relative.
        wrong: whether the server is to refuse it, with a status of 400 to 499.
    """

    name: str
    body: Any
    content_type: str = _JSON
    tolerance: float = 0
    wrong: bool = False

    def text(self) -> str:
        """What is sent."""
        return self.body if isinstance(self.body, str) else _compact(self.body)


# What no server of ours takes, whatever its workload.
REFUSED = (
    Request("a content type that is refused", "1,2", "text/csv", wrong=True),
    Request("not JSON", "{", wrong=True),
)


def ask(server: ServedModel, requests: Iterable[Request]) -> list[dict[str, Any]]:
    """The lines of `golden.jsonl`: the requests, with what the server answers to them.

    Raises:
        ClientError: when it refuses a right one, takes a wrong one, or fails: no such answer is one to ask for again.
    """
    lines = []
    with server.connection() as connection:
        for request in requests:
            status, answer = server.post(connection, request.content_type, request.text())
            if not (400 <= status < 500 if request.wrong else status == 200):
                expected = "a status of 400 to 499" if request.wrong else "200"
                raise ClientError(
                    f"the server of {server.source} answered {status} to the golden request `{request.name}`: "
                    f"{json.dumps(answer)[:500]}; expected {expected}"
                )
            lines.append(line(request, status, _refusal(answer) if request.wrong else answer))
    return lines


def line(request: Request, status: int, answer: Any) -> dict[str, Any]:
    """One line of `golden.jsonl`."""
    return {
        "name": request.name,
        "content_type": request.content_type,
        "text" if isinstance(request.body, str) else "body": request.body,
        "status": status,
        "answer": answer,
        "tolerance": request.tolerance,
    }


def write(file: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Write `golden.jsonl`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{_compact(one)}\n" for one in lines), encoding="utf-8")


def _refusal(answer: dict[str, Any]) -> dict[str, Any]:
    """What of a refusal is asked for again: the field, if it names one. Words may be put better."""
    field = answer["error"]["field"]
    return {"error": {} if field is None else {"field": field}}


def _compact(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"), allow_nan=False)
