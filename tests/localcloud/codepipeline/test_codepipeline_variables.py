"""References to variables in the configuration of actions."""

from __future__ import annotations

import json

import pytest

from localcloud.codepipeline import variables

SPACES = {"Source": {"CommitId": "abc", "CommitMessage": 'says "hello"\nand more'}, "variables": {"Reason": "drift"}}


def test_values_take_the_place_of_references() -> None:
    given = {"UserParameters": "#{Source.CommitId}-#{variables.Reason}-#{Source.CommitId}", "Plain": "{#}"}
    assert variables.resolved(given, SPACES) == {"UserParameters": "abc-drift-abc", "Plain": "{#}"}


def test_within_json_a_value_is_a_string() -> None:
    given = {"EnvironmentVariables": json.dumps([{"name": "A", "value": "#{Source.CommitMessage}"}])}
    (found,) = json.loads(variables.resolved(given, SPACES)["EnvironmentVariables"])
    assert found["value"] == SPACES["Source"]["CommitMessage"]


def test_a_variable_without_a_value() -> None:
    with pytest.raises(variables.Unresolved, match=r"#\{Source.Nope\} in UserParameters .* Source.CommitId"):
        variables.resolved({"UserParameters": "#{Source.Nope}"}, SPACES)
