"""What an administrator does with pools, domains, resource servers, clients and users; and what is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.actions import Actions
from localcloud.cognito import passwords
from localcloud.errors import ServiceError
from tests.localcloud.cognito.pool_account import Document, PoolAccount, attempt, refreshing

INVALID = "InvalidParameterException"
GONE = "ResourceNotFoundException"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> PoolAccount:
    """For the tests that change nothing."""
    return PoolAccount(tmp_path_factory.mktemp("administration"))


# --- pools ------------------------------------------------------------------------------------------------------------


def test_a_pool_is_described_with_its_defaults(shared: PoolAccount) -> None:
    pool = shared.call("DescribeUserPool", UserPoolId=shared.id)["UserPool"]
    assert pool == {
        **shared.pool,
        "Arn": f"arn:aws:cognito-idp:eu-west-1:123456789012:userpool/{shared.id}",
        "Domain": "people",
        "DeletionProtection": "INACTIVE",
        "MfaConfiguration": "OFF",
        "EstimatedNumberOfUsers": 0,
        "UserPoolTier": "ESSENTIALS",
        "AdminCreateUserConfig": {"AllowAdminCreateUserOnly": False, "UnusedAccountValidityDays": 7},
        "Policies": {
            "PasswordPolicy": {
                "MinimumLength": 8,
                "RequireUppercase": True,
                "RequireLowercase": True,
                "RequireNumbers": True,
                "RequireSymbols": True,
                "TemporaryPasswordValidityDays": 7,
            },
            "SignInPolicy": {"AllowedFirstAuthFactors": ["PASSWORD"]},
        },
    }
    assert shared.id.startswith("eu-west-1_")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"MfaConfiguration": "ON"}, "MfaConfiguration"),
        ({"UsernameAttributes": ["email"]}, "UsernameAttributes"),
        ({"AliasAttributes": ["email"]}, "AliasAttributes"),
        ({"AutoVerifiedAttributes": ["email"]}, "AutoVerifiedAttributes"),
        ({"Schema": [{"Name": "team", "AttributeDataType": "String"}]}, "Schema"),
        ({"UserPoolTier": "PLUS"}, "UserPoolTier"),
        ({"UserPoolAddOns": {"AdvancedSecurityMode": "ENFORCED"}}, "UserPoolAddOns.AdvancedSecurityMode"),
        ({"DeviceConfiguration": {"ChallengeRequiredOnNewDevice": True}}, "DeviceConfiguration"),
        (
            {"LambdaConfig": {"PreSignUp": "arn:aws:lambda:eu-west-1:123456789012:function:f"}},
            "LambdaConfig",
        ),
        ({"Policies": {"PasswordPolicy": {"PasswordHistorySize": 3}}}, "Policies.PasswordPolicy.PasswordHistorySize"),
        (
            {"Policies": {"SignInPolicy": {"AllowedFirstAuthFactors": ["PASSWORD", "WEB_AUTHN"]}}},
            "Policies.SignInPolicy.AllowedFirstAuthFactors",
        ),
        (
            {"AccountRecoverySetting": {"RecoveryMechanisms": [{"Name": "verified_email", "Priority": 1}]}},
            "AccountRecoverySetting",
        ),
        (
            {"AdminCreateUserConfig": {"InviteMessageTemplate": {"EmailSubject": "x"}}},
            "AdminCreateUserConfig.InviteMessageTemplate",
        ),
        ({"EmailConfiguration": {"EmailSendingAccount": "DEVELOPER"}}, "EmailConfiguration"),
    ],
)
def test_what_a_pool_would_not_do_it_is_not_made_with(shared: PoolAccount, settings: Document, named: str) -> None:
    for operation, more in (("CreateUserPool", {"PoolName": "p"}), ("UpdateUserPool", {"UserPoolId": shared.id})):
        if operation == "UpdateUserPool" and named in ("UsernameAttributes", "AliasAttributes", "Schema"):
            continue
        code, message = shared.fail(operation, **more, **settings)
        assert code == INVALID
        assert f"localcloud's user pools have no {named}" in message
        assert "got" in message


def test_what_asks_for_nothing_is_taken(account: PoolAccount) -> None:
    account.call(
        "CreateUserPool",
        PoolName="p",
        MfaConfiguration="OFF",
        UsernameConfiguration={"CaseSensitive": False},
        AccountRecoverySetting={"RecoveryMechanisms": [{"Name": "admin_only", "Priority": 1}]},
        UserPoolAddOns={"AdvancedSecurityMode": "OFF"},
        EmailConfiguration={"EmailSendingAccount": "COGNITO_DEFAULT"},
        UserPoolTier="LITE",
    )


def test_an_update_takes_back_what_it_does_not_name(account: PoolAccount) -> None:
    tags = {"team": "fraud"}
    account.call("TagResource", ResourceArn=account.arn, Tags=tags)
    policy = {"PasswordPolicy": {"MinimumLength": 12}}
    config = {"AllowAdminCreateUserOnly": True, "UnusedAccountValidityDays": 3}
    account.call("UpdateUserPool", UserPoolId=account.id, Policies=policy, AdminCreateUserConfig=config)
    pool = account.call("DescribeUserPool", UserPoolId=account.id)["UserPool"]
    found = pool["Policies"]["PasswordPolicy"]
    assert (found["MinimumLength"], found["RequireSymbols"], found["TemporaryPasswordValidityDays"]) == (12, False, 3)
    assert (pool["UserPoolTags"], pool["AdminCreateUserConfig"]) == (tags, config)
    account.wait(seconds=1)
    account.call("UpdateUserPool", UserPoolId=account.id, PoolName="renamed", UserPoolTags={})
    pool = account.call("DescribeUserPool", UserPoolId=account.id)["UserPool"]
    assert (pool["Name"], pool["UserPoolTags"], pool["Policies"]) == ("renamed", {}, account.pool["Policies"])
    assert pool["LastModifiedDate"] > pool["CreationDate"]


def test_one_number_of_days_is_enough(shared: PoolAccount) -> None:
    params: Any = {
        "PoolName": "p",
        "Policies": {"PasswordPolicy": {"TemporaryPasswordValidityDays": 2}},
        "AdminCreateUserConfig": {"UnusedAccountValidityDays": 3},
    }
    assert "got 2 and 3" in shared.fail("CreateUserPool", **params)[1]


def test_a_pool_is_deleted_with_all_that_it_has(account: PoolAccount) -> None:
    client = account.client()
    account.user()
    account.tokens(client)
    account.fail("InitiateAuth", **attempt(client, password="x"))
    account.call("UpdateUserPool", UserPoolId=account.id, DeletionProtection="ACTIVE")
    code, message = account.fail("DeleteUserPool", UserPoolId=account.id)
    assert (code, message.partition(".")[0]) == (
        INVALID,
        "The user pool cannot be deleted because deletion protection is activated",
    )
    account.call("UpdateUserPool", UserPoolId=account.id)
    message = "User pool cannot be deleted. It has a domain configured that should be deleted first."
    assert account.fail("DeleteUserPool", UserPoolId=account.id) == (INVALID, message)
    account.call("DeleteUserPoolDomain", UserPoolId=account.id, Domain="people")
    account.call("DeleteUserPool", UserPoolId=account.id)
    rows = account.context.store._connection.execute("SELECT kind, key FROM documents").fetchall()
    assert rows == []
    missing = (GONE, f"User pool {account.id} does not exist.")
    for operation in ("DescribeUserPool", "DeleteUserPool", "UpdateUserPool", "ListUsers", "ListUserPoolClients"):
        assert account.fail(operation, UserPoolId=account.id) == missing


def test_pools_are_listed_in_pages(account: PoolAccount) -> None:
    for index in range(2):
        account.call("CreateUserPool", PoolName=f"p{index}")
    first = account.call("ListUserPools", MaxResults=2)
    second = account.call("ListUserPools", MaxResults=2, NextToken=first["NextToken"])
    assert [pool["Name"] for pool in (*first["UserPools"], *second["UserPools"])] == ["pool", "p0", "p1"]
    assert "NextToken" not in second
    assert account.fail("ListUserPools", MaxResults=2, NextToken="x")[0] == INVALID


def test_tags(account: PoolAccount) -> None:
    account.call("TagResource", ResourceArn=account.arn, Tags={"a": "1", "b": "2"})
    account.call("TagResource", ResourceArn=account.arn, Tags={"b": "3"})
    account.call("UntagResource", ResourceArn=account.arn, TagKeys=["a", "z"])
    assert account.call("ListTagsForResource", ResourceArn=account.arn) == {"Tags": {"b": "3"}}
    for arn in (account.arn + "x", account.arn.replace("eu-west-1:", "us-east-1:")):
        assert account.fail("ListTagsForResource", ResourceArn=arn)[0] == GONE
        assert account.fail("TagResource", ResourceArn=arn, Tags={})[0] == GONE


# --- domains and resource servers -------------------------------------------------------------------------------------


def test_a_pool_has_one_domain_and_a_domain_one_pool(account: PoolAccount) -> None:
    description = account.call("DescribeUserPoolDomain", Domain="people")["DomainDescription"]
    assert (description["UserPoolId"], description["Status"]) == (account.id, "ACTIVE")
    assert account.call("DescribeUserPoolDomain", Domain="nobody") == {"DomainDescription": {}}
    taken = account.fail("CreateUserPoolDomain", UserPoolId=account.id, Domain="second")
    assert taken == (INVALID, "User pool already has a domain configured.")
    other = account.call("CreateUserPool", PoolName="other")["UserPool"]["Id"]
    taken = account.fail("CreateUserPoolDomain", UserPoolId=other, Domain="people")
    assert taken == (INVALID, "Domain already associated with another user pool.")
    assert account.fail("DeleteUserPoolDomain", UserPoolId=other, Domain="people")[0] == INVALID
    for word in ("my-cognito", "aws-people"):
        code, message = account.fail("CreateUserPoolDomain", UserPoolId=other, Domain=word)
        assert (code, message.partition(":")[0]) == (INVALID, "Domain cannot contain reserved word")
    for more in ({"ManagedLoginVersion": 2}, {"CustomDomainConfig": {"CertificateArn": "arn:aws:acm:eu-west-1:1:c"}}):
        (name,) = more
        assert name in account.fail("CreateUserPoolDomain", UserPoolId=other, Domain="free", **more)[1]


def test_resource_servers(account: PoolAccount) -> None:
    server: Document = {"UserPoolId": account.id, "Identifier": "https://a.b/c", "Name": "n"}
    scope = {"ScopeName": "s", "ScopeDescription": "d"}
    account.call("CreateResourceServer", **server)
    taken = account.fail("CreateResourceServer", **server)
    assert taken == (INVALID, f"https://a.b/c already exists in user pool {account.id}.")
    account.call("UpdateResourceServer", **server, Scopes=[scope])
    found = account.call("DescribeResourceServer", UserPoolId=account.id, Identifier="https://a.b/c")
    assert found["ResourceServer"] == {**server, "Scopes": [scope]}
    account.application("https://a.b/c/s")
    assert "s" in account.fail("UpdateResourceServer", **server, Scopes=[scope, scope])[1]
    first = account.call("ListResourceServers", UserPoolId=account.id, MaxResults=1)
    rest = account.call("ListResourceServers", UserPoolId=account.id, NextToken=first["NextToken"])
    listed = [one["Identifier"] for one in (*first["ResourceServers"], *rest["ResourceServers"])]
    assert listed == ["api", "https://a.b/c"]
    account.call("DeleteResourceServer", UserPoolId=account.id, Identifier="https://a.b/c")
    for operation, params in (
        ("DescribeResourceServer", {}),
        ("DeleteResourceServer", {}),
        ("UpdateResourceServer", {"Name": "n"}),
    ):
        missing = account.fail(operation, UserPoolId=account.id, Identifier="https://a.b/c", **params)
        assert missing == (GONE, "Resource server https://a.b/c does not exist.")


# --- clients ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "code", "text"),
    [
        ({"AllowedOAuthFlows": ["code"]}, INVALID, "AllowedOAuthFlows"),
        ({"AllowedOAuthFlows": ["client_credentials", "code"]}, INVALID, "AllowedOAuthFlows"),
        ({"CallbackURLs": ["https://a.b"]}, INVALID, "CallbackURLs"),
        ({"SupportedIdentityProviders": ["Google"]}, INVALID, "SupportedIdentityProviders"),
        ({"ReadAttributes": ["email"]}, INVALID, "ReadAttributes"),
        ({"WriteAttributes": ["email"]}, INVALID, "WriteAttributes"),
        ({"RefreshTokenRotation": {"Feature": "ENABLED"}}, INVALID, "RefreshTokenRotation.Feature"),
        ({"EnablePropagateAdditionalUserContextData": True}, INVALID, "EnablePropagateAdditionalUserContextData"),
        ({"ClientSecret": "s" * 30}, INVALID, "ClientSecret"),
        ({"ExplicitAuthFlows": ["USER_PASSWORD_AUTH"]}, INVALID, "USER_PASSWORD_AUTH"),
        ({"AllowedOAuthFlowsUserPoolClient": True}, INVALID, "AllowedOAuthScopes are required"),
        ({"AllowedOAuthScopes": ["api/everything"]}, "ScopeDoesNotExistException", "api/everything"),
        ({"AllowedOAuthFlows": ["client_credentials"]}, "InvalidOAuthFlowException", "does not have a client secret"),
        (
            {"AllowedOAuthFlows": ["client_credentials"], "AllowedOAuthScopes": ["openid"], "GenerateSecret": True},
            "InvalidOAuthFlowException",
            "openid",
        ),
        ({"AccessTokenValidity": 4, "TokenValidityUnits": {"AccessToken": "minutes"}}, INVALID, "240 seconds"),
        ({"AccessTokenValidity": 25}, INVALID, "expected 300 to 86400"),
        ({"IdTokenValidity": 2, "TokenValidityUnits": {"IdToken": "days"}}, INVALID, "IdTokenValidity"),
        ({"RefreshTokenValidity": 59, "TokenValidityUnits": {"RefreshToken": "minutes"}}, INVALID, "3540 seconds"),
        ({"RefreshTokenValidity": 3651}, INVALID, "RefreshTokenValidity"),
        (
            {
                "RefreshTokenValidity": 1,
                "AccessTokenValidity": 2,
                "TokenValidityUnits": {"RefreshToken": "hours", "AccessToken": "hours"},
            },
            INVALID,
            "no more than the RefreshTokenValidity of 3600",
        ),
    ],
)
def test_what_a_client_is_not_made_with(shared: PoolAccount, settings: Document, code: str, text: str) -> None:
    found, message = shared.fail("CreateUserPoolClient", UserPoolId=shared.id, ClientName="c", **settings)
    assert found == code
    assert text in message


@pytest.mark.parametrize("validity", [{}, {"RefreshTokenValidity": 0}])
def test_a_unit_alone_changes_no_default(account: PoolAccount, validity: Document) -> None:
    units = {token: "minutes" for token in ("AccessToken", "IdToken", "RefreshToken")}
    client = account.client(TokenValidityUnits=units, **validity)
    account.user()
    tokens = account.tokens(client)
    assert tokens["ExpiresIn"] == 3600
    account.wait(days=30, seconds=-1)
    assert account.call("InitiateAuth", **refreshing(client, tokens["RefreshToken"]))


def test_a_secret_is_not_told_back(shared: PoolAccount) -> None:
    secret = "abcdefghijklmnopqrstuvwxyz"
    params = {"UserPoolId": shared.id, "ClientName": "c", "ClientSecret": secret}
    assert secret not in shared.fail("CreateUserPoolClient", **params)[1]


def test_a_client_keeps_its_secret_and_what_an_update_does_not_name_goes_back(account: PoolAccount) -> None:
    client = account.application(AccessTokenValidity=2, AuthSessionValidity=10)
    assert 24 <= len(client["ClientSecret"]) <= 64
    names = {"UserPoolId": account.id, "ClientId": client["ClientId"]}
    assert account.call("DescribeUserPoolClient", **names)["UserPoolClient"] == client
    changed = account.call("UpdateUserPoolClient", **names, ClientName="renamed")["UserPoolClient"]
    assert changed == {
        **names,
        "ClientName": "renamed",
        "ClientSecret": client["ClientSecret"],
        "CreationDate": client["CreationDate"],
        "LastModifiedDate": account.clock.moment,
        "RefreshTokenValidity": 30,
        "ExplicitAuthFlows": ["ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_USER_SRP_AUTH", "ALLOW_CUSTOM_AUTH"],
        "AllowedOAuthFlowsUserPoolClient": False,
        "PreventUserExistenceErrors": "LEGACY",
        "EnableTokenRevocation": True,
        "EnablePropagateAdditionalUserContextData": False,
        "AuthSessionValidity": 3,
    }
    listed = account.call("ListUserPoolClients", UserPoolId=account.id)["UserPoolClients"]
    assert listed == [{**names, "ClientName": "renamed"}]
    other = account.call("CreateUserPool", PoolName="other")["UserPool"]["Id"]
    missing = (GONE, f"User pool client {client['ClientId']} does not exist.")
    assert account.fail("DescribeUserPoolClient", UserPoolId=other, ClientId=client["ClientId"]) == missing
    account.call("DeleteUserPoolClient", **names)
    for operation in ("DescribeUserPoolClient", "UpdateUserPoolClient", "DeleteUserPoolClient"):
        assert account.fail(operation, **names) == missing


# --- users ------------------------------------------------------------------------------------------------------------


def test_a_user_is_described(account: PoolAccount) -> None:
    attributes = [{"Name": "email", "Value": "a@b.c"}]
    user = account.invite("ann", UserAttributes=attributes)["User"]
    found = account.call("AdminGetUser", UserPoolId=account.id, Username="ANN")
    assert found["UserAttributes"] == user["Attributes"]
    sub, email = found["UserAttributes"]
    assert (sub["Name"], len(sub["Value"]), email) == ("sub", 36, attributes[0])
    assert (found["Username"], found["Enabled"], found["UserStatus"]) == ("ann", True, "FORCE_CHANGE_PASSWORD")
    missing = ("UserNotFoundException", "User does not exist.")
    for operation in ("AdminGetUser", "AdminDeleteUser", "AdminDisableUser", "AdminEnableUser"):
        assert account.fail(operation, UserPoolId=account.id, Username="bob") == missing
    password = {"Password": "Correct-horse-1", "Permanent": True}
    assert account.fail("AdminSetUserPassword", UserPoolId=account.id, Username="bob", **password) == missing


@pytest.mark.parametrize(
    ("members", "code", "text"),
    [
        ({"MessageAction": "RESEND"}, INVALID, "MessageAction"),
        ({"DesiredDeliveryMediums": ["EMAIL"]}, INVALID, "DesiredDeliveryMediums"),
        ({"ForceAliasCreation": True}, INVALID, "ForceAliasCreation"),
        ({"ClientMetadata": {"a": "b"}}, INVALID, "ClientMetadata"),
        ({"UserAttributes": [{"Name": "custom:team", "Value": "x"}]}, INVALID, "custom:team"),
        ({"UserAttributes": [{"Name": "sub", "Value": "x"}]}, INVALID, "sub"),
        ({"UserAttributes": [{"Name": "email", "Value": "x"}]}, INVALID, "Invalid email address format."),
        ({"UserAttributes": [{"Name": "phone_number", "Value": "0151"}]}, INVALID, "Invalid phone number format."),
        ({"UserAttributes": [{"Name": "email_verified", "Value": "yes"}]}, INVALID, "email_verified"),
        ({"TemporaryPassword": "short"}, "InvalidPasswordException", "Password not long enough"),
    ],
)
def test_what_a_user_is_not_made_with(shared: PoolAccount, members: Document, code: str, text: str) -> None:
    params: Document = {"UserPoolId": shared.id, "Username": "new", "MessageAction": "SUPPRESS", **members}
    found, message = shared.fail("AdminCreateUser", **params)
    assert found == code
    assert text in message


def test_no_invitation_is_sent_so_that_none_may_be_wanted(shared: PoolAccount) -> None:
    code, message = shared.fail("AdminCreateUser", UserPoolId=shared.id, Username="new")
    assert (code, "SUPPRESS" in message, "None" in message) == (INVALID, True, True)


def test_users_are_listed_filtered_and_cut(account: PoolAccount) -> None:
    for name in ("ann", "bob", "ben"):
        account.invite(name, UserAttributes=[{"Name": "email", "Value": f"{name}@b.c"}])
    account.call("AdminDisableUser", UserPoolId=account.id, Username="ben")

    def names(**params: Any) -> list[str]:
        return [user["Username"] for user in account.call("ListUsers", UserPoolId=account.id, **params)["Users"]]

    assert names() == names(Limit=0) == ["ann", "bob", "ben"]
    assert names(Filter='username = "bob"') == ["bob"]
    assert names(Filter='email ^= "b"') == ["bob", "ben"]
    assert names(Filter='"status"="Disabled"') == ["ben"]
    assert names(Filter='cognito:user_status = "CONFIRMED"') == []
    assert names(Filter='name = ""') == []
    first = account.call("ListUsers", UserPoolId=account.id, Limit=2, AttributesToGet=["email"])
    assert first["Users"][0]["Attributes"] == [{"Name": "email", "Value": "ann@b.c"}]
    assert names(PaginationToken=first["PaginationToken"]) == ["ben"]
    for wrong in ("username", 'username > "a"', 'team = "a"', 'username = "a" or username = "b"'):
        assert account.fail("ListUsers", UserPoolId=account.id, Filter=wrong)[0] == INVALID


# --- passwords --------------------------------------------------------------------------------------------------------

POLICY = {"MinimumLength": 8, **{f"Require{kind}": True for kind in ("Uppercase", "Lowercase", "Numbers", "Symbols")}}


@pytest.mark.parametrize(
    ("password", "complaint"),
    [
        ("Aa1!aaa", "Password not long enough"),
        ("AA1!AAAA", "Password must have lowercase characters"),
        ("aa1!aaaa", "Password must have uppercase characters"),
        ("Aaa!aaaa", "Password must have numeric characters"),
        ("Aa11aaaa", "Password must have symbol characters"),
        ("Ää1!ÄÄÄÄ", "Password must have lowercase characters"),
    ],
)
def test_a_password_meets_the_policy(password: str, complaint: str) -> None:
    with pytest.raises(ServiceError) as caught:
        passwords.check(POLICY, password)
    assert caught.value.message == f"Password did not conform with policy: {complaint}"


def test_only_what_the_policy_asks_for_is_asked_for() -> None:
    passwords.check({"MinimumLength": 6}, "aaaaaa")
    passwords.check(POLICY, "Aa1!aaaa")


@given(st.integers(6, 99))
def test_what_is_generated_meets_every_policy(length: int) -> None:
    passwords.check({**POLICY, "MinimumLength": length}, passwords.generate({"MinimumLength": length}))
    assert not any(letter.isspace() for letter in passwords.generate(POLICY))


def test_the_same_password_is_never_kept_alike() -> None:
    first, second = passwords.hashed("a", passwords.COST), passwords.hashed("a", passwords.COST)
    assert first["Salt"] != second["Salt"]
    assert first["Digest"] != second["Digest"]
    assert passwords.matches("a", first, passwords.COST)
    assert not passwords.matches("b", first, passwords.COST)
    assert not passwords.matches("a", None, passwords.COST)


# --- in IAM's terms ---------------------------------------------------------------------------------------------------


def test_calls_are_on_the_pool(shared: PoolAccount) -> None:
    actions = Actions("eu-west-1", "123456789012")
    for operation, params in (
        ("AdminCreateUser", {"UserPoolId": shared.id, "Username": "ann"}),
        ("TagResource", {"ResourceArn": shared.arn, "Tags": {}}),
    ):
        assert list(actions.of("cognito-idp", operation, params)) == [(f"cognito-idp:{operation}", shared.arn)]
