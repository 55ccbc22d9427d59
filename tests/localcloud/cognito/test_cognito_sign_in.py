"""How people sign in, stay signed in, and sign out."""

from __future__ import annotations

import base64
import hmac
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from localcloud.errors import ServiceError
from tests.localcloud.cognito.pool_account import PASSWORD, Document, PoolAccount, attempt, cheap, refreshing
from tests.surroundings import surroundings

WRONG = ("NotAuthorizedException", "Incorrect username or password.")
LOCKED = ("NotAuthorizedException", "Password attempts exceeded")
NEW = "Another-horse-2"


def _claims(account: PoolAccount, token: str) -> Document:
    return dict(account.cognito.verify(account.arn, token))


def _miss(account: PoolAccount, client: Document, name: str = "ann", password: str = "wrong") -> tuple[str, str]:
    return account.fail("InitiateAuth", **attempt(client, name, password))


# --- by password ------------------------------------------------------------------------------------------------------


def test_a_user_gets_three_tokens(account: PoolAccount) -> None:
    client = account.client(AccessTokenValidity=2, IdTokenValidity=10, TokenValidityUnits={"IdToken": "minutes"})
    email = [{"Name": "email", "Value": "ann@example.com"}, {"Name": "email_verified", "Value": "true"}]
    account.user(UserAttributes=email)
    answer = account.sign_in(client)
    assert answer["ChallengeParameters"] == {}
    tokens = answer["AuthenticationResult"]
    assert tokens.keys() == {"AccessToken", "IdToken", "RefreshToken", "ExpiresIn", "TokenType"}
    assert (tokens["ExpiresIn"], tokens["TokenType"]) == (7200, "Bearer")
    access, identity = _claims(account, tokens["AccessToken"]), _claims(account, tokens["IdToken"])
    now = int(account.clock.moment.timestamp())
    shared = {name: access[name] for name in ("sub", "iss", "origin_jti", "event_id", "auth_time", "iat")}
    assert (shared["auth_time"], shared["iat"]) == (now, now)
    assert access == {
        **shared,
        "client_id": client["ClientId"],
        "token_use": "access",
        "scope": "aws.cognito.signin.user.admin",
        "username": "ann",
        "exp": now + 7200,
        "jti": access["jti"],
    }
    assert identity == {
        **shared,
        "aud": client["ClientId"],
        "token_use": "id",
        "cognito:username": "ann",
        "email": "ann@example.com",
        "email_verified": True,
        "exp": now + 600,
        "jti": identity["jti"],
    }
    assert access["jti"] != identity["jti"]


def test_passwords_are_not_kept(account: PoolAccount) -> None:
    client = account.client()
    account.user()
    token = account.tokens(client)["RefreshToken"]
    rows = account.context.store._connection.execute("SELECT document FROM documents").fetchall()
    for (text,) in rows:
        assert PASSWORD not in text
        assert token not in text


def test_a_wrong_password_and_an_unknown_user_look_alike(account: PoolAccount) -> None:
    client, candid = account.client(), account.client(PreventUserExistenceErrors="LEGACY")
    account.user()
    assert _miss(account, client) == WRONG
    assert _miss(account, client, "bob") == WRONG
    assert _miss(account, candid) == WRONG
    assert _miss(account, candid, "bob") == ("UserNotFoundException", "User does not exist.")
    assert _miss(account, client, password="\ud800") == WRONG


def test_names_differ_by_case_only_where_the_pool_says_so(account: PoolAccount) -> None:
    account.user("Ann")
    client = account.client()
    assert _claims(account, account.tokens(client, "aNN")["AccessToken"])["username"] == "Ann"
    assert account.fail("AdminCreateUser", UserPoolId=account.id, Username="ANN", MessageAction="SUPPRESS") == (
        "UsernameExistsException",
        "User account already exists",
    )
    pool = account.call("CreateUserPool", PoolName="strict", UsernameConfiguration={"CaseSensitive": True})["UserPool"]
    for name in ("ann", "Ann"):
        account.call("AdminCreateUser", UserPoolId=pool["Id"], Username=name, MessageAction="SUPPRESS")
    assert account.call("DescribeUserPool", UserPoolId=pool["Id"])["UserPool"]["EstimatedNumberOfUsers"] == 2


@pytest.mark.parametrize("given", [{"USERNAME": "ann"}, {"PASSWORD": "x"}, {}, {"USERNAME": "", "PASSWORD": "x"}])
def test_both_are_needed(account: PoolAccount, given: dict[str, str]) -> None:
    missing = "USERNAME" if not given.get("USERNAME") else "PASSWORD"
    params = {"ClientId": account.client()["ClientId"], "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": given}
    expected = ("InvalidParameterException", f"Missing required parameter {missing}")
    assert account.fail("InitiateAuth", **params) == expected


def test_what_is_not_there_is_refused_by_name(account: PoolAccount) -> None:
    client = account.client()
    for flow in ("USER_SRP_AUTH", "CUSTOM_AUTH", "USER_AUTH", "ADMIN_USER_PASSWORD_AUTH"):
        code, message = account.fail("InitiateAuth", **{**attempt(client), "AuthFlow": flow})
        assert code == "InvalidParameterException"
        assert flow in message
    assert "DEVICE_KEY" in account.fail("InitiateAuth", **attempt(client, DEVICE_KEY="x"))[1]
    assert "ClientMetadata" in account.fail("InitiateAuth", **attempt(client), ClientMetadata={"a": "b"})[1]
    assert account.fail("InitiateAuth", **{**attempt(client), "ClientId": "nobody"}) == (
        "ResourceNotFoundException",
        "User pool client nobody does not exist.",
    )


def test_a_client_needs_the_flows(account: PoolAccount) -> None:
    client = account.client(ExplicitAuthFlows=["ALLOW_USER_SRP_AUTH"])
    account.user()
    for flow, params in (
        ("USER_PASSWORD_AUTH", attempt(client)),
        ("REFRESH_TOKEN_AUTH", refreshing(client, "x")),
    ):
        expected = ("InvalidParameterException", f"{flow} flow not enabled for this client")
        assert account.fail("InitiateAuth", **params) == expected


def test_a_client_with_a_secret_proves_that_it_knows_it(account: PoolAccount) -> None:
    client = account.client(GenerateSecret=True)
    account.user()
    name = client["ClientId"]

    def proof(username: str, secret: str = client["ClientSecret"]) -> str:
        return base64.b64encode(hmac.digest(secret.encode(), (username + name).encode(), "sha256")).decode()

    tokens = account.sign_in(client, SECRET_HASH=proof("ann"))["AuthenticationResult"]
    for more in ({"SECRET_HASH": proof("bob")}, {"SECRET_HASH": proof("ann", "x")}, {"SECRET_HASH": "é"}):
        assert account.fail("InitiateAuth", **attempt(client, **more)) == (
            "NotAuthorizedException",
            f"Unable to verify secret hash for client {name}",
        )
    lacking = ("NotAuthorizedException", f"Client {name} is configured with secret but SECRET_HASH was not received")
    assert account.fail("InitiateAuth", **attempt(client)) == lacking
    assert account.fail("InitiateAuth", **refreshing(client, tokens["RefreshToken"])) == lacking
    again = account.call("InitiateAuth", **refreshing(client, tokens["RefreshToken"], SECRET_HASH=proof("ann")))
    assert "AccessToken" in again["AuthenticationResult"]
    without = account.client()
    assert account.fail("InitiateAuth", **attempt(without, SECRET_HASH="x"))[1].startswith("Client")


# --- failures ---------------------------------------------------------------------------------------------------------


def test_after_five_failures_each_makes_the_user_wait_longer(account: PoolAccount) -> None:
    client = account.client()
    account.user()
    for _ in range(5):
        assert _miss(account, client) == WRONG
    for seconds in (1, 2, 4):
        # The right password, and any number of attempts, change nothing.
        for password in (PASSWORD, "wrong", PASSWORD):
            assert _miss(account, client, password=password) == LOCKED
        account.wait(seconds=seconds, milliseconds=-1)
        assert _miss(account, client) == LOCKED
        account.wait(milliseconds=1)
        assert _miss(account, client) == WRONG
    account.wait(seconds=8)
    account.tokens(client)
    for _ in range(4):
        assert _miss(account, client) == WRONG
    account.tokens(client)


def test_the_wait_is_a_quarter_of_an_hour_at_most(account: PoolAccount) -> None:
    client = account.client()
    account.user()
    key = f"{account.id}/ann"
    now = account.clock.moment
    account.context.store.put("cognito/attempts", key, {"Count": 40, "Until": now, "Last": now})
    assert _miss(account, client) == WRONG
    account.wait(minutes=14, seconds=59)
    assert _miss(account, client, password=PASSWORD) == LOCKED
    account.wait(seconds=1)
    account.tokens(client)


def test_a_quarter_of_an_hour_without_attempts_sets_it_back(account: PoolAccount) -> None:
    client = account.client()
    account.user()
    for _ in range(5):
        _miss(account, client)
    account.wait(minutes=15)
    for _ in range(5):
        assert _miss(account, client) == WRONG
    assert _miss(account, client) == LOCKED


def test_attempts_while_locked_out_are_attempts(account: PoolAccount) -> None:
    client = account.client()
    account.user()
    now = account.clock.moment
    account.context.store.put("cognito/attempts", f"{account.id}/ann", {"Count": 40, "Until": now, "Last": now})
    _miss(account, client)
    account.wait(minutes=10)
    assert _miss(account, client) == LOCKED
    account.wait(minutes=5)
    assert _miss(account, client) == WRONG
    assert _miss(account, client) == LOCKED


def test_one_users_failures_are_not_anothers(account: PoolAccount) -> None:
    client = account.client()
    account.user()
    account.user("bob")
    for _ in range(5):
        _miss(account, client)
    assert _miss(account, client, password=PASSWORD) == LOCKED
    account.tokens(client, "bob")


def test_many_at_once_are_no_way_around_the_count(account: PoolAccount) -> None:
    client = account.client()
    account.user()

    def miss(_: int) -> str:
        try:
            account.sign_in(client, password="wrong")
        except ServiceError as error:
            return error.message
        return ""

    with ThreadPoolExecutor(10) as pool:
        messages = list(pool.map(miss, range(10)))
    assert (messages.count(WRONG[1]), messages.count(LOCKED[1])) == (5, 5)


def test_attempts_of_nobody_leave_nothing_behind(account: PoolAccount) -> None:
    client = account.client()
    for index in range(7):
        assert _miss(account, client, f"nobody-{index % 2}") == WRONG
    assert account.context.store.list("cognito/attempts") == []


# --- temporary passwords ----------------------------------------------------------------------------------------------


def _answered(account: PoolAccount, client: Document, session: str, **given: str) -> Document:
    responses = {"USERNAME": "ann", "NEW_PASSWORD": NEW, **given}
    return {
        "ClientId": client["ClientId"],
        "ChallengeName": "NEW_PASSWORD_REQUIRED",
        "Session": session,
        "ChallengeResponses": {name: value for name, value in responses.items() if value},
    }


def test_a_temporary_password_is_changed_before_there_are_tokens(account: PoolAccount) -> None:
    client = account.client()
    email = [{"Name": "email", "Value": "ann@example.com"}]
    made = account.invite(TemporaryPassword=PASSWORD, UserAttributes=email)["User"]
    assert made["UserStatus"] == "FORCE_CHANGE_PASSWORD"
    challenge = account.sign_in(client)
    assert challenge["ChallengeName"] == "NEW_PASSWORD_REQUIRED"
    assert json.loads(challenge["ChallengeParameters"]["userAttributes"]) == {"email": "ann@example.com"}
    session = challenge["Session"]
    weak = account.fail("RespondToAuthChallenge", **_answered(account, client, session, NEW_PASSWORD="short"))
    assert weak == ("InvalidPasswordException", "Password did not conform with policy: Password not long enough")
    answer = account.call("RespondToAuthChallenge", **_answered(account, client, session))
    assert _claims(account, answer["AuthenticationResult"]["AccessToken"])["username"] == "ann"
    again = account.fail("RespondToAuthChallenge", **_answered(account, client, session))
    assert again == ("NotAuthorizedException", "Invalid session for the user.")
    assert account.call("AdminGetUser", UserPoolId=account.id, Username="ann")["UserStatus"] == "CONFIRMED"
    assert _miss(account, client, password=PASSWORD) == WRONG
    account.tokens(client, password=NEW)


def test_a_challenge_is_answered_in_time_and_by_whom_it_was_put_to(account: PoolAccount) -> None:
    client, other = account.client(AuthSessionValidity=5), account.client()
    account.invite(TemporaryPassword=PASSWORD)
    account.user("bob")
    session = account.sign_in(client)["Session"]
    void = ("NotAuthorizedException", "Invalid session for the user.")
    assert account.fail("RespondToAuthChallenge", **_answered(account, other, session)) == void
    assert account.fail("RespondToAuthChallenge", **_answered(account, client, "x" * 20)) == void
    assert account.fail("RespondToAuthChallenge", **_answered(account, client, session, USERNAME="bob")) == void
    for name in ("USERNAME", "NEW_PASSWORD"):
        code, message = account.fail("RespondToAuthChallenge", **_answered(account, client, session, **{name: ""}))
        assert (code, message) == ("InvalidParameterException", f"Missing required parameter {name}")
    wrong = {**_answered(account, client, session), "ChallengeName": "SMS_MFA"}
    assert "SMS_MFA" in account.fail("RespondToAuthChallenge", **wrong)[1]
    account.wait(minutes=5)
    expired = account.fail("RespondToAuthChallenge", **_answered(account, client, session))
    assert expired == ("NotAuthorizedException", "Invalid session for the user, session is expired.")


def test_of_two_answers_at_once_one_counts(account: PoolAccount) -> None:
    client = account.client()
    account.invite(TemporaryPassword=PASSWORD)
    session = account.sign_in(client)["Session"]
    users = account.cognito._authentication._users
    check = users.check_password

    def answered_meanwhile(pool_id: str, password: str) -> None:
        users.check_password = check  # type: ignore[method-assign]
        account.call("RespondToAuthChallenge", **_answered(account, client, session, NEW_PASSWORD="First-horse-1"))

    users.check_password = answered_meanwhile  # type: ignore[method-assign]
    late = account.fail("RespondToAuthChallenge", **_answered(account, client, session))
    assert late == ("NotAuthorizedException", "Invalid session for the user.")
    account.tokens(client, password="First-horse-1")


@pytest.mark.parametrize("what", ["AdminSetUserPassword", "AdminDisableUser", "AdminDeleteUser"])
def test_what_an_administrator_does_meanwhile_ends_a_challenge(account: PoolAccount, what: str) -> None:
    client = account.client()
    account.invite(TemporaryPassword=PASSWORD)
    session = account.sign_in(client)["Session"]
    more: Document = {"Password": "Third-horse-3"} if what == "AdminSetUserPassword" else {}
    account.call(what, UserPoolId=account.id, Username="ann", **more)
    code, _ = account.fail("RespondToAuthChallenge", **_answered(account, client, session))
    assert code == "NotAuthorizedException"


def test_a_temporary_password_expires(account: PoolAccount) -> None:
    client = account.client()
    account.invite(TemporaryPassword=PASSWORD)
    account.wait(days=7)
    assert _miss(account, client, password=PASSWORD) == (
        "NotAuthorizedException",
        "Temporary password has expired and must be reset by an administrator.",
    )
    account.call("AdminSetUserPassword", UserPoolId=account.id, Username="ann", Password=NEW)
    assert account.sign_in(client, password=NEW)["ChallengeName"] == "NEW_PASSWORD_REQUIRED"


# --- sessions ---------------------------------------------------------------------------------------------------------


def test_a_session_gets_new_tokens_until_it_ends(account: PoolAccount) -> None:
    client = account.client(RefreshTokenValidity=2, TokenValidityUnits={"RefreshToken": "hours"})
    account.user()
    first = account.tokens(client)
    account.wait(hours=1, minutes=59)
    answer = account.call("InitiateAuth", **refreshing(client, first["RefreshToken"]))["AuthenticationResult"]
    assert "RefreshToken" not in answer
    before, after = (account.cognito._verifier._signed(account.id, one["AccessToken"]) for one in (first, answer))
    for name in ("origin_jti", "auth_time", "event_id", "sub"):
        assert before[name] == after[name]
    assert before["jti"] != after["jti"]
    assert after["iat"] == before["iat"] + 7140
    alias = {**refreshing(client, first["RefreshToken"]), "AuthFlow": "REFRESH_TOKEN"}
    assert account.call("InitiateAuth", **alias)
    account.wait(minutes=1)
    expired = account.fail("InitiateAuth", **refreshing(client, first["RefreshToken"]))
    assert expired == ("NotAuthorizedException", "Refresh Token has expired")


def test_no_other_refresh_token_does(account: PoolAccount) -> None:
    client, other = account.client(), account.client()
    account.user()
    token = account.tokens(client)["RefreshToken"]
    content = bytearray(base64.urlsafe_b64decode(token))
    content[-1] ^= 1
    forged = base64.urlsafe_b64encode(bytes(content)).decode()
    void = ("NotAuthorizedException", "Invalid Refresh Token")
    for wrong in (forged, token[:-1], token[:-4], token + "AAAA", "x", "a.b.c", account.tokens(client)["AccessToken"]):
        assert account.fail("InitiateAuth", **refreshing(client, wrong)) == void
    assert account.fail("InitiateAuth", **refreshing(other, token)) == void


def test_a_session_that_is_revoked_gets_nothing_more(account: PoolAccount) -> None:
    client = account.client()
    account.user()
    first, second = account.tokens(client), account.tokens(client)
    assert account.call("RevokeToken", ClientId=client["ClientId"], Token=first["RefreshToken"]) == {}
    assert account.call("RevokeToken", ClientId=client["ClientId"], Token=first["RefreshToken"]) == {}
    refused = account.fail("InitiateAuth", **refreshing(client, first["RefreshToken"]))
    assert refused == ("NotAuthorizedException", "Refresh Token has been revoked")
    assert account.call("InitiateAuth", **refreshing(client, second["RefreshToken"]))
    # Who checks the signature alone, as API Gateway does, takes it until it expires; Cognito itself does not.
    assert _claims(account, first["AccessToken"])["username"] == "ann"
    own = account.fail("GlobalSignOut", AccessToken=first["AccessToken"])
    assert own == ("NotAuthorizedException", "Access Token has been revoked")


def test_what_cannot_be_revoked(account: PoolAccount) -> None:
    client, lasting = account.client(), account.client(EnableTokenRevocation=False)
    secretive = account.application()
    account.user()
    tokens, kept = account.tokens(client), account.tokens(lasting)
    assert "origin_jti" not in _claims(account, kept["AccessToken"])
    name = client["ClientId"]
    for params, code in (
        ({"ClientId": lasting["ClientId"], "Token": kept["RefreshToken"]}, "UnsupportedOperationException"),
        ({"ClientId": name, "Token": tokens["AccessToken"]}, "UnsupportedTokenTypeException"),
        ({"ClientId": name, "Token": "x"}, "InvalidParameterException"),
        ({"ClientId": "nobody", "Token": tokens["RefreshToken"]}, "UnauthorizedException"),
        ({"ClientId": secretive["ClientId"], "Token": "x"}, "UnauthorizedException"),
        ({"ClientId": secretive["ClientId"], "Token": "x", "ClientSecret": "y" * 24}, "UnauthorizedException"),
        (
            {"ClientId": secretive["ClientId"], "Token": "x", "ClientSecret": secretive["ClientSecret"]},
            "InvalidParameterException",
        ),
    ):
        assert account.fail("RevokeToken", **params)[0] == code


def test_signing_out_ends_all_sessions_of_the_user(account: PoolAccount) -> None:
    client, other = account.client(), account.client()
    account.user()
    account.user("bob")
    sessions = [(client, account.tokens(client)), (other, account.tokens(other))]
    bob = account.tokens(client, "bob")
    assert account.call("GlobalSignOut", AccessToken=sessions[0][1]["AccessToken"]) == {}
    for one, tokens in sessions:
        assert account.fail("InitiateAuth", **refreshing(one, tokens["RefreshToken"]))[1].endswith("revoked")
        assert account.fail("GlobalSignOut", AccessToken=tokens["AccessToken"])[1].endswith("revoked")
    assert account.call("InitiateAuth", **refreshing(client, bob["RefreshToken"]))
    assert account.tokens(client)


def test_who_may_sign_out(account: PoolAccount) -> None:
    client = account.client()
    account.user()
    tokens = account.tokens(client)
    machine = account.granted(account.application())["access_token"]
    for token, message in (
        (tokens["IdToken"], "Invalid Access Token"),
        (tokens["AccessToken"][:-2], "Invalid Access Token"),
        ("x", "Invalid Access Token"),
        ("a.b.c", "Invalid Access Token"),
        ("." * 30_000, "Invalid Access Token"),
        (machine, "Access Token does not have required scopes"),
    ):
        assert account.fail("GlobalSignOut", AccessToken=token) == ("NotAuthorizedException", message)
    account.wait(hours=1)
    expired = account.fail("GlobalSignOut", AccessToken=tokens["AccessToken"])
    assert expired == ("NotAuthorizedException", "Access Token has expired")


def test_a_disabled_user_gets_nothing_new(account: PoolAccount) -> None:
    client = account.client()
    account.user()
    tokens = account.tokens(client)
    user = {"UserPoolId": account.id, "Username": "ann"}
    account.call("AdminDisableUser", **user)
    assert _miss(account, client, password=PASSWORD) == ("NotAuthorizedException", "User is disabled.")
    assert _miss(account, client) == WRONG
    assert account.fail("InitiateAuth", **refreshing(client, tokens["RefreshToken"]))[0] == "NotAuthorizedException"
    assert _claims(account, tokens["AccessToken"])["username"] == "ann"
    account.call("AdminEnableUser", **user)
    assert account.fail("InitiateAuth", **refreshing(client, tokens["RefreshToken"]))[1].endswith("revoked")
    assert account.tokens(client)


def test_a_deleted_users_sessions_are_not_the_next_ones(account: PoolAccount) -> None:
    client = account.client()
    account.user()
    tokens = account.tokens(client)
    account.call("AdminDeleteUser", UserPoolId=account.id, Username="ann")
    assert account.context.store.list("cognito/session") == []
    account.user()
    refused = account.fail("InitiateAuth", **refreshing(client, tokens["RefreshToken"]))
    assert refused == ("NotAuthorizedException", "Invalid Refresh Token")


def test_a_session_is_of_one_user_and_not_of_a_name(account: PoolAccount) -> None:
    client = account.client()
    account.user()
    token = account.tokens(client)["RefreshToken"]
    account.context.store.delete("cognito/user", f"{account.id}/ann")
    void = ("NotAuthorizedException", "Invalid Refresh Token")
    assert account.fail("InitiateAuth", **refreshing(client, token)) == void
    account.user()
    assert account.fail("InitiateAuth", **refreshing(client, token)) == void


def test_a_restart_forgets_what_is_over_and_keeps_the_rest(account: PoolAccount) -> None:
    client = account.client(RefreshTokenValidity=1)
    account.user()
    account.invite("bob", TemporaryPassword=PASSWORD)
    old, store = account.tokens(client), account.context.store
    account.sign_in(client, "bob")
    account.wait(hours=23)
    young = account.tokens(client)
    account.wait(hours=1)
    account.cognito.stop()
    again = cheap(account.context)
    again.start()
    assert len(store.list("cognito/session")) == 1
    assert store.list("cognito/challenge") == []
    account.cognito = again
    assert account.fail("InitiateAuth", **refreshing(client, old["RefreshToken"]))[1] == "Invalid Refresh Token"
    found = account.call("InitiateAuth", **refreshing(client, young["RefreshToken"]))["AuthenticationResult"]
    assert _claims(account, found["AccessToken"])["username"] == "ann"


def test_another_localcloud_over_the_same_state_takes_the_tokens(account: PoolAccount, tmp_path: Path) -> None:
    token = account.granted(account.application())["access_token"]
    account.context.store.close()
    assert cheap(surroundings(tmp_path, account.clock)).verify(account.arn, token)
