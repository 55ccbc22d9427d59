"""docs/guides/own-model.md, followed to the letter: what it says is done in a new project, to an endpoint that answers.

A block of the page says in its first line what it is:

    python, yaml  file=PATH                the whole of a file
    python        file=PATH section=NAME   what stands between the heading `# --- NAME ---` of a file and the next one
    diff          file=PATH                lines that are there (` `, `-`), once, and what stands there then (` `, `+`)
    json          at=KEY                   an object in S3
    sh                                     commands, in the root of the project
    sh            by-hand                  commands that a test cannot follow: they wait for a person, or need a remote

What is quick (that the page fits the tree, and that the pipeline that it makes can be rendered) is tested always; the
whole page, with servers of its own, by `-m slow`.
"""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from dotenv import dotenv_values

from pipelines.publishing import seed
from pipelines.stack import Stack
from tests.pipelines.test_stack import free_port

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "guides" / "own-model.md"
WORKLOAD = Path("seed_code/cardholders")
# What the page says stays, because it knows nothing of cards.
KEPT = {"Dockerfile", "__init__.py", "requirements.in", "requirements.txt", "bin/serve", "bin/train"}

_BLOCK = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = "# --- {name} -"
_OPTIONS = {"python": {"file", "section"}, "yaml": {"file"}, "diff": {"file"}, "json": {"at"}, "sh": {"by-hand"}}


@dataclass(frozen=True, eq=False)
class Block:
    """A fenced block of the page."""

    language: str
    options: dict[str, str]
    text: str
    line: int

    @property
    def runs(self) -> bool:
        return self.language == "sh" and "by-hand" not in self.options

    def __str__(self) -> str:
        return f"{PAGE.name}:{self.line}"


def _blocks() -> list[Block]:
    page = PAGE.read_text()
    found = []
    for match in _BLOCK.finditer(page):
        language, *words = match["info"].split()
        options = {name: value for name, _, value in (word.partition("=") for word in words)}
        found.append(Block(language, options, match["text"], page[: match.start()].count("\n") + 1))
    return found


BLOCKS = _blocks()


def _write(block: Block, root: Path) -> None:
    """Do to a file what a block says."""
    file = root / block.options["file"]
    if block.language == "diff":
        old, new = _sides(block)
        text = file.read_text()
        assert text.count(old) == 1, f"{block}: {block.options['file']} has these lines {text.count(old)} times:\n{old}"
        text = text.replace(old, new)
    elif "section" in block.options:
        text = _with_section(file.read_text(), block)
    else:
        text = block.text
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def _sides(block: Block) -> tuple[str, str]:
    """The lines before and after."""
    lines = block.text.splitlines(keepends=True)
    assert all(line[:1] in " -+\n" for line in lines), f"{block}: expected lines that begin with a blank, - or +"
    old, new = ("".join(line[1:] or "\n" for line in lines if line[:1] != other) for other in "+-")
    return old, new


def _with_section(text: str, block: Block) -> str:
    lines = text.splitlines(keepends=True)
    headings = [number for number, line in enumerate(lines) if line.startswith("# --- ")]
    wanted = _HEADING.format(name=block.options["section"])
    [begin] = [number for number in headings if lines[number].startswith(wanted)]
    end = next(number for number in headings if number > begin)
    return "".join([*lines[: begin + 1], "\n\n", block.text, "\n\n", *lines[end:]])


def _removed() -> set[Path]:
    """The files that the page has removed, by its `rm` commands."""
    found: set[Path] = set()
    for block in BLOCKS:
        folder = Path()
        for command in block.text.replace("\\\n", " ").splitlines() if block.runs else ():
            verb, *words = shlex.split(command, comments=True) or [""]
            if verb == "cd":
                folder = Path(os.path.normpath(folder / words[0]))
            elif verb == "rm":
                found |= {folder / word for word in words if not word.startswith("-")}
    return found


def _written() -> set[Path]:
    return {Path(block.options["file"]) for block in BLOCKS if "file" in block.options}


# --- the page and the tree --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_says_what_it_is_and_can_be_read(block: Block) -> None:
    assert block.options.keys() <= _OPTIONS[block.language], block.options
    if block.language != "sh":
        assert block.options, f"{block} says no file"
    if block.language == "python":
        compile(block.text, str(block), "exec")
        assert block.text == block.text.strip("\n") + "\n"
    elif block.language == "yaml":
        assert yaml.safe_load(block.text)
    elif block.language == "json":
        assert json.loads(block.text)
    elif block.language == "sh":
        done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_what_is_removed_is_there() -> None:
    removed = _removed()
    assert len(removed) > 20
    made = {Path("definition.json")}
    assert {path for path in removed if not (ROOT / path).exists()} == made


def test_of_the_workload_nothing_is_left_that_the_page_does_not_name() -> None:
    """A file that comes new has to be named: as one that stays, goes, or is written anew."""
    page = PAGE.read_text()
    there = {path.relative_to(ROOT / WORKLOAD) for path in (ROOT / WORKLOAD).rglob("*") if path.is_file()}
    there = {path for path in there if "__pycache__" not in path.parts}
    gone = {path.relative_to(WORKLOAD) for path in _removed() if path.is_relative_to(WORKLOAD)}
    anew = {path.relative_to(WORKLOAD) for path in _written() if path.is_relative_to(WORKLOAD)}
    unnamed = sorted(str(path) for path in there - gone - anew if str(path) not in KEPT and f"`{path}`" not in page)
    assert unnamed == []


def test_every_path_that_the_page_names_exists() -> None:
    prose = _BLOCK.sub("", PAGE.read_text())
    named = set(re.findall(r"`((?:seed_code|pipelines|configs|template|docs|tests)/[\w./-]*)`", prose))
    written = {str(path) for path in _written()}
    assert [path for path in sorted(named - written) if not (ROOT / path).exists()] == []
    # Names without a folder lie in the workload's.
    programs = set(re.findall(r"`([a-z_]+\.py|mlflow_models/)`", prose))
    assert len(programs) > 12
    ours = {str(path.relative_to(WORKLOAD)) for path in _written() if path.is_relative_to(WORKLOAD)}
    assert [name for name in sorted(programs - ours) if not (ROOT / WORKLOAD / name).exists()] == []


def test_what_the_page_gets_for_nothing_imports_nothing_that_it_removes() -> None:
    gone = {path.stem for path in _removed() if path.parent == WORKLOAD}
    kept = [path for path in (ROOT / WORKLOAD).glob("*.py") if path.stem not in gone]
    kept = [path for path in kept if WORKLOAD / path.name not in _written() or path.stem in ("answers", "serve")]
    told = [
        f"{path.name}: {name}"
        for path in kept
        for line in re.findall(r"^from seed_code\.cardholders(?: import [\w, ]+|\.\w+)", path.read_text(), re.MULTILINE)
        for name in re.findall(r"\w+", line.replace("from seed_code.cardholders", ""))
        if name in gone
    ]
    assert told == []


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new project's first commit, in which the page's files are removed and written; no command is run."""
    folder = _project(tmp_path_factory.mktemp("written"))
    for path in _removed():
        if (folder / path).is_dir():
            shutil.rmtree(folder / path)
        else:
            (folder / path).unlink(missing_ok=True)
    for block in BLOCKS:
        if "file" in block.options:
            _write(block, folder)
    return folder


def test_the_pipeline_of_the_page_is_rendered(written: Path) -> None:
    printed = _run(written, "mlops definition cardholders build")
    definition = json.loads(printed)
    assert [step["Name"] for step in definition["Steps"]] == ["Prepare", "Train", "Evaluate", "QualityGate"]
    assert {"Penalty", "MinRocAuc"} < {parameter["Name"] for parameter in definition["Parameters"]}
    page = PAGE.read_text().split("## What you write")[1].split("\n## ")[0]
    files = [block for block in BLOCKS if block.language in ("python", "yaml") and "test" not in block.options["file"]]
    lines = sum(block.text.count("\n") for block in files)
    told = re.search(r"about (\d+) lines", page)
    assert told is not None
    assert abs(int(told[1]) - lines) < 60, f"the page has {lines} lines of files"


# --- the page, followed -----------------------------------------------------------------------------------------------


def _project(folder: Path) -> Path:
    """The files of a new project."""
    with zipfile.ZipFile(io.BytesIO(seed.assemble(ROOT, "eu-west-1").archive)) as archive:
        for entry in archive.infolist():
            place = Path(archive.extract(entry, folder))
            place.chmod((entry.external_attr >> 16) & 0o777)
    return folder


def _environment(root: Path) -> dict[str, str]:
    """A shell of somebody who works in the project: `mlops` and `python` are the project's."""
    left_out = ("AWS_", "MLFLOW_", "MLOPS_", "SAGEMAKER_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    programs = root / ".mlops" / "bin"
    if not programs.is_dir():
        programs.mkdir(parents=True)
        for name, command in (("python", ""), ("mlops", " -m pipelines.cli")):
            (programs / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)}{command} "$@"\n')
            (programs / name).chmod(0o755)
    return {
        **kept,
        "PATH": f"{programs}:{kept['PATH']}",
        # What `make setup` installs in the clone's environment is the clone itself.
        "PYTHONPATH": str(root),
        "SAGEMAKER_PROJECT_NAME": "leavers",
        "AWS_ACCOUNT_ID": "123456789012",
    }


def _run(root: Path, commands: str, *, status: int = 0) -> str:
    """What commands print to stdout."""
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", commands],
        cwd=root,
        env=_environment(root),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, f"{commands}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A new project, whose account is on servers of its own."""
    folder = _project(tmp_path / "leavers")
    try:
        _run(folder, f"mlops up --port {free_port()}")
        yield folder
    finally:
        for record in folder.glob(".mlops/*/stack.json"):
            servers = Stack.recorded(record.parent)
            assert servers is not None
            servers.stop()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_page_leads_to_an_endpoint_that_answers_and_is_watched(project: Path) -> None:
    said: dict[Block, str] = {}
    for block in BLOCKS:
        if "file" in block.options:
            _write(block, project)
        elif block.runs:
            said[block] = _run(project, block.text)
            if "mlops step" in block.text:
                _check_the_build(project)

    first, second = (text for block, text in said.items() if block.text.startswith("mlops approve"))
    for answered in (first, second):
        answer = json.loads(answered[answered.index("{") :].partition("\n}\n")[0] + "}")["response"]
        assert answer["will_leave"] is True
        assert 0.5 < answer["probability"] < 1
    assert "staging serves version 2 of cardholders" in first
    assert "prod serves version 2 of cardholders" in second
    assert "no-requests" in second

    newest, oldest = json.loads(_run(project, "mlops models cardholders --json"))
    assert (newest["version"], newest["approval"], oldest["approval"]) == (2, "Approved", "PendingManualApproval")
    _run(project, "mlops verify cardholders --stage staging")
    # Against the champion that it is itself.
    _run(project, "mlops run cardholders build --param DecisionThreshold=0.4")
    _run(project, "mlops report cardholders build --out report.html")
    assert "Version 3" in (project / "report.html").read_text()
    _check_the_monitor(project)
    _check_the_other_tests(project)


def _check_the_build(project: Path) -> None:
    """What the page says of a model that is not new, and of one that is not good enough."""
    again = "mlops run cardholders build --param DecisionThreshold=0.4"
    assert "nothing to register" in _run(project, again)
    refused = _run(project, f"{again} --param MinRocAuc=0.99", status=1)
    assert "ROC-AUC 0.7" in refused
    assert "(at least 0.99)" in refused
    assert "Train              cached" in refused


def _check_the_monitor(project: Path) -> None:
    """Four hundred are asked about; a month later it is known who left."""
    kept = dotenv_values(project / ".mlops" / "env")
    account = boto3.Session(kept["AWS_ACCESS_KEY_ID"], kept["AWS_SECRET_ACCESS_KEY"], region_name="eu-west-1")
    s3, scheduler = (account.client(name, endpoint_url=kept["AWS_ENDPOINT_URL"]) for name in ("s3", "scheduler"))
    servers = Stack.recorded(project / ".mlops" / "state")
    assert servers is not None
    header, *lines = (project / ".mlops" / "customers.csv").read_text().splitlines()
    customers = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines[-400:]]
    fields = [name for name in customers[0] if name not in ("customer_id", "left")]
    asked = [{name: float(one[name]) for name in fields} for one in customers]
    (project / "asked.json").write_text(json.dumps(asked))
    _run(project, "mlops invoke cardholders @asked.json --inference-id asked")
    hour = servers.advance(timedelta(hours=1)) - timedelta(hours=1)
    seen = _run(project, "mlops monitor cardholders")
    requests = re.search(r"^Requests (\d+)$", seen, re.MULTILINE)
    assert requests is not None
    assert int(requests[1]) >= 400
    assert "PopulationStabilityIndex" in seen
    assert "DriftDetected 0" in seen

    told = [
        json.dumps(
            {
                "groundTruthData": {"data": one["left"], "encoding": "CSV"},
                "eventMetadata": {"eventId": f"asked-{place}"},
                "eventVersion": "0",
            }
        )
        for place, one in enumerate(customers)
    ]
    key = f"cardholders/ground-truth/{hour:%Y/%m/%d/%H}/told.jsonl"
    s3.put_object(Bucket="leavers-123456789012-eu-west-1", Key=key, Body="\n".join(told).encode())
    _let_nothing_happen_by_itself(scheduler)
    servers.advance(timedelta(days=30))
    judged = _run(project, "mlops monitor cardholders --report")
    assert "scored: 400 of " in judged
    assert "below the threshold" in judged
    assert "drift/" in judged.splitlines()[-1]


def _let_nothing_happen_by_itself(scheduler: Any) -> None:
    """A month has seven hundred hours, each of which would be evaluated."""
    for listed in scheduler.list_schedules()["Schedules"]:
        there = scheduler.get_schedule(Name=listed["Name"], GroupName=listed["GroupName"])
        same = {
            name: there[name]
            for name in ("Name", "GroupName", "ScheduleExpression", "FlexibleTimeWindow", "Target")
            if name in there
        }
        scheduler.update_schedule(**same, State="DISABLED")


def _check_the_other_tests(project: Path) -> None:
    """The project's tests can still be found, all of them, and those that ask the workload's programs pass."""
    _run(project, "python -m pytest -q --collect-only -p no:cacheprovider tests")
    common = "tests/seed_code/common"
    _run(project, f"python -m pytest -q {common}/test_drift_report.py {common}/test_clients_of_programs.py")
