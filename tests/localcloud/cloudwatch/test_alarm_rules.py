"""The rules of composite alarms."""

from __future__ import annotations

import pytest

from localcloud.cloudwatch.alarm_rule import RuleError, parse

STATES = {"a": "ALARM", "b": "OK", "c": "INSUFFICIENT_DATA", "a b (c)": "ALARM"}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("ALARM(a)", True),
        ("ALARM(b)", False),
        ('OK("b")', True),
        ("INSUFFICIENT_DATA(c)", True),
        ('ALARM("a b (c)")', True),
        ("ALARM(arn:aws:cloudwatch:eu-west-1:123456789012:alarm:a)", True),
        ("NOT ALARM(a)", False),
        ("ALARM(b) OR ALARM(a)", True),
        ("ALARM(a) AND ALARM(b)", False),
        # AND binds more than OR.
        ("TRUE OR ALARM(b) AND FALSE", True),
        ("(TRUE OR ALARM(b)) AND FALSE", False),
        ("NOT (ALARM(a) AND NOT OK(b))", True),
        ("not not alarm(a)", True),
    ],
)
def test_rules_hold_by_the_states_of_the_alarms_they_ask(text: str, holds: bool) -> None:
    assert parse(text).holds(STATES.__getitem__) is holds


def test_a_rule_knows_whom_it_asks() -> None:
    assert parse('ALARM(b) OR OK("a") AND ALARM(b)').alarms == ("b", "a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ALARM(a", "expected ), found the end"),
        ("ALARM()", "expected the name of an alarm, found ')' at position 6"),
        ("ALARM(a) OK(b)", "expected AND, OR or the end, found 'OK' at position 9"),
        ("WARN(a)", "expected ALARM, OK, INSUFFICIENT_DATA, TRUE, FALSE, NOT or (, found 'WARN' at position 0"),
        ("", "expected ALARM, OK, INSUFFICIENT_DATA, TRUE, FALSE, NOT or (, found the end"),
        ('ALARM("a)', "a quotation mark is not closed at position 6"),
        ("(" * 60 + "TRUE" + ")" * 60, "it is nested more than 50 deep"),
        ("NOT " * 5000 + "TRUE", "it is nested more than 50 deep"),
    ],
)
def test_a_rule_that_cannot_be_read_says_where(text: str, message: str) -> None:
    with pytest.raises(RuleError) as error:
        parse(text)
    assert str(error.value) == message
