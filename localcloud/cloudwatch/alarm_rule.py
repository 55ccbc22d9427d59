"""The rule of a composite alarm: `ALARM("a") AND NOT (OK(b) OR TRUE)`.

    expression := term { OR term };  term := factor { AND factor }
    factor     := NOT factor | ( expression ) | TRUE | FALSE | ALARM(name) | OK(name) | INSUFFICIENT_DATA(name)

A name is an alarm's name or ARN, in double quotes where it holds a space or a parenthesis.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from localcloud.cloudwatch.evaluation import ALARM, INSUFFICIENT_DATA, OK

StateOf = Callable[[str], str]
"""The state of an alarm, by its name."""
Holds = Callable[[StateOf], bool]

_TOKEN = re.compile(r'\s*(?:(?P<sign>[()])|"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<word>[^\s()"]+))')
_ARN = re.compile(r"arn:[^:]+:cloudwatch:[^:]*:\d*:alarm:(.+)")
_DEEPEST = 50


class RuleError(Exception):
    """A rule that cannot be read; the message says where."""


@dataclass(frozen=True)
class AlarmRule:
    """A rule that was read."""

    holds: Holds
    alarms: tuple[str, ...]
    """The names of the alarms that it asks, in the order in which it does, each once."""


@dataclass(frozen=True)
class _Token:
    text: str
    place: int
    quoted: bool = False


def parse(text: str) -> AlarmRule:
    """Read a rule. Raises RuleError."""
    reader = _Reader(list(_tokens(text)), text)
    holds = reader.expression(0)
    reader.end()
    return AlarmRule(holds, tuple(dict.fromkeys(reader.alarms)))


def _tokens(text: str) -> Iterator[_Token]:
    place = 0
    while text[place:].strip():
        found = _TOKEN.match(text, place)
        if found is None:
            raise RuleError(f"a quotation mark is not closed at position {place}")
        if found["quoted"] is not None:
            yield _Token(re.sub(r"\\(.)", r"\1", found["quoted"]), found.start("quoted"), quoted=True)
        else:
            kind = "sign" if found["sign"] else "word"
            yield _Token(found[kind], found.start(kind))
        place = found.end()


@dataclass
class _Reader:
    tokens: list[_Token]
    text: str
    alarms: list[str] = field(default_factory=list)
    _position: int = 0

    def expression(self, depth: int) -> Holds:
        if depth > _DEEPEST:
            raise RuleError(f"it is nested more than {_DEEPEST} deep")
        found = [self._term(depth)]
        while self._take_word("OR"):
            found.append(self._term(depth))
        return found[0] if len(found) == 1 else lambda state_of: any(holds(state_of) for holds in found)

    def end(self) -> None:
        if self._position < len(self.tokens):
            raise self._unexpected("AND, OR or the end")

    def _term(self, depth: int) -> Holds:
        found = [self._factor(depth)]
        while self._take_word("AND"):
            found.append(self._factor(depth))
        return found[0] if len(found) == 1 else lambda state_of: all(holds(state_of) for holds in found)

    def _factor(self, depth: int) -> Holds:
        if depth > _DEEPEST:
            raise RuleError(f"it is nested more than {_DEEPEST} deep")
        if self._take_word("NOT"):
            denied = self._factor(depth + 1)
            return lambda state_of: not denied(state_of)
        if self._take_sign("("):
            inner = self.expression(depth + 1)
            self._expect(")")
            return inner
        if self._take_word("TRUE"):
            return lambda state_of: True
        if self._take_word("FALSE"):
            return lambda state_of: False
        for state in (ALARM, OK, INSUFFICIENT_DATA):
            if self._take_word(state):
                return self._question(state)
        raise self._unexpected("ALARM, OK, INSUFFICIENT_DATA, TRUE, FALSE, NOT or (")

    def _question(self, state: str) -> Holds:
        self._expect("(")
        token = self._next()
        if token is None or (token.text in "()" and not token.quoted):
            raise self._unexpected("the name of an alarm")
        self._position += 1
        self._expect(")")
        name = alarm_name(token.text)
        self.alarms.append(name)
        return lambda state_of: state_of(name) == state

    def _next(self) -> _Token | None:
        return self.tokens[self._position] if self._position < len(self.tokens) else None

    def _take_word(self, word: str) -> bool:
        token = self._next()
        if token is None or token.quoted or token.text.upper() != word:
            return False
        self._position += 1
        return True

    def _take_sign(self, sign: str) -> bool:
        return self._take_word(sign)

    def _expect(self, sign: str) -> None:
        if not self._take_sign(sign):
            raise self._unexpected(sign)

    def _unexpected(self, expected: str) -> RuleError:
        token = self._next()
        found = f"{token.text!r} at position {token.place}" if token else "the end"
        return RuleError(f"expected {expected}, found {found}")


def alarm_name(text: str) -> str:
    """The name of an alarm that is given by its name or its ARN."""
    found = _ARN.fullmatch(text)
    return found[1] if found else text
