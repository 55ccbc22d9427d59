"""The folders and addresses of the container contract."""

from pathlib import Path

import pytest

from seed_code.common import paths
from seed_code.common.errors import ClientError


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in (paths.BASE_DIR_VARIABLE, paths.PORT_VARIABLE):
        monkeypatch.delenv(name, raising=False)


def test_without_variables_the_places_are_sagemakers():
    assert paths.hyperparameters_file() == Path("/opt/ml/input/config/hyperparameters.json")
    assert paths.channel_dir("train") == Path("/opt/ml/input/data/train")
    assert paths.model_dir() == Path("/opt/ml/model")
    assert paths.failure_file() == Path("/opt/ml/output/failure")
    assert paths.exit_message_file() == Path("/opt/ml/output/message")
    assert paths.processing_input_dir("a") == Path("/opt/ml/processing/input/a")
    assert paths.processing_output_dir("b") == Path("/opt/ml/processing/output/b")
    assert (paths.host(), paths.port()) == ("0.0.0.0", 8080)


def test_the_base_folder_moves_all_of_them_and_keeps_the_server_to_the_machine(monkeypatch):
    monkeypatch.setenv(paths.BASE_DIR_VARIABLE, "/somewhere")
    assert paths.model_dir() == Path("/somewhere/model")
    assert paths.processing_input_dir("a") == Path("/somewhere/processing/input/a")
    assert paths.host() == "127.0.0.1"


def test_an_empty_variable_is_none(monkeypatch):
    monkeypatch.setenv(paths.BASE_DIR_VARIABLE, "")
    monkeypatch.setenv(paths.PORT_VARIABLE, "")
    assert paths.base_dir() == Path("/opt/ml")
    assert paths.port() == 8080


def test_a_port_is_taken_from_its_variable(monkeypatch):
    monkeypatch.setenv(paths.PORT_VARIABLE, "8123")
    assert paths.port() == 8123


@pytest.mark.parametrize("text", ["http", "0", "65536", "-1", "80.5", "²"])
def test_what_is_no_port_is_refused(monkeypatch, text):
    monkeypatch.setenv(paths.PORT_VARIABLE, text)
    with pytest.raises(ClientError, match=f"SAGEMAKER_BIND_TO_PORT is `{text}`; expected a port"):
        paths.port()
