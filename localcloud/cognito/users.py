"""Users of a pool, as an administrator handles them: made, found, listed, disabled and deleted."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

from localcloud.cognito import passwords
from localcloud.cognito.errors import Settings, invalid, page, refuse
from localcloud.cognito.pools import ATTEMPTS, SESSION, USER, Pools
from localcloud.cognito.sessions import Sessions
from localcloud.context import Context, Request
from localcloud.errors import ServiceError

Document = dict[str, Any]
CONFIRMED, FORCE_CHANGE_PASSWORD = "CONFIRMED", "FORCE_CHANGE_PASSWORD"

_NOT_HERE: Settings = {
    "ValidationData": ([],),
    "ClientMetadata": ({},),
    "ForceAliasCreation": (False,),
    "DesiredDeliveryMediums": ([],),
}
_SUB = "sub"
_ATTRIBUTES = frozenset(
    {
        "address",
        "birthdate",
        "email",
        "email_verified",
        "family_name",
        "gender",
        "given_name",
        "locale",
        "middle_name",
        "name",
        "nickname",
        "phone_number",
        "phone_number_verified",
        "picture",
        "preferred_username",
        "profile",
        "updated_at",
        "website",
        "zoneinfo",
    }
)
_FORMATS = {
    "email": (re.compile(r"[^\s@]+@[^\s@]+"), "Invalid email address format."),
    "phone_number": (re.compile(r"\+[1-9]\d{0,14}", re.ASCII), "Invalid phone number format."),
    "email_verified": (re.compile("true|false"), "email_verified must be true or false"),
    "phone_number_verified": (re.compile("true|false"), "phone_number_verified must be true or false"),
}
_FILTER = re.compile(r'\s*"?(?P<name>[\w:]+)"?\s*(?P<how>\^?=)\s*"(?P<value>(?:[^"\\]|\\.)*)"\s*', re.DOTALL)
_FILTERED = (
    "username", "email", "phone_number", "name", "given_name", "family_name", "preferred_username",
    "cognito:user_status", "status", _SUB,
)  # fmt: skip


class Users:
    """The operations on users."""

    def __init__(self, context: Context, pools: Pools, sessions: Sessions, password_cost: int) -> None:
        self._context, self._pools, self._sessions, self._cost = context, pools, sessions, password_cost

    def key(self, pool_id: str, username: str) -> str:
        """Where a user of that name is in the store, whether there is one or not. Raises ResourceNotFoundException."""
        case_sensitive = self._pools.named(pool_id)["UsernameConfiguration"]["CaseSensitive"]
        return f"{pool_id}/{username if case_sensitive else username.lower()}"

    def find(self, pool_id: str, username: str) -> Document | None:
        """The stored document of a user; None if there is none of that name."""
        return self._context.store.get(USER, self.key(pool_id, username))

    def has_password(self, user: Document | None, password: str) -> bool:
        """Whether that is a user's password; it takes as long to say so of nobody."""
        return passwords.matches(password, user["Password"] if user else None, self._cost)

    def create(self, request: Request) -> dict[str, Any]:
        """AdminCreateUser: with a temporary password."""
        params = request.params
        refuse("users", params, _NOT_HERE)
        if params.get("MessageAction") != "SUPPRESS":
            raise invalid(
                "localcloud sends no invitations: the MessageAction of a new user must be 'SUPPRESS'; got"
                f" {params.get('MessageAction')!r}"
            )
        pool_id, now = params["UserPoolId"], self._context.clock.now()
        policy = self._policy(pool_id)
        password = params.get("TemporaryPassword") or passwords.generate(policy)
        passwords.check(policy, password)
        document: Document = {
            "Username": params["Username"],
            "Sub": str(uuid.uuid4()),
            "Attributes": _attributes(params.get("UserAttributes", ())),
            "Enabled": True,
            **self._temporary(policy, password),
            "CreationDate": now,
            "LastModifiedDate": now,
        }
        with self._context.store.transaction():
            key = self.key(pool_id, params["Username"])
            if not self._context.store.put(USER, key, document, if_absent=True):
                raise ServiceError("UsernameExistsException", "User account already exists")
        return {"User": _described(document)}

    def get(self, request: Request) -> dict[str, Any]:
        """AdminGetUser."""
        found = _described(self._named(request))
        found["UserAttributes"] = found.pop("Attributes")
        return found

    def set_password(self, request: Request) -> dict[str, Any]:
        """AdminSetUserPassword: a temporary one, unless it says Permanent."""
        params = request.params
        policy, password = self._policy(params["UserPoolId"]), params["Password"]
        self._named(request)
        passwords.check(policy, password)
        if params.get("Permanent"):
            self.set_permanent(params["UserPoolId"], params["Username"], password)
        else:
            settings = self._temporary(policy, password)
            self._change(request, lambda document: {**document, **settings})
        return {}

    def check_password(self, pool_id: str, password: str) -> None:
        """Raise InvalidPasswordException unless a pool allows a password."""
        passwords.check(self._policy(pool_id), password)

    def set_permanent(self, pool_id: str, username: str, password: str) -> Document:
        """Give a user a password for good, which the pool allows; gives the new document."""
        settings = {"Status": CONFIRMED, "Password": passwords.hashed(password, self._cost), "TemporaryUntil": None}
        return self._changed(pool_id, username, lambda document: {**document, **settings})

    def enable(self, request: Request) -> dict[str, Any]:
        """AdminEnableUser."""
        self._change(request, lambda document: {**document, "Enabled": True})
        return {}

    def disable(self, request: Request) -> dict[str, Any]:
        """AdminDisableUser: who is signed in gets no new tokens, and does not when enabled again."""
        document = self._change(request, lambda document: {**document, "Enabled": False})
        self._sessions.revoke_all(request.params["UserPoolId"], document["Sub"])
        return {}

    def delete(self, request: Request) -> dict[str, Any]:
        """AdminDeleteUser."""
        pool_id, store = request.params["UserPoolId"], self._context.store
        with store.transaction():
            document = self._named(request)
            key = self.key(pool_id, document["Username"])
            for session, _ in store.list(SESSION, f"{pool_id}/{document['Sub']}/"):
                store.delete(SESSION, session)
            store.delete(ATTEMPTS, key)
            store.delete(USER, key)
        return {}

    def list(self, request: Request) -> dict[str, Any]:
        """ListUsers."""
        params = request.params
        self._pools.named(params["UserPoolId"])
        chosen = _filter(params.get("Filter"))
        documents = [one for _, one in self._context.store.list(USER, f"{params['UserPoolId']}/") if chosen(one)]
        # Zero asks for the default, as on AWS.
        size = params.get("Limit") or 60
        found, token = page("ListUsers", documents, size, params.get("PaginationToken"), "Sub")
        wanted = params.get("AttributesToGet")
        return {"Users": [_described(document, wanted) for document in found], "PaginationToken": token}

    def _policy(self, pool_id: str) -> Mapping[str, Any]:
        policy: Mapping[str, Any] = self._pools.named(pool_id)["Policies"]["PasswordPolicy"]
        return policy

    def _temporary(self, policy: Mapping[str, Any], password: str) -> Document:
        days = policy["TemporaryPasswordValidityDays"]
        return {
            "Status": FORCE_CHANGE_PASSWORD,
            "Password": passwords.hashed(password, self._cost),
            "TemporaryUntil": self._context.clock.now() + timedelta(days=days),
        }

    def _named(self, request: Request) -> Document:
        document = self.find(request.params["UserPoolId"], request.params["Username"])
        if document is None:
            raise missing_user()
        return document

    def _change(self, request: Request, function: Callable[[Document], Document]) -> Document:
        return self._changed(request.params["UserPoolId"], request.params["Username"], function)

    def _changed(self, pool_id: str, username: str, function: Callable[[Document], Document]) -> Document:
        now = self._context.clock.now()
        try:
            return self._context.store.update(
                USER, self.key(pool_id, username), lambda document: {**function(document), "LastModifiedDate": now}
            )
        except KeyError:
            raise missing_user() from None


def missing_user() -> ServiceError:
    """There is no such user."""
    return ServiceError("UserNotFoundException", "User does not exist.")


def _attributes(given: Iterable[Mapping[str, str]]) -> dict[str, str]:
    found = {attribute["Name"]: attribute.get("Value", "") for attribute in given}
    for name, value in found.items():
        if name not in _ATTRIBUTES:
            raise invalid(f"Attributes did not conform to the schema: {name}: Attribute does not exist in the schema.")
        pattern, complaint = _FORMATS.get(name, (None, ""))
        if pattern is not None and not pattern.fullmatch(value):
            raise invalid(complaint)
    return found


def _described(document: Document, wanted: Iterable[str] | None = None) -> dict[str, Any]:
    attributes = {_SUB: document["Sub"], **document["Attributes"]}
    names = attributes.keys() if wanted is None else [name for name in wanted if name in attributes]
    return {
        "Username": document["Username"],
        "Attributes": [{"Name": name, "Value": attributes[name]} for name in names],
        "UserCreateDate": document["CreationDate"],
        "UserLastModifiedDate": document["LastModifiedDate"],
        "Enabled": document["Enabled"],
        "UserStatus": document["Status"],
    }


def _filter(text: str | None) -> Callable[[Document], bool]:
    """The filter of a list. Raises InvalidParameterException."""
    if not text:
        return lambda _: True
    found = _FILTER.fullmatch(text)
    if found is None:
        raise invalid(f'Error while parsing filter: expected name = "value" or name ^= "value"; got {text!r}')
    name, value = found["name"], re.sub(r"\\(.)", r"\1", found["value"], flags=re.DOTALL)
    if name not in _FILTERED:
        raise invalid(f"Error while parsing filter: expected one of {', '.join(_FILTERED)}; got {name!r}")
    is_prefix = found["how"] == "^="

    def chosen(document: Document) -> bool:
        values = {
            **document["Attributes"],
            "username": document["Username"],
            "cognito:user_status": document["Status"],
            "status": "Enabled" if document["Enabled"] else "Disabled",
            _SUB: document["Sub"],
        }
        actual = values.get(name)
        return actual is not None and (actual.startswith(value) if is_prefix else actual == value)

    return chosen
