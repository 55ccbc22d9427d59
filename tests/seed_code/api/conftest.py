"""The two functions, in front of a localcloud that answers for AWS."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

import pytest

from tests.conftest import Localcloud
from tests.seed_code.api.account import ApiAccount, furnish
from tests.seed_code.api.gateway import Function, load

Start = Callable[..., Function]
_STARTED: dict[frozenset[tuple[str, str]], Function] = {}


@pytest.fixture(scope="session")
def account(localcloud: Localcloud) -> ApiAccount:
    """What the API stands on."""
    return furnish(localcloud)


@pytest.fixture
def predictions(account: ApiAccount, aws: Localcloud, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Starts the function for predictions; its environment may be changed by keywords."""
    return _starter("predictions", account.environment, monkeypatch)


@pytest.fixture
def forecasts(account: ApiAccount, aws: Localcloud, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Starts the function for forecasts; its environment may be changed by keywords."""
    return _starter("forecasts", account.forecasts_environment, monkeypatch)


def _starter(name: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Start:
    # boto3 keeps a session, and with it the environment of whoever made its first client.
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)

    def start(**changed: str) -> Function:
        for variable, value in {**environment, **changed}.items():
            monkeypatch.setenv(variable, value)
        key = frozenset(
            {"": name, "AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"], **environment, **changed}.items()
        )
        if key not in _STARTED:
            _STARTED[key] = Function(load(name).handler)
        # There is one log for all copies of the module, and it writes to the standard output of the first.
        (stream,) = logging.getLogger(name).handlers
        monkeypatch.setattr(stream, "stream", sys.stdout)
        return _STARTED[key]

    return start
