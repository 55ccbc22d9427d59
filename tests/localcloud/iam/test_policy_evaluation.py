"""What policies allow, alone and together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from localcloud.iam.evaluation import Decision, Policies, Role, decide
from localcloud.iam.patterns import filled, matches, matches_arn
from localcloud.iam.policy import Actor, MalformedPolicy, read

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"
ME = Actor(frozenset({ROLE, f"arn:aws:sts::{ACCOUNT}:assumed-role/r/s"}), account_id=ACCOUNT)
ROOT = Actor(frozenset({f"arn:aws:iam::{ACCOUNT}:root"}), account_id=ACCOUNT)
OBJECT = "arn:aws:s3:::bucket/a/b"


def allow(action: Any = "s3:GetObject", resource: Any = OBJECT, **members: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **members}


def deny(action: Any = "s3:GetObject", resource: Any = OBJECT, **members: Any) -> dict[str, Any]:
    return {**allow(action, resource, **members), "Effect": "Deny"}


def policies(*statements: Mapping[str, Any], of_resource: bool = False) -> Policies:
    return Policies(read({"Version": "2012-10-17", "Statement": list(statements)}, "p", of_resource=of_resource))


def own(principal: Any, effect: str = "Allow", **members: Any) -> Policies:
    statement = {"Effect": effect, "Principal": principal, "Action": "*", "Resource": "*", **members}
    return policies(statement, of_resource=True)


def decided(
    *statements: Mapping[str, Any],
    action: str = "s3:GetObject",
    resource: str = OBJECT,
    facts: Mapping[str, Sequence[str]] | None = None,
    boundary: Policies | None = None,
    **members: Any,
) -> Decision:
    values = {key.lower(): value for key, value in (facts or {}).items()}
    role = Role(ROLE, policies(*statements), Policies(()), boundary)
    return decide(action, resource, lambda key: values.get(key.lower()), **{"actor": ME, "role": role, **members})


# --- patterns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "arn", "fits"),
    [
        ("*", "*", True),
        ("*", OBJECT, True),
        ("arn:aws:s3:::bucket/*", OBJECT, True),
        ("arn:aws:s3:::bucket/?/b", OBJECT, True),
        ("arn:aws:s3:::bucket", OBJECT, False),
        ("arn:aws:s3:::*", "*", False),
        ("arn:aws:logs:*:*:log-group:/x/*", "arn:aws:logs:eu-west-1:1:log-group:/x/y:log-stream:z", True),
        # An asterisk stays within its part, up to the sixth.
        ("arn:aws:*:bucket", "arn:aws:s3:::bucket", False),
        ("arn:aws:s3:*:*:bucket", "arn:aws:s3:::bucket", True),
        ("arn:aws:sqs:eu-west-1:1*:q", "arn:aws:sqs:eu-west-1:12:x:q", False),
        # Brackets are themselves.
        ("arn:aws:s3:::b/[a]", "arn:aws:s3:::b/a", False),
    ],
)
def test_patterns_of_arns(pattern: str, arn: str, fits: bool) -> None:
    assert matches_arn(pattern, arn) is fits


def test_case_matters_but_in_actions() -> None:
    assert matches("S3:get*", "s3:GetObject", ignore_case=True)
    assert not matches("A*", "ab")
    assert decided(allow("S3:getobject")).allowed
    assert not decided(allow(resource=OBJECT.upper().replace("ARN:AWS:S3", "arn:aws:s3"))).allowed


def test_variables_are_filled_and_what_they_hold_is_no_pattern() -> None:
    values = {"aws:principaltag/team": ["a*"], "aws:tagkeys": ["a", "b"]}.get
    get = lambda key: values(key.lower())  # noqa: E731
    text = filled("x/${aws:PrincipalTag/team}/${*}", get)
    assert text is not None
    assert matches(text, "x/a*/*")
    assert not matches(text, "x/ab/c")
    assert filled("${aws:username}", get) is None
    assert filled("${aws:TagKeys}", get) is None
    assert filled("${aws:username, 'nobody'}", get) == "nobody"
    mine = allow(resource="arn:aws:s3:::bucket/${aws:PrincipalTag/team}/*")
    assert decided(mine, facts={"aws:PrincipalTag/team": ["a"]}).allowed
    assert not decided(mine, facts={"aws:PrincipalTag/team": ["b"]}).allowed
    assert not decided(mine).allowed


# --- statements -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statements", "allowed"),
    [
        ([], False),
        ([allow()], True),
        ([allow(["s3:PutObject", "s3:Get*"])], True),
        ([allow("s3:Get?bject")], True),
        ([allow("sqs:*")], False),
        ([allow("*", "*")], True),
        ([allow(resource=["arn:aws:s3:::other/*", "arn:aws:s3:::bucket/*"])], True),
        ([{"Effect": "Allow", "NotAction": "s3:Put*", "Resource": "*"}], True),
        ([{"Effect": "Allow", "NotAction": ["s3:Get*", "iam:*"], "Resource": "*"}], False),
        ([{"Effect": "Allow", "Action": "s3:*", "NotResource": "arn:aws:s3:::bucket/a/*"}], False),
        ([{"Effect": "Allow", "Action": "s3:*", "NotResource": "arn:aws:s3:::bucket/c/*"}], True),
        ([allow(), deny("s3:*", "*")], False),
        ([allow(), deny("s3:*", "arn:aws:s3:::other/*")], True),
        ([allow(), {"Effect": "Deny", "NotAction": "s3:*", "Resource": "*"}], True),
    ],
)
def test_statements(statements: list[dict[str, Any]], allowed: bool) -> None:
    assert decided(*statements).allowed is allowed


def test_every_statement_that_allows_is_named_and_what_denies() -> None:
    found = decided(allow(Sid="One"), allow("s3:*", "*"), allow("sqs:*", "*", Sid="Other"))
    assert found.by == ("p/One", "p/2")
    denied = decided(allow(), deny(Sid="Never"))
    assert (denied.by, denied.because) == (("p/Never",), "with an explicit deny in an identity-based policy")


def test_what_depends_on_nothing_else_is_remembered_and_the_rest_is_not() -> None:
    some = policies(allow(), allow("sqs:*", "*", Condition={"Bool": {"aws:SecureTransport": "true"}}))
    asked: list[str] = []

    def values(key: str) -> list[str]:
        asked.append(key)
        return ["true"]

    for _ in range(2):
        assert some.about("s3:GetObject", OBJECT, values).allowing
        assert some.about("sqs:SendMessage", "*", values).allowing
    assert len(asked) == 2


# --- conditions -------------------------------------------------------------------------------------------------------

NAMESPACE, PREFIX, TAGS, IP, TIME, EPOCH = (
    "cloudwatch:namespace", "s3:prefix", "aws:TagKeys", "aws:SourceIp", "aws:CurrentTime", "aws:EpochTime",
)  # fmt: skip
SECURE, SOURCE = "aws:SecureTransport", "aws:SourceArn"


@pytest.mark.parametrize(
    ("condition", "facts", "holds"),
    [
        ({"StringEquals": {NAMESPACE: ["a", "b"]}}, {NAMESPACE: ["b"]}, True),
        ({"StringEquals": {NAMESPACE: "B"}}, {NAMESPACE: ["b"]}, False),
        ({"StringEqualsIgnoreCase": {NAMESPACE: "B"}}, {NAMESPACE: ["b"]}, True),
        ({"StringEquals": {NAMESPACE: "b"}}, {}, False),
        ({"StringEqualsIfExists": {NAMESPACE: "b"}}, {}, True),
        ({"StringEqualsIfExists": {NAMESPACE: "b"}}, {NAMESPACE: ["c"]}, False),
        ({"StringNotEquals": {NAMESPACE: ["a", "b"]}}, {NAMESPACE: ["c"]}, True),
        ({"StringNotEquals": {NAMESPACE: ["a", "b"]}}, {NAMESPACE: ["b"]}, False),
        ({"StringNotEquals": {NAMESPACE: "a"}}, {}, True),
        ({"StringNotEqualsIgnoreCase": {NAMESPACE: "A"}}, {NAMESPACE: ["a"]}, False),
        ({"StringLike": {PREFIX: "a/*"}}, {PREFIX: ["a/b"]}, True),
        ({"StringLike": {PREFIX: "a/?"}}, {PREFIX: ["a/bc"]}, False),
        ({"StringEquals": {PREFIX: "a/*"}}, {PREFIX: ["a/b"]}, False),
        ({"StringNotLike": {PREFIX: "a/*"}}, {PREFIX: ["a/b"]}, False),
        ({"StringLike": {PREFIX: "${aws:PrincipalAccount}/*"}}, {PREFIX: ["1/b"], "aws:PrincipalAccount": ["1"]}, True),
        ({"StringLike": {PREFIX: "${aws:username}/*"}}, {PREFIX: ["1/b"]}, False),
        ({"ArnLike": {SOURCE: "arn:aws:events:*:1:rule/x-*"}}, {SOURCE: ["arn:aws:events:e:1:rule/x-y"]}, True),
        ({"ArnEquals": {SOURCE: "arn:aws:events:*:1:rule/x"}}, {SOURCE: ["arn:aws:events:e:1:rule/x"]}, True),
        ({"ArnNotLike": {SOURCE: "arn:aws:events:*:1:rule/x"}}, {SOURCE: ["arn:aws:events:e:1:rule/x"]}, False),
        ({"ArnNotEquals": {SOURCE: "arn:aws:events:*:2:rule/x"}}, {SOURCE: ["arn:aws:events:e:1:rule/x"]}, True),
        ({"Bool": {SECURE: "false"}}, {SECURE: ["true"]}, False),
        ({"Bool": {SECURE: True}}, {SECURE: ["true"]}, True),
        ({"NumericLessThanEquals": {"s3:max-keys": 10}}, {"s3:max-keys": ["10"]}, True),
        ({"NumericLessThan": {"s3:max-keys": "10"}}, {"s3:max-keys": ["10"]}, False),
        ({"NumericGreaterThan": {"s3:max-keys": "9.5"}}, {"s3:max-keys": ["10"]}, True),
        ({"NumericGreaterThanEquals": {"s3:max-keys": "11"}}, {"s3:max-keys": ["10"]}, False),
        ({"NumericEquals": {"s3:max-keys": "10.0"}}, {"s3:max-keys": ["10"]}, True),
        ({"NumericNotEquals": {"s3:max-keys": "10"}}, {"s3:max-keys": ["10"]}, False),
        ({"DateLessThan": {TIME: "2026-01-02T00:00:00Z"}}, {TIME: ["2026-01-01T00:00:00+00:00"]}, True),
        ({"DateGreaterThan": {EPOCH: "1767225600"}}, {EPOCH: ["1767225601"]}, True),
        ({"DateEquals": {EPOCH: "2026-01-01"}}, {EPOCH: ["1767225600"]}, True),
        ({"DateNotEquals": {EPOCH: "2026-01-01"}}, {EPOCH: ["1767225600"]}, False),
        ({"IpAddress": {IP: ["10.0.0.0/8", "127.0.0.1/32"]}}, {IP: ["127.0.0.1"]}, True),
        ({"NotIpAddress": {IP: "127.0.0.0/8"}}, {IP: ["127.0.0.1"]}, False),
        ({"Null": {NAMESPACE: "true"}}, {}, True),
        ({"Null": {NAMESPACE: "true"}}, {NAMESPACE: ["a"]}, False),
        ({"Null": {NAMESPACE: "false"}}, {NAMESPACE: ["a"]}, True),
        ({"ForAllValues:StringEquals": {TAGS: ["a", "b"]}}, {TAGS: ["a"]}, True),
        ({"ForAllValues:StringEquals": {TAGS: ["a", "b"]}}, {TAGS: ["a", "c"]}, False),
        ({"ForAllValues:StringEquals": {TAGS: ["a"]}}, {}, True),
        ({"ForAnyValue:StringLike": {TAGS: ["c*"]}}, {TAGS: ["a", "cd"]}, True),
        ({"ForAnyValue:StringEquals": {TAGS: ["c"]}}, {TAGS: ["a"]}, False),
        ({"ForAnyValue:StringEquals": {TAGS: ["c"]}}, {}, False),
        ({"ForAnyValue:StringEqualsIfExists": {TAGS: ["c"]}}, {}, True),
        # All operators and all keys have to hold.
        ({"StringEquals": {NAMESPACE: "a", PREFIX: "b"}}, {NAMESPACE: ["a"]}, False),
        ({"StringEquals": {NAMESPACE: "a"}, "Bool": {SECURE: "true"}}, {NAMESPACE: ["a"], SECURE: ["true"]}, True),
    ],
)
def test_conditions(condition: dict[str, Any], facts: dict[str, list[str]], holds: bool) -> None:
    assert decided(allow(Condition=condition), facts=facts).allowed is holds


def test_a_statement_with_an_unknown_key_never_applies_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    condition = {"StringNotEquals": {"ec2:MadeUpForThisTest": "x"}}
    for _ in range(2):
        assert not decided(allow(Condition=condition)).allowed
        assert decided(allow(), deny(Condition=condition)).allowed
    assert [record.message for record in caplog.records if record.message.startswith("p/1")] == [
        "p/1: localcloud does not have the condition key ec2:MadeUpForThisTest; the statement never applies"
    ]


# --- together ---------------------------------------------------------------------------------------------------------


def test_a_boundary_bounds() -> None:
    inside, outside = policies(allow("s3:*", "*")), policies(allow("sqs:*", "*"))
    assert decided(allow(), boundary=inside).allowed
    refused = decided(allow(), boundary=outside)
    assert refused.because == "because no permissions boundary allows the s3:GetObject action"
    assert not decided(boundary=inside).allowed
    denied = decided(allow(), boundary=policies(allow("*", "*"), deny()))
    assert denied.because == "with an explicit deny in a permissions boundary"


def test_a_session_is_limited() -> None:
    assert decided(allow(), session=policies(allow("s3:*", "*"))).allowed
    refused = decided(allow(), session=policies(allow("sqs:*", "*")))
    assert refused.because == "because no session policy allows the s3:GetObject action"


@pytest.mark.parametrize(
    ("principal", "statements", "allowed"),
    [
        ({"AWS": ROLE}, [], True),
        ({"AWS": f"arn:aws:sts::{ACCOUNT}:assumed-role/r/s"}, [], True),
        ("*", [], True),
        ({"AWS": "*"}, [], True),
        # The account leaves it to its own policies.
        ({"AWS": ACCOUNT}, [], False),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, [], False),
        ({"AWS": ACCOUNT}, [allow()], True),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:role/other"}, [], False),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:role/other"}, [allow()], True),
        ({"Service": "sqs.amazonaws.com"}, [], False),
        ({"AWS": ROLE}, [deny()], False),
    ],
)
def test_a_resources_own_policy_adds_to_a_roles(principal: Any, statements: list[Any], allowed: bool) -> None:
    assert decided(*statements, own=own(principal)).allowed is allowed


def test_a_resources_own_policy_denies_everybody() -> None:
    for principal in ("*", {"AWS": ROLE}, {"AWS": ACCOUNT}):
        refused = decided(allow(), own=own(principal, "Deny"))
        assert refused.because == "with an explicit deny in a resource-based policy"
    all_but_me = {"Effect": "Deny", "NotPrincipal": {"AWS": ROLE}, "Action": "*", "Resource": "*"}
    assert decided(allow(), own=policies(all_but_me, of_resource=True)).allowed
    insecure = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*"}
    insecure |= {"Condition": {"Bool": {SECURE: "false"}}}
    tls_only = policies(insecure, of_resource=True)
    assert decided(allow(), own=tls_only, facts={SECURE: ["true"]}).allowed
    assert not decided(allow(), own=tls_only, facts={SECURE: ["false"]}).allowed


def test_a_key_is_used_by_those_whom_its_policy_names() -> None:
    assert not decided(allow(), own=own({"AWS": f"arn:aws:iam::{ACCOUNT}:role/other"}), own_rules=True).allowed
    assert decided(allow(), own=own({"AWS": ACCOUNT}), own_rules=True).allowed
    assert not decided(own=own({"AWS": ACCOUNT}), own_rules=True).allowed
    assert decided(own=own({"AWS": ROLE}), own_rules=True).allowed


def test_the_root_may_do_what_no_resource_denies() -> None:
    values = {}.get
    assert decide("s3:GetObject", OBJECT, values, actor=ROOT, role=None).allowed
    assert decide("s3:GetObject", OBJECT, values, actor=ROOT, role=None, own=own({"AWS": ROLE})).allowed
    assert not decide("s3:GetObject", OBJECT, values, actor=ROOT, role=None, own=own("*", "Deny")).allowed
    trust = own({"AWS": ROLE})
    assert not decide("sts:AssumeRole", ROLE, values, actor=ROOT, role=None, own=trust, own_rules=True).allowed


# --- documents --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "invalid Json"),
        ("[]", "Syntax errors in policy."),
        ({"Statements": []}, "no element Statements"),
        ({"Version": "2013", "Statement": []}, "the version is '2013'"),
        ({"Statement": [allow(Principals="*")]}, "no element Principals of a statement"),
        ({"Statement": [{**allow(), "Effect": "allow"}]}, "the effect is 'allow'"),
        ({"Statement": [allow(Sid="a-b")]}, "alpha numeric"),
        ({"Statement": [{"Effect": "Allow", "Resource": "*"}]}, "must contain actions"),
        ({"Statement": [allow("GetObject")]}, "prefaced by a vendor"),
        ({"Statement": [{"Effect": "Allow", "Action": "s3:*"}]}, "must contain resources"),
        ({"Statement": [allow(resource="bucket")]}, 'must be in ARN format or "*"'),
        ({"Statement": [allow(NotAction="s3:*")]}, "Action and NotAction"),
        ({"Statement": [allow(Principal="*")]}, "should not specify a principal"),
        ({"Statement": [allow(Condition={"StringIs": {"s3:prefix": "a"}})]}, "no condition operator StringIs"),
        ({"Statement": [allow(Condition={"NumericEquals": {"s3:max-keys": "a"}})]}, "does not suit its operator"),
        ({"Statement": [allow(Condition={"IpAddress": {IP: "here"}})]}, "does not suit its operator"),
    ],
)
def test_what_is_no_policy_is_refused(document: Any, message: str) -> None:
    with pytest.raises(MalformedPolicy, match=message.replace("*", r"\*")):
        read(document, "p")


def test_a_resources_policy_names_principals() -> None:
    with pytest.raises(MalformedPolicy, match="names no principal"):
        read({"Statement": [allow()]}, "p", of_resource=True)
    with pytest.raises(MalformedPolicy, match="Invalid principal"):
        read({"Statement": [allow(Principal={"Person": "me"})]}, "p", of_resource=True)
