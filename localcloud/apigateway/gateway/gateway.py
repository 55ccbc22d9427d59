"""The gateway: takes a request to a stage through all steps, in API Gateway's order, and tells of it afterwards."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import re
import uuid
from collections.abc import Callable
from typing import Protocol

from localcloud.apigateway.deployed import Deployed, KeyPlan, Method, MethodSettings
from localcloud.apigateway.gateway import authorization, metrics, mock, responses, templates
from localcloud.apigateway.gateway.access_log import AccessLog, Write
from localcloud.apigateway.gateway.cache import Cache
from localcloud.apigateway.gateway.exchange import JSON, Answer, Exchange
from localcloud.apigateway.gateway.proxy import Functions, Invoke
from localcloud.apigateway.gateway.refusals import Refused
from localcloud.apigateway.gateway.routes import Routes
from localcloud.apigateway.gateway.throttling import Buckets
from localcloud.apigateway.gateway.validation import Validation
from localcloud.context import Context
from localcloud.protocols.http import HttpRequest, HttpResponse
from localcloud.waf.verdict import PASSED, Verdict

_LOG = logging.getLogger(__name__)
_MOST_BODY_BYTES = 10 << 20
_MOST_HEADER_BYTES = 10_240
_FRESH = re.compile(r"(?:^|[\s,])max-age\s*=\s*0(?:$|[\s,])")
_NOT_FRESH = ("Warning", "199 Cache-control headers were ignored because the caller was unauthorized.")
_DEFAULTS = MethodSettings()


class Plans(Protocol):
    """Usage plans, and the keys of their members."""

    def plan_of(self, api_id: str, stage: str, key_value: str, resource_path: str, verb: str) -> KeyPlan | None:
        """What the owner of a key may do; None for a key that is unknown, disabled or of no plan of the stage."""
        ...

    def count(self, plan: KeyPlan) -> bool:
        """Take one request of the plan's quota; False where it is used up."""
        ...


class _Stage:
    """What is made of a deployed stage once, for all requests."""

    def __init__(self, deployed: Deployed) -> None:
        self.deployed = deployed
        self.key = (deployed.api_id, deployed.stage)
        self.routes = Routes(deployed.methods)
        self.validation = Validation()
        self.log_stream = hashlib.sha256(f"{deployed.api_id}/{deployed.stage}".encode()).hexdigest()[:32]

    def settings(self, method: Method) -> MethodSettings:
        return self.deployed.settings.get((method.resource_path, method.verb), _DEFAULTS)


class Gateway:
    """Answers for all stages. All methods may be called from any thread."""

    def __init__(
        self,
        context: Context,
        *,
        deployed: Callable[[str, str], Deployed | None],
        plans: Plans,
        invoke: Invoke,
        verify: authorization.Verify,
        inspect: Callable[[str, HttpRequest], Verdict],
        write_log: Write,
    ) -> None:
        """deployed: what a stage of an API answers by; the same object as long as it is the same stage.

        invoke: calls a function for a service. verify: gives a token's claims, or raises TokenRefused. inspect: what
        the web ACL of a stage says. write_log: appends messages to a stream of a log group.
        """
        self._context, self._deployed, self._plans = context, deployed, plans
        self._verify, self._inspect = verify, inspect
        self._functions = Functions(invoke, context.region, context.account_id)
        self._log = AccessLog(context.timetable, write_log)
        self._buckets, self._cache = Buckets(), Cache()
        self._stages: dict[tuple[str, str], _Stage] = {}

    def stop(self) -> None:
        """Write what waits for the access logs, and call no more functions."""
        self._functions.stop()
        self._log.stop()

    def flush(self, api_id: str, stage: str) -> None:
        """Forget the answers in a stage's cache."""
        self._cache.flush((api_id, stage))

    def forget(self, api_id: str, stage: str) -> None:
        """Forget a stage that is gone: another one of its name has a cache of its own."""
        self._stages.pop((api_id, stage), None)
        self.flush(api_id, stage)

    def answer(self, api_id: str, request: HttpRequest) -> HttpResponse:
        """The answer to a request to an API; its path is `/{stage}/{path…}`."""
        name, _, path = request.path.lstrip("/").partition("/")
        stage = self._stage(api_id, name)
        if stage is None:
            return _nobody()
        with self._context.timetable.working():
            exchange = self._exchange(stage.deployed, request, f"/{path}")
            try:
                answer = self._answered(stage, exchange)
            except Refused as refused:
                exchange.refused = refused
                answer = responses.answer(refused, exchange)
            self._tell(stage, exchange, answer)
        headers = [
            *answer.headers,
            ("x-amzn-RequestId", exchange.request_id),
            ("x-amz-apigw-id", exchange.extended_request_id),
        ]
        if exchange.integration_request_id is not None:
            headers.append(("X-Amzn-Trace-Id", exchange.trace_id))
        return HttpResponse(answer.status, headers, answer.body)

    def _stage(self, api_id: str, name: str) -> _Stage | None:
        key = (api_id, name)
        deployed = self._deployed(api_id, name)
        known = self._stages.get(key)
        if deployed is None:
            if known is not None:
                self.forget(*key)
            return None
        if known is None or known.deployed is not deployed:
            if known is not None and known.deployed.cache_bytes != deployed.cache_bytes:
                # A cache of another size is another cache, and none has nothing in it.
                self._cache.flush(key)
            known = self._stages[key] = _Stage(deployed)
        return known

    def _exchange(self, deployed: Deployed, request: HttpRequest, path: str) -> Exchange:
        moment = self._context.clock.now()
        return Exchange(
            deployed=deployed,
            request=request,
            path=path,
            moment=moment,
            account_id=self._context.account_id,
            request_id=str(uuid.uuid4()),
            extended_request_id=base64.b64encode(os.urandom(11)).decode(),
            trace_id=_trace_id(request, int(moment.timestamp()), deployed.tracing),
        )

    def _answered(self, stage: _Stage, exchange: Exchange) -> Answer:
        _check_size(exchange.request)
        stopped = self._inspected(exchange)
        if stopped is not None:
            return stopped
        method = self._routed(stage, exchange)
        self._authorize(exchange, method)
        settings = stage.settings(method)
        plan = self._planned(exchange, method)
        self._throttle(stage, exchange, method, settings, plan)
        stage.validation.check(exchange, method)
        if stage.deployed.cache_bytes and settings.caching and settings.cache_ttl_seconds:
            return self._cached(stage, exchange, method, settings)
        return self._integrated(exchange, method)

    def _inspected(self, exchange: Exchange) -> Answer | None:
        """What the firewall answers; None where it lets the request pass. Raises Refused (WAF_FILTERED)."""
        verdict = self._inspect(exchange.deployed.stage_arn, exchange.request)
        if verdict is PASSED:
            # Most stages have no firewall that could have said so.
            return None
        exchange.firewall = "WAF_ALLOW" if verdict.allowed else "WAF_BLOCK"
        if verdict.allowed:
            return None
        if verdict.body is None:
            raise Refused("WAF_FILTERED", "Forbidden", detail=f"the rule {verdict.rule} of the web ACL")
        # A custom response goes before what the API says.
        return Answer(verdict.status, verdict.headers, verdict.body)

    def _routed(self, stage: _Stage, exchange: Exchange) -> Method:
        found = stage.routes.find(exchange.request.method, exchange.path)
        if found is None:
            raise _nothing_there(exchange.request)
        exchange.method, exchange.path_parameters = found
        return exchange.method

    def _authorize(self, exchange: Exchange, method: Method) -> None:
        authorizer = method.authorizer
        if authorizer is None:
            return
        try:
            header = exchange.request.headers.get(authorizer.header)
            exchange.claims = authorization.authorize(method, authorizer, header, self._verify)
        except Refused as refused:
            exchange.authorizer_status = refused.status
            raise
        exchange.authorizer_status = 200

    def _planned(self, exchange: Exchange, method: Method) -> KeyPlan | None:
        if not method.key_required:
            return None
        key = exchange.request.headers.get("x-api-key", "")
        deployed = exchange.deployed
        plan = self._plans.plan_of(deployed.api_id, deployed.stage, key, method.resource_path, method.verb)
        if plan is None:
            raise Refused("INVALID_API_KEY", "Forbidden", detail="the API key is missing, unknown, or of no usage plan")
        exchange.api_key, exchange.api_key_id = key, plan.key_id
        return plan

    def _throttle(
        self, stage: _Stage, exchange: Exchange, method: Method, settings: MethodSettings, plan: KeyPlan | None
    ) -> None:
        now = exchange.moment
        if plan is not None and plan.rate is not None:
            key = (plan.plan_id, plan.key_id, plan.method)
            burst = max(plan.rate, 1.0) if plan.burst is None else plan.burst
            if not self._buckets.take(key, plan.rate, burst, now):
                raise Refused("THROTTLED", "Too Many Requests", detail=f"the limit of the usage plan {plan.plan_id}")
        if not self._buckets.take((*stage.key, method.resource_path, method.verb), settings.rate, settings.burst, now):
            raise Refused("THROTTLED", "Too Many Requests", detail="the limit of the stage's method")
        if plan is not None and not self._plans.count(plan):
            raise Refused("QUOTA_EXCEEDED", "Limit Exceeded", detail=f"the quota of the usage plan {plan.plan_id}")

    def _cached(self, stage: _Stage, exchange: Exchange, method: Method, settings: MethodSettings) -> Answer:
        """The answer from the cache, or the integration's, which is kept if it is good."""
        wants_fresh = bool(_FRESH.search(exchange.request.headers.get("cache-control", "").lower()))
        # Who may ask for a fresh answer says so by a signature of IAM's, which no method here asks for.
        unheard = wants_fresh and settings.cache_needs_authorization
        parameters = method.integration.cache_key_parameters
        key = (method.resource_path, exchange.request.method, tuple(exchange.parameter(one) for one in parameters))
        answer = None
        if not wants_fresh or unheard:
            answer = self._cache.get(stage.key, key, exchange.moment)
        exchange.is_cached = answer is not None
        if answer is None:
            answer = self._integrated(exchange, method)
            self._cache.put(
                stage.key, key, answer, exchange.moment, settings.cache_ttl_seconds, stage.deployed.cache_bytes
            )
        return Answer(answer.status, (*answer.headers, _NOT_FRESH), answer.body) if unheard else answer

    def _integrated(self, exchange: Exchange, method: Method) -> Answer:
        if method.integration.type == "MOCK":
            return mock.answer(method.integration, exchange)
        return self._functions.answer(exchange, method)

    def _tell(self, stage: _Stage, exchange: Exchange, answer: Answer) -> None:
        """Let the metrics, the access log and, of what is the API's own fault, localcloud's log know."""
        exchange.finish(answer)
        method, refused, deployed = exchange.method, exchange.refused, stage.deployed
        by_method = method is not None and stage.settings(method).metrics
        self._context.signals.measurements(metrics.measured(exchange, by_method=by_method))
        if refused is not None and refused.status >= 500:
            what = f"{exchange.request.method} {exchange.path}"
            _LOG.warning("%s/%s: %s: %s", deployed.api_id, deployed.stage, what, refused.detail or refused.message)
        if deployed.access_log_group is not None:
            line = templates.render(deployed.access_log_format, exchange, missing="-")
            self._log.add(deployed.access_log_group, stage.log_stream, line)


def _check_size(request: HttpRequest) -> None:
    size = sum(len(name) + len(value) for name, value in request.headers.items())
    if size > _MOST_HEADER_BYTES:
        raise Refused("REQUEST_TOO_LARGE", "Request Too Long", detail=f"{size} bytes of headers")
    if len(request.body) > _MOST_BODY_BYTES:
        raise Refused("REQUEST_TOO_LARGE", "Request Too Long", detail=f"a body of {len(request.body)} bytes")


def _nothing_there(request: HttpRequest) -> Refused:
    """What is said of a path or a method that is not there: the gateway takes the request for one to be signed."""
    header = request.headers.get("authorization")
    if header is None:
        return Refused("MISSING_AUTHENTICATION_TOKEN", "Missing Authentication Token")
    digest = base64.b64encode(hashlib.sha256(header.encode()).digest()).decode()
    return Refused(
        "INVALID_SIGNATURE",
        "Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded with"
        f" Base64): '{digest}'.",
    )


def _trace_id(request: HttpRequest, seconds: int, is_traced: bool) -> str:
    given = request.headers.get("x-amzn-trace-id", "")
    if given.startswith("Root="):
        return given
    return f"Root=1-{seconds:08x}-{os.urandom(12).hex()}" + (";Sampled=1" if is_traced else "")


def _nobody() -> HttpResponse:
    """The answer to a request that is to no stage: there is nothing that could say it otherwise."""
    headers: list[tuple[str, str]] = [
        ("Content-Type", JSON),
        ("x-amzn-ErrorType", "ForbiddenException"),
        ("x-amzn-RequestId", str(uuid.uuid4())),
    ]
    return HttpResponse(403, headers, b'{"message":"Forbidden"}')
