"""Answers that are not what they should be."""

import json
from typing import Any

from seed_code.ingestion.simulator.faults import Fault
from seed_code.ingestion.simulator.traffic import Transaction

WHOLE = ("truncated", "html")
"""Of these nothing can be used; of the others all but one transaction."""
_HTML = "<!DOCTYPE html><html><head><title>Maintenance</title></head><body><h1>We will be back soon</h1></body></html>"


def page(newest: list[Transaction], fault: Fault, answer: int) -> tuple[bytes, list[Transaction], str]:
    """A malformed page: its content, the transactions that are intact on it, and what kind it is of."""
    kind = _kind(fault, answer)
    if kind == "html":
        return _HTML.encode(), [], kind
    items = [found.page_item() for found in newest]
    struck = int(fault.fraction(answer, "item") * len(newest))
    if kind not in WHOLE and newest:
        items[struck] = _spoilt(items[struck], kind, fault.fraction(answer, "member"))
    content = b'{"txs":[' + b",".join(items) + b"]}"
    if kind == "truncated":
        return _cut(content, fault, answer), [], kind
    return content, newest[:struck] + newest[struck + 1 :], kind


def message(found: Transaction, fault: Fault, answer: int) -> str:
    """A malformed message of the websocket."""
    kind, text = _kind(fault, answer), found.message()
    if kind == "html":
        return _HTML
    if kind == "truncated":
        return _cut(text.encode(), fault, answer).decode()
    document = json.loads(text)
    document["x"] = json.loads(_spoilt(json.dumps(document["x"]).encode(), kind, fault.fraction(answer, "member")))
    return json.dumps(document)


def _kind(fault: Fault, answer: int) -> str:
    kinds = fault.options["as"]
    return str(kinds[int(fault.fraction(answer, "kind") * len(kinds))])


def _cut(content: bytes, fault: Fault, answer: int) -> bytes:
    return content[: 1 + int(fault.fraction(answer, "cut") * (len(content) - 2))]


def _spoilt(item: bytes, kind: str, chance: float) -> bytes:
    """A transaction that is none any more: without a hash, or with something of a wrong type."""
    document: Any = json.loads(item)
    if kind == "hash":
        del document["hash"]
    elif chance < 0.25:
        document["time"] = str(document["time"])
    elif chance < 0.5:
        document["time"] = None
    elif chance < 0.75:
        document["hash"] = 7
    else:
        document = "transaction"
    return json.dumps(document, separators=(",", ":")).encode()
