"""A template's text: short forms, and what YAML alone would read otherwise."""

from __future__ import annotations

import pytest

from localcloud.cloudformation import syntax
from localcloud.cloudformation.errors import TemplateError


def test_short_forms_are_written_out() -> None:
    found = syntax.parse(
        """
        A: !Ref B
        C: !GetAtt D.E.F
        G: !Sub ["${H}-x", {H: !Ref I}]
        J: !Join [",", [a, !If [K, l, !Ref AWS::NoValue]]]
        M: !Base64
          Fn::Sub: "${N}"
        O: !Condition P
        """
    )
    assert found == {
        "A": {"Ref": "B"},
        "C": {"Fn::GetAtt": ["D", "E.F"]},
        "G": {"Fn::Sub": ["${H}-x", {"H": {"Ref": "I"}}]},
        "J": {"Fn::Join": [",", ["a", {"Fn::If": ["K", "l", {"Ref": "AWS::NoValue"}]}]]},
        "M": {"Fn::Base64": {"Fn::Sub": "${N}"}},
        "O": {"Condition": "P"},
    }


def test_json_is_read_as_it_is() -> None:
    assert syntax.parse('{"A": {"Ref": "B"}, "C": [1, true, null]}') == {"A": {"Ref": "B"}, "C": [1, True, None]}


def test_a_date_is_text_and_a_key_is_a_name() -> None:
    found = syntax.parse("Version: 2012-10-17\n123456789012: {on: true}\n")
    assert found == {"Version": "2012-10-17", "123456789012": {"on": True}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A: &x 1\nB: *x\n", "Template error: YAML aliases are not allowed in CloudFormation templates"),
        ("A: 1\nA: 2\n", "(line 2, column 1) the key 'A' stands twice in one mapping"),
        ('{"A": 1, "A": 2}', "the key 'A' stands twice in one object"),
        ("A: !Nothing x\n", "(line 1, column 4) the tag !Nothing is unknown"),
        ("A: [1\n", "Template format error: YAML not well-formed. (line 2, column 1)"),
        ('{"A": ', "Template format error: JSON not well-formed. (line 1, column 7)"),
        ("- a\n", "Template format error: unsupported structure."),
        ("a", "Template format error: unsupported structure."),
        ("A: \x00", "Template format error: YAML not well-formed."),
        ('{"A": ' + "[" * 5000, "Template format error"),
        ("A: " + "[" * 5000, "Template format error"),
        ("A: " + "[" * 30_000 + "]" * 30_000, "Template format error: the template is nested too deeply."),
    ],
)
def test_what_is_no_template_is_told_with_its_place(text: str, said: str) -> None:
    with pytest.raises(TemplateError) as caught:
        syntax.parse(text)
    assert said in caught.value.message
