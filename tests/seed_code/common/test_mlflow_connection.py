"""The way to MLflow: a wrong address is named at once, a right one answers."""

import os

import pytest

from seed_code.common.errors import ClientError


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def mlflow_connection():
    """Imported when it is needed: MLflow is large."""
    import mlflow

    from seed_code.common import mlflow_connection

    yield mlflow_connection
    mlflow.set_tracking_uri(None)


@pytest.mark.parametrize("uri", [None, ""])
def test_no_address_is_said_with_what_is_expected(mlflow_connection, monkeypatch, uri):
    if uri is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(ClientError, match=r"MLFLOW_TRACKING_URI is not set; expected the address .* or the ARN"):
        mlflow_connection.connect()


def test_a_server_that_does_not_answer_is_named(mlflow_connection, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # the port named discard; nothing listens there
    with pytest.raises(ClientError, match=r"server http://127\.0\.0\.1:9 \(MLFLOW_TRACKING_URI\) does not answer: "):
        mlflow_connection.connect()
    assert not {"MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"} & set(os.environ)


def test_a_store_that_mlflow_refuses_is_named(mlflow_connection, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tmp_path.as_uri())
    with pytest.raises(ClientError, match="maintenance mode"):
        mlflow_connection.connect()


def test_a_store_that_answers_gives_its_client(mlflow_connection, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tmp_path.as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    assert mlflow_connection.connect().tracking_uri == tmp_path.as_uri()
