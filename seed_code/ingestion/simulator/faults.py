"""What can be wrong with a source, as switches. None is on unless it is asked for.

A fault is `{"share": 0..1, "seed": 0}` and its own options; the seed alone decides whom it hits. Of transactions and
minutes, from the next whole minute on, so that no transaction changes that was served:

    late       transactions that say an earlier time than they arrive at, by up to `seconds` (120)
    skew       transactions that say a time that is wrong by `seconds` (3600), in the future or, negative, in the past
    huge_fee   transactions that pay more than 2³¹ satoshi: their minutes' averages are out of all proportion
    large      transactions of `bytes` (2,000,000) of JSON
    quiet      minutes without a transaction, `minutes` (1) on end

Of answers, at once:

    outage     minutes without an answer, `minutes` (1) on end: a request waits `hang_seconds` (30), then gets 503
    malformed  answers that are no page (`as`: truncated, html), or have one item that is no transaction (types, hash)
    throttle   429 with a Retry-After of `retry_after` (2) seconds
    error      500, 502 or 503
    slow       answers that take `seconds` (3) longer
    date       answers whose Date is wrong by `seconds` (3600), in the future or, negative, in the past

With a share of 1 a fault hits everything, until it is switched off. That the same transaction is on several pages is no
fault: pages overlap.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

_MALFORMED = ("truncated", "html", "types", "hash")
# The options of each, with what they are when nobody says: their type is the type that is expected.
_OPTIONS: dict[str, dict[str, Any]] = {
    "late": {"seconds": 120},
    "skew": {"seconds": 3600},
    "huge_fee": {},
    "large": {"bytes": 2_000_000},
    "quiet": {"minutes": 1},
    "outage": {"minutes": 1, "hang_seconds": 30},
    "malformed": {"as": list(_MALFORMED)},
    "throttle": {"retry_after": 2},
    "error": {},
    "slow": {"seconds": 3},
    "date": {"seconds": 3600},
}
# So far ahead of its observation a transaction may be; and so long it is on pages, at most, in quiet traffic.
TOLERATED_SECONDS, _PAGE_SECONDS = 60, 600
_MOST = {"seconds": 86_400, "bytes": 16_000_000, "minutes": 1440, "hang_seconds": 3_600, "retry_after": 3_600}


class FaultError(ValueError):
    """A fault that is none. The message names it and says what was expected."""


@dataclass(frozen=True)
class Fault:
    """One switch that is on.

    Attributes:
        share: of what it may hit, 0 to 1.
        seed: decides whom it hits.
        options: by name, complete.
    """

    name: str
    share: float
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    def hits(self, whom: object) -> bool:
        """Whether it hits a minute, a transaction or an answer, given by its number or hash."""
        return self.fraction(whom) < self.share

    def hits_minute(self, minute: int) -> bool:
        """Whether it hits a minute, counted from 1970, of those that it hits `minutes` on end."""
        return self.hits(minute // self.options["minutes"])

    def fraction(self, whom: object, of: str = "") -> float:
        """A number from 0 to 1 that is drawn for somebody, the same whenever it is asked for."""
        digest = sha256(f"{self.name} {self.seed} {of} {whom}".encode()).digest()
        return int.from_bytes(digest[:7], "big") / (1 << 56)

    def document(self) -> dict[str, Any]:
        """As it is given in a file."""
        return {"share": self.share, "seed": self.seed, **self.options}


def parse(document: Any) -> dict[str, Fault]:
    """Faults by name, from their JSON document. Raises FaultError, which says all that is wrong with it."""
    if not isinstance(document, dict):
        raise FaultError(f"faults are {document!r:.80}; expected an object of {', '.join(_OPTIONS)}")
    found: dict[str, Fault] = {}
    wrong: list[str] = []
    for name, given in document.items():
        try:
            found[name] = _fault(name, given)
        except FaultError as error:
            wrong.append(str(error))
    if wrong:
        raise FaultError("; ".join(wrong))
    return found


def _fault(name: str, given: Any) -> Fault:
    if name not in _OPTIONS:
        raise FaultError(f"fault `{name}` is unknown; expected one of {', '.join(_OPTIONS)}")
    if not isinstance(given, dict):
        raise FaultError(f'fault `{name}` is {given!r:.80}; expected an object such as {{"share": 0.1}}')
    share, seed = given.get("share"), given.get("seed", 0)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise FaultError(f"fault `{name}` has the share {share!r:.80}; expected a number from 0 to 1")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise FaultError(f"fault `{name}` has the seed {seed!r:.80}; expected a whole number from 0 on")
    options = {key: value for key, value in given.items() if key not in ("share", "seed")}
    for key, value in options.items():
        _check(name, key, value)
    return Fault(name, float(share), seed, {**_OPTIONS[name], **options})


def _check(name: str, key: str, value: Any) -> None:
    if key not in _OPTIONS[name]:
        known = ", ".join(["share", "seed", *_OPTIONS[name]])
        raise FaultError(f"fault `{name}` has an option `{key}`; expected only {known}")
    if key == "as":
        if not isinstance(value, list) or not value or not set(map(str, value)) <= set(_MALFORMED):
            raise FaultError(f"fault `{name}` has `as` {value!r:.80}; expected a list of {', '.join(_MALFORMED)}")
        return
    least = -_MOST[key] if name in ("skew", "date") else 1 if key in ("minutes", "seconds") else 0
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _MOST[key]:
        raise FaultError(f"fault `{name}` has {key} {value!r:.80}; expected a whole number, {least} to {_MOST[key]}")
    if name == "skew" and TOLERATED_SECONDS - 10 < value < TOLERATED_SECONDS + _PAGE_SECONDS:
        raise FaultError(
            f"fault `skew` has seconds {value}; expected at most {TOLERATED_SECONDS - 10}, or at least "
            f"{TOLERATED_SECONDS + _PAGE_SECONDS}: in between, whether it is usable depends on the page that it is on"
        )
