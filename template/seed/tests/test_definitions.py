"""The pipelines' definitions: each can be rendered, calls nothing, and is the same bytes every time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines import definitions
from pipelines.config import load
from pipelines.names import ACCOUNT_VARIABLE, PROJECT_NAME_VARIABLE

ROOT = Path(__file__).resolve().parent.parent
# Whose they are makes no difference here.
CONFIGURATION = load(ROOT, environ={PROJECT_NAME_VARIABLE: "checked", ACCOUNT_VARIABLE: "1" * 12})
IMAGE_DIGEST = "0" * 64


def _render(workload: str, kind: str) -> str:
    image_uri = CONFIGURATION.names.image_uri(workload, IMAGE_DIGEST)
    return definitions.render_for_image(workload, kind, CONFIGURATION, image_uri)


@pytest.mark.parametrize(("workload", "kind"), definitions.PIPELINES)
def test_a_definition_is_a_function_of_the_configuration(workload: str, kind: str) -> None:
    definition = _render(workload, kind)
    assert _render(workload, kind) == definition
    assert json.loads(definition)["Version"] == "2020-12-01"
    assert [step["Name"] for step in json.loads(definition)["Steps"]]
