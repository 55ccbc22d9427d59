"""AWS_PROXY: a Lambda function is called with each request, and its result is the answer."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from localcloud.apigateway.deployed import Method
from localcloud.apigateway.gateway import proxy_event, proxy_result
from localcloud.apigateway.gateway.exchange import Answer, Exchange
from localcloud.apigateway.gateway.refusals import INTERNAL, Refused
from localcloud.errors import ServiceError
from localcloud.functions.invocation import Outcome

Invoke = Callable[[str, str, str, bytes], Outcome]
"""A service's principal, the ARN of what asks, the function's ARN and the event: the outcome."""
_PRINCIPAL = "apigateway.amazonaws.com"
# More than a gateway can wait for: as many requests as are answered at once, and the functions that are still running
# for callers that were told that it took too long.
_THREADS = 96
_STAGE_VARIABLE = re.compile(r"\$\{stageVariables\.(\w+)\}")


class Functions:
    """Calls functions for stages. All methods may be called from any thread."""

    def __init__(self, invoke: Invoke, region: str, account_id: str) -> None:
        self._invoke, self._region, self._account_id = invoke, region, account_id
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="integration")

    def stop(self) -> None:
        """Call no more functions. Those that run are ended by who runs them."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def answer(self, exchange: Exchange, method: Method) -> Answer:
        """What the method's function answers. Raises Refused where that is none, or none in time.

        A function that takes too long goes on, as it does on AWS: only nobody waits for it.
        """
        deployed, integration = exchange.deployed, method.integration
        payload = json.dumps(proxy_event.event(exchange, method), ensure_ascii=False, separators=(",", ":")).encode()
        source = (
            f"arn:aws:execute-api:{self._region}:{self._account_id}:{deployed.api_id}/{deployed.stage}"
            f"/{exchange.request.method}{method.resource_path}"
        )
        function = _STAGE_VARIABLE.sub(lambda found: deployed.variables.get(found[1], ""), integration.function_arn)
        begun = time.perf_counter()
        running = self._threads.submit(self._invoke, _PRINCIPAL, source, function, payload)
        try:
            outcome = running.result(integration.timeout_seconds)
        except TimeoutError as error:
            raise Refused(
                "INTEGRATION_TIMEOUT",
                "Endpoint request timed out",
                detail=f"{function} has not answered within {integration.timeout_seconds:g} s",
            ) from error
        except ServiceError as error:
            raise _not_invoked(error, function) from error
        finally:
            exchange.integration_seconds = time.perf_counter() - begun
        exchange.integration_request_id = outcome.request_id
        if outcome.error:
            raise proxy_result.failed(f"{function} has failed: {outcome.payload[:500].decode('utf-8', 'replace')}")
        answer = proxy_result.answer(outcome.payload, exchange)
        exchange.integration_status = answer.status
        return answer


def _not_invoked(error: ServiceError, function: str) -> Refused:
    if error.code == "RequestTooLargeException":
        return Refused("REQUEST_TOO_LARGE", "Request Too Long", detail=error.message)
    detail = f"{function} was not invoked: {error.code}: {error.message}"
    if error.code in ("AccessDeniedException", "ResourceNotFoundException"):
        return Refused("API_CONFIGURATION_ERROR", INTERNAL, detail=detail)
    return Refused("DEFAULT_5XX", INTERNAL, status=500, detail=detail)
