"""A transaction in the shapes of the blockchain API: on a page, and as a message of the websocket.

Everything in it beyond hash, time and fee is drawn from the hash. The inputs' value less the outputs' is the fee; where
nobody knows the fee, an input does not say what it spends (`prev_out` is absent). The websocket's shape has no fee, no
weight and no `rbf`. Addresses are no addresses: their checksums are wrong. An output that carries a note has none.

Sources: "Blockchain Data API" and "WebSocket API" of Blockchain.com.
"""

import json
from collections.abc import Iterator
from hashlib import shake_256
from typing import Any, NamedTuple

_FINAL, _REPLACEABLE = 4_294_967_295, 4_294_967_293


def _of_bytes(alphabet: bytes) -> bytes:
    """A letter for each byte, for `bytes.translate`: an order of magnitude faster than one by one."""
    return bytes(alphabet[byte % len(alphabet)] for byte in range(256))


_BASE58 = _of_bytes(b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")
_BECH32 = _of_bytes(b"qpzry9x8gf2tvdw0s3jn54khce6mua7l")
# One for all: `json.dumps` would make it anew each time.
_encoded = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_MOST_PARTS = 3  # inputs, and outputs
# What is drawn for one transaction: a little for itself, and for each input and output.
_OWN, _EACH = 32, 128


class _Output(NamedTuple):
    """An output, spent or not: value in satoshi, place in its transaction, script, address if there is one."""

    value: int
    place: int
    transaction: int
    script: str
    address: str | None


class _Drawn(NamedTuple):
    """What a hash decides."""

    version: int
    lock_time: int
    number: int
    size: int
    weight: int
    double_spend: bool
    replaceable: bool
    spent: list[_Output | None]
    signatures: list[tuple[str, str]]  # of each input: witness and script
    made: list[_Output]


def page_item(hash_: str, time: int, fee: int | None, padding: int = 0) -> bytes:
    """As one of a page's `txs`, in JSON."""
    drawn = _draw(hash_, fee, padding)
    document: dict[str, Any] = {
        "hash": hash_,
        "ver": drawn.version,
        "vin_sz": len(drawn.spent),
        "vout_sz": len(drawn.made),
        "size": drawn.size,
        "weight": drawn.weight,
        "fee": fee,
        "relayed_by": "0.0.0.0",
        "lock_time": drawn.lock_time,
        "tx_index": drawn.number,
        "double_spend": drawn.double_spend,
        "time": time,
        "block_index": None,
        "block_height": None,
        "inputs": list(_page_inputs(drawn)),
        "out": [_page_output(made) for made in drawn.made],
    }
    if drawn.replaceable:
        document["rbf"] = True
    return _encoded(document).encode()


def message(hash_: str, time: int, fee: int | None, padding: int = 0) -> str:
    """As the websocket brings it, in JSON."""
    drawn = _draw(hash_, fee, padding)
    document = {
        "lock_time": drawn.lock_time,
        "ver": drawn.version,
        "size": drawn.size,
        "inputs": list(_message_inputs(drawn)),
        "time": time,
        "tx_index": drawn.number,
        "vin_sz": len(drawn.spent),
        "hash": hash_,
        "vout_sz": len(drawn.made),
        "relayed_by": "0.0.0.0",
        "out": [_message_output(made, spent=False) for made in drawn.made],
    }
    return _encoded({"op": "utx", "x": document})


def _page_inputs(drawn: _Drawn) -> Iterator[dict[str, Any]]:
    for place, (spent, (witness, script)) in enumerate(zip(drawn.spent, drawn.signatures, strict=True)):
        entry: dict[str, Any] = {"sequence": _sequence(drawn), "witness": witness, "script": script, "index": place}
        if spent is not None:
            entry["prev_out"] = _page_output(spent, spender={"tx_index": drawn.number, "n": place})
        yield entry


def _message_inputs(drawn: _Drawn) -> Iterator[dict[str, Any]]:
    for spent, (_, script) in zip(drawn.spent, drawn.signatures, strict=True):
        entry: dict[str, Any] = {"sequence": _sequence(drawn)}
        if spent is not None:
            entry["prev_out"] = _message_output(spent, spent=True)
        yield {**entry, "script": script}


def _page_output(output: _Output, spender: dict[str, int] | None = None) -> dict[str, Any]:
    entry = {
        "type": 0,
        "spent": spender is not None,
        "value": output.value,
        "spending_outpoints": [] if spender is None else [spender],
        "n": output.place,
        "tx_index": output.transaction,
        "script": output.script,
    }
    return entry if output.address is None else {**entry, "addr": output.address}


def _message_output(output: _Output, *, spent: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"spent": spent, "tx_index": output.transaction, "type": 0}
    if output.address is not None:
        entry["addr"] = output.address
    return {**entry, "value": output.value, "n": output.place, "script": output.script}


def _sequence(drawn: _Drawn) -> int:
    return _REPLACEABLE if drawn.replaceable else _FINAL


def _draw(hash_: str, fee: int | None, padding: int) -> _Drawn:
    chance = shake_256(hash_.encode()).digest(_OWN + 2 * _MOST_PARTS * _EACH)
    inputs, outputs = _count(chance[0]), _count(chance[1])
    parts = [chance[at : at + _EACH] for at in range(_OWN, len(chance), _EACH)]
    number = int.from_bytes(chance[2:9], "big") >> 3  # such numbers have 53 bits
    made = [_output(parts[_MOST_PARTS + place], place, number, noted=place > 0) for place in range(outputs)]
    signatures = [_signature(parts[place]) for place in range(inputs)]
    if padding:
        signatures[0] = (signatures[0][0] + "00" * (padding // 2), signatures[0][1])
    script_bytes = sum(len(script) // 2 for _, script in signatures)
    witness_bytes = sum(len(witness) // 2 for witness, _ in signatures)
    base = 10 + 41 * inputs + script_bytes + sum(9 + len(output.script) // 2 for output in made)
    spent: list[_Output | None] = list(_spent(parts[:inputs], sum(output.value for output in made) + (fee or 0)))
    if fee is None:
        spent[0] = None
    return _Drawn(
        version=1 + (chance[9] > 90),
        lock_time=0 if chance[10] > 40 else 800_000 + int.from_bytes(chance[11:13], "big"),
        number=number,
        size=base + witness_bytes,
        weight=4 * base + witness_bytes,
        double_spend=chance[13] == 0,
        replaceable=chance[14] < 150,
        spent=spent,
        signatures=signatures,
        made=made,
    )


def _count(chance: int) -> int:
    return 1 + (chance > 120) + (chance > 215)


def _output(chance: bytes, place: int, transaction: int, *, noted: bool) -> _Output:
    """An output of a transaction: sometimes a note, which is worth nothing and has no address."""
    if noted and chance[0] < 20:
        return _Output(0, place, transaction, "6a24" + chance[1:37].hex(), None)
    # From ten thousand satoshi to some bitcoin; most are small.
    value = 10_000 + int.from_bytes(chance[40:43], "big") * (1 + chance[43] ** 2 // 256)
    return _Output(value, place, transaction, *_script(chance))


def _spent(parts: list[bytes], worth: int) -> Iterator[_Output]:
    """What the inputs spend: together as much as it is worth."""
    for place, chance in enumerate(parts):
        value = worth if place == len(parts) - 1 else worth * (1 + chance[44]) // 600
        worth -= value
        script, address = _script(chance[::-1])
        yield _Output(value, chance[45] % 4, int.from_bytes(chance[46:53], "big") >> 3, script, address)


def _script(chance: bytes) -> tuple[str, str | None]:
    """A script that locks an output and its address, if it has one: of today's forms, in about their shares."""
    kind, key = chance[60], chance[64:84]
    if kind < 120:
        return f"0014{key.hex()}", "bc1q" + chance[64:102].translate(_BECH32).decode()
    if kind < 170:
        return f"5120{chance[64:96].hex()}", "bc1p" + chance[64:122].translate(_BECH32).decode()
    if kind < 210:
        return f"a914{key.hex()}87", "3" + chance[64:97].translate(_BASE58).decode()
    if kind < 246:
        return f"76a914{key.hex()}88ac", "1" + chance[64:97].translate(_BASE58).decode()
    return f"5121{chance[64:97].hex()}51ae", None


def _signature(chance: bytes) -> tuple[str, str]:
    """The witness and the script that unlock what is spent: one of them is empty."""
    signature, key = chance[:71].hex(), chance[71:104].hex()
    if chance[104] < 190:
        return f"0247{signature}21{key}", ""
    return "", f"47{signature}21{key}"
