"""What the deployed API answers is what its document says, whatever it is asked: schemathesis makes the requests.

benchmarks/api_conformance.py asks thousands of times, and the real models; here a few requests of each kind.
"""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pipelines.api.deployment import read_document
from pipelines.api.document import public
from pipelines.names import LocalPaths
from tests.pipelines.api.served import Served
from tests.pipelines.conftest import ROOT

CHECKS = [
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
DOCUMENT = public(read_document(LocalPaths(ROOT)), "http://127.0.0.1")
CASES = [
    pytest.param(path, verb, mode, id=f"{verb} {path} {mode.value}")
    for path, operations in DOCUMENT["paths"].items()
    for verb, operation in operations.items()
    for mode in GenerationMode
    # Where nothing is sent, nothing that is sent can be wrong.
    if mode is GenerationMode.POSITIVE or {"parameters", "requestBody"} & operation.keys()
]


@pytest.mark.parametrize(("path", "verb", "mode"), CASES)
def test_answers_are_as_the_document_says(api: Served, path: str, verb: str, mode: GenerationMode) -> None:
    operation = schemathesis.openapi.from_dict(DOCUMENT)[path][verb]

    @settings(max_examples=12, suppress_health_check=list(HealthCheck), database=None, phases=[Phase.generate])
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        headers = {"Authorization": f"Bearer {api.token}"}
        answer = case.call_and_validate(base_url=api.access.url, checks=CHECKS, headers=headers)
        # 503 is what a model of these tests may bring about, as its requests say.
        assert answer.status_code < 500 or answer.status_code == 503

    ask()
