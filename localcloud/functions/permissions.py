"""Who besides the account itself may invoke a function: its resource policy, statement by statement."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from typing import Any

from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.functions.functions import POLICY, Functions
from localcloud.functions.packages import refused


class Permissions:
    """AddPermission, RemovePermission and GetPolicy."""

    def __init__(self, context: Context, functions: Functions) -> None:
        self._context, self._functions = context, functions

    def add(self, request: Request) -> dict[str, Any]:
        """AddPermission."""
        params = request.params
        for member in ("EventSourceToken", "FunctionUrlAuthType", "InvokedViaFunctionUrl", "PrincipalOrgID"):
            if params.get(member):
                raise refused(f"localcloud's permissions have no {member}; got {params[member]!r}")
        document = self._functions.named(params["FunctionName"], params.get("Qualifier"))
        name, statement_id = document["FunctionName"], params["StatementId"]
        statement = _statement(params, document["FunctionArn"])
        with self._context.store.transaction():
            policy = self._context.store.get(POLICY, name) or {"Statements": []}
            _check_revision(policy, params)
            if any(known["Sid"] == statement_id for known in policy["Statements"]):
                raise ServiceError(
                    "ResourceConflictException",
                    f"The statement id ({statement_id}) provided already exists. Please provide a new statement id, or"
                    " remove the existing statement.",
                    409,
                )
            self._write(name, [*policy["Statements"], statement])
        return {"Statement": json.dumps(statement, separators=(",", ":"))}

    def remove(self, request: Request) -> dict[str, Any]:
        """RemovePermission."""
        params = request.params
        name = self._functions.named(params["FunctionName"], params.get("Qualifier"))["FunctionName"]
        with self._context.store.transaction():
            policy = self._context.store.get(POLICY, name) or {"Statements": []}
            _check_revision(policy, params)
            left = [known for known in policy["Statements"] if known["Sid"] != params["StatementId"]]
            if len(left) == len(policy["Statements"]):
                raise ServiceError(
                    "ResourceNotFoundException",
                    f"Statement {params['StatementId']} is not found in resource policy.",
                    404,
                )
            if left:
                self._write(name, left)
            else:
                self._context.store.delete(POLICY, name)
        return {}

    def get(self, request: Request) -> dict[str, Any]:
        """GetPolicy."""
        document = self._functions.named(request.params["FunctionName"], request.params.get("Qualifier"))
        name = document["FunctionName"]
        with self._context.store.transaction():
            text, stored = self.policy(name), self._context.store.get(POLICY, name)
        if text is None or stored is None:
            raise ServiceError("ResourceNotFoundException", "The resource you requested does not exist.", 404)
        return {"Policy": text, "RevisionId": stored["RevisionId"]}

    def policy(self, name: str) -> str | None:
        """The policy of the function of that name, as JSON; None where it has none."""
        stored = self._context.store.get(POLICY, name)
        if stored is None:
            return None
        text = {"Version": "2012-10-17", "Id": "default", "Statement": stored["Statements"]}
        return json.dumps(text, separators=(",", ":"))

    def _write(self, name: str, statements: list[dict[str, Any]]) -> None:
        self._context.store.put(POLICY, name, {"Statements": statements, "RevisionId": str(uuid.uuid4())})


def _statement(params: Mapping[str, Any], arn: str) -> dict[str, Any]:
    principal = params["Principal"]
    if re.fullmatch(r"[a-z0-9.-]+\.amazonaws\.com", principal):
        who: Any = {"Service": principal}
    elif re.fullmatch(r"\d{12}", principal):
        who = {"AWS": f"arn:aws:iam::{principal}:root"}
    elif principal == "*" or principal.startswith("arn:"):
        who = "*" if principal == "*" else {"AWS": principal}
    else:
        raise refused(
            f"The provided principal was invalid. Please check the principal and try again; got {principal!r}"
        )
    statement = {
        "Sid": params["StatementId"],
        "Effect": "Allow",
        "Principal": who,
        "Action": params["Action"],
        "Resource": arn,
    }
    condition: dict[str, Any] = {}
    if params.get("SourceAccount"):
        condition["StringEquals"] = {"AWS:SourceAccount": params["SourceAccount"]}
    if params.get("SourceArn"):
        condition["ArnLike"] = {"AWS:SourceArn": params["SourceArn"]}
    return {**statement, "Condition": condition} if condition else statement


def _check_revision(policy: Mapping[str, Any], params: Mapping[str, Any]) -> None:
    if params.get("RevisionId") is not None and params["RevisionId"] != policy.get("RevisionId"):
        raise ServiceError(
            "PreconditionFailedException",
            "The RevisionId provided does not match the latest RevisionId. Call the GetPolicy API to retrieve the"
            " latest RevisionId for your resource.",
            412,
        )
