"""Alarms are not looked at where nothing can have changed: their states are those of looking after every period."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from localcloud.cloudwatch import evaluation
from localcloud.cloudwatch.evaluation import Datapoint, Rule
from localcloud.cloudwatch.statistics import find
from tests.localcloud.cloudwatch.account import Account

HOUR, HOURS = 3600, 24


@pytest.mark.parametrize("treatment", ["missing", "ignore", "breaching", "notBreaching"])
@pytest.mark.parametrize(("periods", "needed"), [(1, 1), (3, 2), (4, 4)])
def test_states_are_those_of_looking_after_every_period(
    account: Account, treatment: str, periods: int, needed: int
) -> None:
    draw = random.Random(f"{treatment} {periods}")
    statistic = find("Maximum")
    rule = Rule(statistic, HOUR, periods, needed, "GreaterThanThreshold", 0.5, treatment)
    account.put_alarm(
        Statistic="Maximum",
        Period=HOUR,
        EvaluationPeriods=periods,
        DatapointsToAlarm=needed,
        Threshold=0.5,
        TreatMissingData=treatment,
    )
    state, values, found, expected = account.state("errors"), dict[int, Datapoint](), [], []
    start = int(account.clock.now().timestamp())

    def look(newest: int) -> None:
        nonlocal state
        points = [values.get(begin) for begin in rule.begins(newest)]
        verdict = evaluation.evaluate(rule, points, newest, state, account.clock.now())
        state = verdict.state if verdict is not None else state

    for hour in range(HOURS):
        account.advance(HOUR)
        begin = start + hour * HOUR
        # Once the last value is out of sight an alarm rests until there is another.
        if any(values.get(earlier) for earlier in (*rule.begins(begin - HOUR), *rule.begins(begin))):
            look(begin)
        if draw.random() < 0.6:
            value = float(draw.random() < 0.6)
            values[begin] = Datapoint(begin, value, 1.0)
            account.put(value, Timestamp=account.clock.now() - timedelta(hours=1))
            look(begin)
        found.append(account.state("errors"))
        expected.append(state)
    assert found == expected
