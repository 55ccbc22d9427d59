"""The Lambda function for forecasts of the average transaction fee.

Environment: ENDPOINT_NAME, FEATURE_GROUP_NAME, QUANTILES (0.05,0.5,0.95), ALLOWED_ORIGIN.
"""

from __future__ import annotations

import re
from typing import Any

from aws_lambda_powertools.event_handler import Response

from seed_code.api import environment
from seed_code.api.application import Application
from seed_code.api.endpoint import Endpoint
from seed_code.api.forecasting import Forecasting
from seed_code.api.minutes import Minutes
from seed_code.api.refusals import Mistake, mistaken, shown

MOST_MINUTES = 400

_UNIT = "satoshi"
_WHOLE = re.compile(r"[1-9][0-9]{0,2}")

# Once for all requests, and before the first: a function that cannot work is not to start.
_endpoint, _group, _origin = environment.read("ENDPOINT_NAME", "FEATURE_GROUP_NAME", "ALLOWED_ORIGIN")
_levels = environment.levels("QUANTILES")
_application = Application("forecasts", _origin)
_minutes = Minutes(_group, _application.log)
_forecasting = Forecasting(Endpoint(_endpoint, _application.log), _levels)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one request."""
    return _application.handle(event, context)


@_application.routes.get("/forecasts")
def forecast() -> Response[str]:
    """Forecast the next minutes."""
    count = _count(_application.parameters("minutes"))
    series = _minutes.newest(_application.now)
    found = _forecasting.forecast(series, count)
    response = {"unit": _UNIT, "data_until": f"{series.last:%Y-%m-%dT%H:%M:%SZ}", "forecast": found}
    return _application.answer({"message": "Forecast made successfully", "response": response})


def _count(given: list[str]) -> int:
    expected = f"expected a whole number from 1 to {MOST_MINUTES}"
    if not given:
        raise mistaken([Mistake("minutes", f"is missing; {expected}")])
    if len(given) > 1:
        raise mistaken([Mistake("minutes", f"is given {len(given)} times; {expected}, once")])
    if not _WHOLE.fullmatch(given[0]) or int(given[0]) > MOST_MINUTES:
        raise mistaken([Mistake("minutes", f"is {shown(given[0])}; {expected}")])
    return int(given[0])
