"""Which tokens count: those of the pool's own key, as they were signed, while they are valid. No others."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from hypothesis import given
from hypothesis import strategies as st

from localcloud.cognito.tokens import TokenRefused
from tests.localcloud.cognito.pool_account import PoolAccount

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."


class Shared:
    """One account for the tests that change nothing of it, and a token of it that counts."""

    def __init__(self, folder: Path) -> None:
        self.account = PoolAccount(folder)
        self.client = self.account.application()
        self.token: str = self.account.granted(self.client)["access_token"]
        self.claims = dict(self.account.cognito.verify(self.account.arn, self.token))
        keys = json.loads(self.account.page("/.well-known/jwks.json").body)["keys"]
        self.kid: str = keys[0]["kid"]
        self.public = jwt.PyJWK(keys[0]).key

    def refused(self, token: str) -> TokenRefused:
        with pytest.raises(TokenRefused) as caught:
            self.account.cognito.verify(self.account.arn, token)
        return caught.value


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    return Shared(tmp_path_factory.mktemp("tokens"))


@pytest.fixture(scope="module")
def stranger() -> RSAPrivateKey:
    return generate_private_key(65537, 2048)


def test_a_token_of_an_application_says_what_it_may(shared: Shared) -> None:
    now = int(shared.account.clock.moment.timestamp())
    identifier = shared.client["ClientId"]
    assert len(shared.claims.pop("jti")) == 36
    assert shared.claims == {
        "sub": identifier,
        "client_id": identifier,
        "token_use": "access",
        "scope": "api/predict api/feedback",
        "auth_time": now,
        "iat": now,
        "exp": now + 3600,
        "iss": f"http://127.0.0.1:1/_aws/cognito-idp/{shared.account.id}",
        "version": 2,
    }
    assert jwt.get_unverified_header(shared.token) == {"alg": "RS256", "kid": shared.kid}


def test_anyone_can_check_it_by_the_keys_that_the_pool_publishes(shared: Shared) -> None:
    document = json.loads(shared.account.page("/.well-known/openid-configuration").body)
    assert document["jwks_uri"].endswith(f"/_aws/cognito-idp/{shared.account.id}/.well-known/jwks.json")
    assert document["token_endpoint"] == "http://127.0.0.1:1/_aws/auth/people/oauth2/token"
    found = jwt.decode(
        shared.token, shared.public, algorithms=["RS256"], issuer=document["issuer"], options={"verify_exp": False}
    )
    assert found["client_id"] == shared.client["ClientId"]


def test_what_verify_gives_is_the_callers_own(shared: Shared) -> None:
    claims = dict(shared.account.cognito.verify(shared.account.arn, shared.token))
    shared.account.cognito.verify(shared.account.arn, shared.token)["scope"] = "all"  # type: ignore[index]
    assert shared.account.cognito.verify(shared.account.arn, shared.token) == claims


def _encoded(value: Any) -> str:
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _signed(shared: Shared, key: Any, algorithm: str = "RS256", headers: Any = None, **claims: Any) -> str:
    return jwt.encode({**shared.claims, **claims}, key, algorithm, headers={"kid": shared.kid, **(headers or {})})


def test_forged_tokens_are_refused(shared: Shared, stranger: RSAPrivateKey) -> None:
    header, payload, signature = shared.token.split(".")
    public = shared.public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    other = {**json.loads(base64.urlsafe_b64decode(payload + "==")), "scope": "api/everything"}
    by_secret = _encoded({"alg": "HS256", "kid": shared.kid}) + "." + payload
    mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    forged = {
        "no signature": f"{_encoded({'alg': 'none', 'kid': shared.kid})}.{payload}.",
        "no signature, in capitals": f"{_encoded({'alg': 'NONE', 'kid': shared.kid})}.{payload}.{signature}",
        "the public key as a secret": f"{by_secret}.{_encoded(mac.sign(by_secret.encode(), public))}",
        "somebody else's key": _signed(shared, stranger),
        "somebody else's key, which the token brings": _signed(
            shared, stranger, headers={"jwk": jwt.algorithms.RSAAlgorithm.to_jwk(stranger.public_key(), as_dict=True)}
        ),
        "another algorithm": _signed(shared, stranger, "PS256"),
        "another payload": f"{header}.{_encoded(other)}.{signature}",
        "no kid": f"{_encoded({'alg': 'RS256'})}.{payload}.{signature}",
        "another kid": f"{_encoded({'alg': 'RS256', 'kid': 'x'})}.{payload}.{signature}",
        "padding": f"{shared.token}==",
        "blanks": f" {shared.token}",
        "a new line": f"{shared.token}\n",
        "not ASCII": f"{shared.token}é",
        "a lone surrogate": f"{shared.token}\ud800",
        "no third part": f"{header}.{payload}",
        "four parts": f"{shared.token}.x",
        "empty parts": "..",
        "nothing": "",
        "a header that is a list": f"{_encoded([])}.{payload}.{signature}",
        "a deep header": f"{_encoded(b'[' * 3000)}.{payload}.{signature}",
        "100 kB": "a" * 100_000,
        "100 kB, with dots": f"{header}.{'a' * 100_000}.{signature}",
    }
    for kind, token in forged.items():
        refused = shared.refused(token)
        assert (str(refused), refused.expired) == ("Unauthorized", False), kind
        assert refused.reason != "Unauthorized", kind
        # What is that long is not even looked at.
        assert ("16384 at most" in refused.reason) == ("100 kB" in kind), kind


@given(st.data())
def test_no_mutated_token_counts(shared: Shared, data: st.DataObject) -> None:
    token = shared.token
    at = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from(_LETTERS).filter(lambda one: one != token[at]))
    before, after = token[:at], token[at + 1 :]
    mutated = data.draw(
        st.sampled_from([before + letter + after, before + after, before + letter + token[at:], before])
    )
    if mutated != token:
        assert str(shared.refused(mutated)) == "Unauthorized"


@given(st.text(max_size=200))
def test_no_text_counts(shared: Shared, text: str) -> None:
    assert str(shared.refused(text)) == "Unauthorized"


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_somewhere"},
        {"iss": ""},
        {"token_use": "refresh"},
        {"token_use": None},
        {"client_id": "somebodyelse"},
        {"client_id": ["a"]},
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": True},
        {"nbf": "0"},
        {"nbf": 9999999999},
    ],
    ids=str,
)
def test_the_pools_signature_alone_is_not_enough(shared: Shared, claims: dict[str, Any]) -> None:
    key = shared.account.cognito._verifier._keys.of(shared.account.id)
    assert key is not None
    assert str(shared.refused(_signed(shared, key.private, **claims))) == "Unauthorized"


def test_a_key_counts_under_its_own_name_only(shared: Shared) -> None:
    key = shared.account.cognito._verifier._keys.of(shared.account.id)
    assert key is not None
    assert shared.account.cognito.verify(shared.account.arn, _signed(shared, key.private))
    for headers in ({"kid": "x"}, {"alg": "RS512"}):
        assert not shared.refused(_signed(shared, key.private, headers.get("alg", "RS256"), headers)).expired


def test_a_token_is_written_in_one_way_only(shared: Shared) -> None:
    """256 bytes fill 341 letters and a third of the next: of sixteen letters that mean the same there, one counts."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    at = alphabet.index(shared.token[-1])
    assert at % 16 == 0
    signature = shared.token.rpartition(".")[2]
    for letter in alphabet[at + 1 : at + 16]:
        assert base64.urlsafe_b64decode(signature[:-1] + letter + "==") == base64.urlsafe_b64decode(signature + "==")
        shared.refused(shared.token[:-1] + letter)


def test_a_token_counts_in_its_own_pool_only(account: PoolAccount) -> None:
    token = account.granted(account.application())["access_token"]
    other = account.call("CreateUserPool", PoolName="other")["UserPool"]
    for arn in (other["Arn"], account.arn + "x", account.arn.replace("123456789012", "210987654321"), account.id, ""):
        with pytest.raises(TokenRefused, match="Unauthorized"):
            account.cognito.verify(arn, token)
    assert account.cognito.verify(account.arn, token)


def test_a_token_expires_by_the_clock_although_it_is_known(account: PoolAccount) -> None:
    token = account.granted(account.application(AccessTokenValidity=5, TokenValidityUnits={"AccessToken": "minutes"}))
    account.wait(seconds=299)
    assert account.cognito.verify(account.arn, token["access_token"])
    account.wait(seconds=1)
    for _ in range(2):
        with pytest.raises(TokenRefused, match="The incoming token has expired") as caught:
            account.cognito.verify(account.arn, token["access_token"])
        assert caught.value.expired


def test_an_expired_token_that_is_forged_is_called_forged(shared: Shared, stranger: RSAPrivateKey) -> None:
    assert not shared.refused(_signed(shared, stranger, exp=1)).expired


def test_a_token_ends_with_its_client(account: PoolAccount) -> None:
    client = account.application()
    token = account.granted(client)["access_token"]
    assert account.cognito.verify(account.arn, token)
    account.call("DeleteUserPoolClient", UserPoolId=account.id, ClientId=client["ClientId"])
    with pytest.raises(TokenRefused, match="Unauthorized"):
        account.cognito.verify(account.arn, token)


def test_a_token_ends_with_its_pool(account: PoolAccount) -> None:
    token = account.granted(account.application())["access_token"]
    assert account.cognito.verify(account.arn, token)
    account.call("DeleteUserPoolDomain", UserPoolId=account.id, Domain="people")
    account.call("DeleteUserPool", UserPoolId=account.id)
    with pytest.raises(TokenRefused, match="Unauthorized"):
        account.cognito.verify(account.arn, token)
    assert account.page("/.well-known/jwks.json").status == 404


def test_what_was_checked_while_a_client_was_deleted_is_not_remembered(account: PoolAccount) -> None:
    client = account.application()
    token = account.granted(client)["access_token"]
    verifier = account.cognito._verifier
    has_client = verifier._has_client

    def deleted_meanwhile(pool_id: str, client_id: str) -> bool:
        found = has_client(pool_id, client_id)
        account.call("DeleteUserPoolClient", UserPoolId=account.id, ClientId=client["ClientId"])
        return found

    verifier._has_client = deleted_meanwhile
    assert account.cognito.verify(account.arn, token)
    verifier._has_client = has_client
    with pytest.raises(TokenRefused):
        account.cognito.verify(account.arn, token)


def test_what_is_remembered_is_bounded(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localcloud.cognito.tokens._MOST_KNOWN", 3)
    for _ in range(10):
        shared.account.cognito.verify(shared.account.arn, shared.account.granted(shared.client)["access_token"])
        assert len(shared.account.cognito._verifier._known) <= 3


@pytest.mark.parametrize("path", ["", "/", "/.well-known", "/.well-known/jwks.json/", "/oauth2/token"])
def test_a_pool_has_no_other_pages(shared: Shared, path: str) -> None:
    assert shared.account.page(path).status == 404


def test_the_keys_are_read_only_and_public(shared: Shared) -> None:
    assert shared.account.page("/.well-known/jwks.json", "POST").status == 405
    assert shared.account.page("/.well-known/jwks.json", pool_id="eu-west-1_nothing").status == 404
    (key,) = json.loads(shared.account.page("/.well-known/jwks.json").body)["keys"]
    assert key.keys() == {"alg", "e", "kid", "kty", "n", "use"}
