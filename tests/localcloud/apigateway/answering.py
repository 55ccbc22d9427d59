"""A gateway with stages made by hand, and functions, tokens, plans and firewalls that are the tests' own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from localcloud.apigateway.deployed import (
    Authorizer,
    Deployed,
    Integration,
    IntegrationResponse,
    KeyPlan,
    Method,
    MethodSettings,
)
from localcloud.apigateway.gateway.gateway import Gateway
from localcloud.cognito.tokens import TokenRefused
from localcloud.functions.invocation import Outcome
from localcloud.protocols.http import HttpRequest, HttpResponse
from localcloud.signals import Measurement
from localcloud.waf.verdict import PASSED, Verdict
from tests.surroundings import ACCOUNT_ID, REGION, StandingClock, surroundings

API = "abc123defg"
POOL = f"arn:aws:cognito-idp:{REGION}:{ACCOUNT_ID}:userpool/{REGION}_pool"
AUTHORIZER = Authorizer((POOL,))
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:answers"
OK = b'{"statusCode": 200, "body": "{}"}'
CLAIMS: Mapping[str, Mapping[str, Any]] = {
    "good": {"token_use": "access", "scope": "api/predict api/other", "sub": "me", "exp": 1767229200, "ok": True},
    "poor": {"token_use": "access", "scope": "api/other", "sub": "me"},
    "identity": {"token_use": "id", "sub": "me", "cognito:groups": ["a", "b"]},
}


def proxy(**members: Any) -> Integration:
    """A function behind a method."""
    return Integration("AWS_PROXY", function_arn=FUNCTION, **members)


def mock(status: int = 204, **members: Any) -> Integration:
    """An answer that is written in the API."""
    given = {
        "request_templates": {"application/json": f'{{"statusCode": {status}}}'},
        "responses": (IntegrationResponse(status),),
        **members,
    }
    return Integration("MOCK", **given)


def method(verb: str, path: str, integration: Integration | None = None, **members: Any) -> Method:
    """A method with a function behind it, unless told otherwise."""
    return Method(verb, f"id{path.count('/')}", path, integration or proxy(), **members)


class Functions:
    """In place of Lambda: what is asked of it, and what it answers."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.sources: list[tuple[str, str, str]] = []
        self.answers: Callable[[Mapping[str, Any]], Outcome | bytes] = lambda event: OK
        self.asked = threading.Event()

    def invoke(self, principal: str, source_arn: str, function_arn: str, payload: bytes) -> Outcome:
        event = json.loads(payload)
        self.events.append(event)
        self.sources.append((principal, source_arn, function_arn))
        self.asked.set()
        answer = self.answers(event)
        return answer if isinstance(answer, Outcome) else Outcome("invocation-1", answer, None, b"")

    def say(self, body: Any = "", **members: Any) -> None:
        """Answer like this from now on."""
        text = body if isinstance(body, str) else json.dumps(body)
        payload = json.dumps({"statusCode": 200, "body": text, **members}).encode()
        self.answers = lambda event: payload


class Plans:
    """In place of usage plans: what each key may do, and what is left of its quota."""

    def __init__(self) -> None:
        self.keys: dict[str, KeyPlan] = {}
        self.left: dict[str, int] = {}

    def plan_of(self, api_id: str, stage: str, key_value: str, resource_path: str, verb: str) -> KeyPlan | None:
        return self.keys.get(key_value)

    def count(self, plan: KeyPlan) -> bool:
        self.left[plan.key_id] = self.left.get(plan.key_id, 1_000) - 1
        return self.left[plan.key_id] >= 0


def verify(pool_arn: str, token: str) -> Mapping[str, Any]:
    if token == "old":
        raise TokenRefused("it ended yesterday", expired=True)
    if pool_arn != POOL or token not in CLAIMS:
        raise TokenRefused("its signature is none of this pool's")
    return CLAIMS[token]


class Stage:
    """A stage `prod` whose methods the test gives, and its gateway."""

    def __init__(self, folder: Path, *methods: Method, settings: MethodSettings | None = None, **members: Any) -> None:
        self.clock = StandingClock()
        self.context = surroundings(folder, self.clock)
        self.functions, self.plans = Functions(), Plans()
        self.verdict: Verdict = PASSED
        self.measurements: list[Measurement] = []
        self.lines: list[tuple[str, str, str]] = []
        self.context.signals.on_measurement(self.measurements.extend)
        self.deployed = Deployed(
            api_id=API,
            api_name="things",
            stage="prod",
            deployment_id="dep123",
            stage_arn=f"arn:aws:apigateway:{REGION}::/restapis/{API}/stages/prod",
            methods=methods,
            settings={(one.resource_path, one.verb): settings for one in methods} if settings else {},
            **members,
        )
        self.gateway = Gateway(
            self.context,
            deployed=lambda api, stage: self.deployed if (api, stage) == (API, "prod") else None,
            plans=self.plans,
            invoke=self.functions.invoke,
            verify=verify,
            inspect=lambda arn, request: self.verdict,
            write_log=self._write,
        )

    def change(self, **members: Any) -> None:
        """Let the stage be another from now on."""
        self.deployed = replace(self.deployed, **members)

    def ask(
        self,
        verb: str = "GET",
        path: str = "/things",
        *,
        query: str = "",
        body: bytes | str = b"",
        api: str = API,
        stage: str = "prod",
        **headers: str,
    ) -> HttpResponse:
        """Send a request; the names of headers have underscores for hyphens."""
        names = {name.replace("_", "-"): value for name, value in {"host": "127.0.0.1:4610", **headers}.items()}
        content = body.encode() if isinstance(body, str) else body
        return self.gateway.answer(api, HttpRequest(verb, f"/{stage}{path}", query, names, content, "127.0.0.9"))

    def status(self, *arguments: Any, **members: Any) -> int:
        """The status of an answer alone."""
        return self.ask(*arguments, **members).status

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.set(self.clock.now() + timedelta(seconds=seconds))

    def measured(self, name: str, **dimensions: str) -> list[float]:
        """The values of a metric, of the stage unless told otherwise."""
        wanted = dimensions or {"ApiName": "things", "Stage": "prod"}
        return [one.value for one in self.measurements if one.name == name and one.dimensions == wanted]

    @property
    def event(self) -> dict[str, Any]:
        """The last event that the function got."""
        return self.functions.events[-1]

    def _write(self, group: str, stream: str, lines: Sequence[str]) -> None:
        self.lines += [(group, stream, line) for line in lines]


def message(answer: HttpResponse) -> Any:
    """The message in an answer."""
    return json.loads(answer.body)["message"]
