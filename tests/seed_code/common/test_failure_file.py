"""How a program that failed ends: files, log, exit status."""

import pytest

from seed_code.common import paths
from seed_code.common.arguments import ArgumentParser
from seed_code.common.errors import ClientError
from seed_code.common.failure import REASON_CHARACTERS, reports_failure


@pytest.fixture(autouse=True)
def base(monkeypatch, tmp_path):
    monkeypatch.setenv(paths.BASE_DIR_VARIABLE, str(tmp_path))
    return tmp_path


def _run(error):
    @reports_failure
    def program():
        raise error

    program()


def test_a_users_mistake_is_one_line_without_traceback(base, capsys):
    with pytest.raises(SystemExit) as raised:
        _run(ClientError("`k` is 0; expected 1 or more"))
    assert raised.value.code == 1
    assert (base / "output" / "failure").read_text() == "`k` is 0; expected 1 or more"
    assert (base / "output" / "message").read_text() == "`k` is 0; expected 1 or more"
    assert capsys.readouterr().err == "error: `k` is 0; expected 1 or more\n"


def test_a_bug_keeps_its_traceback_in_the_log_and_its_kind_in_the_file(base, capsys):
    with pytest.raises(SystemExit):
        _run(ZeroDivisionError("division by zero"))
    assert (base / "output" / "failure").read_text() == "InternalError: ZeroDivisionError: division by zero"
    log = capsys.readouterr().err
    assert "Traceback" in log
    assert "test_failure_file.py" in log


def test_the_file_keeps_to_what_sagemaker_reads(base, capsys):
    with pytest.raises(SystemExit):
        _run(ClientError("é" * 5000))
    assert (base / "output" / "failure").read_text(encoding="utf-8") == "é" * REASON_CHARACTERS
    assert "é" * 5000 in capsys.readouterr().err


def test_a_file_that_cannot_be_written_does_not_hide_the_reason(base, capsys):
    (base / "output").write_text("a file where the folder should be")
    with pytest.raises(SystemExit) as raised:
        _run(ClientError("the reason"))
    assert raised.value.code == 1
    log = capsys.readouterr().err
    assert "error: the reason" in log
    assert "could not be written" in log


def test_an_exit_on_purpose_passes_through(base):
    with pytest.raises(SystemExit) as raised:
        _run(SystemExit(3))
    assert raised.value.code == 3
    assert not (base / "output").exists()


def test_a_program_that_ends_well_leaves_nothing(base):
    done = []
    reports_failure(lambda: done.append(True))()
    assert done
    assert not (base / "output").exists()


def test_a_bad_argument_is_a_users_mistake_with_the_usage():
    parser = ArgumentParser(prog="evaluate")
    parser.add_argument("--experiment", required=True)
    with pytest.raises(ClientError, match=r"evaluate: .*--experiment; usage: evaluate \[-h\] --experiment EXPERIMENT"):
        parser.parse_args([])
