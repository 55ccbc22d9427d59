"""The image's contract, by its real programs: what the Dockerfile copies, in folders as SageMaker lays them out.

The quick test runs them with this environment's Python. The slow one (`-m image`) installs the image's own
requirements into an environment of their own, so that nothing else can be what makes it work.
"""

import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from dockerfile_parse import DockerfileParser

from seed_code.cardholders import train

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = ROOT / "seed_code" / "cardholders" / "Dockerfile"
RECORD = {"usage_freq": 1, "amount_spend": 40000, "uniq_merchant": 89, "k": 6, "name": "C_Mason"}


def _instructions():
    parser = DockerfileParser(fileobj=io.BytesIO(DOCKERFILE.read_bytes()))
    return [(entry["instruction"], entry["value"]) for entry in parser.structure if entry["instruction"] != "COMMENT"]


class Image:
    """What the Dockerfile copies, below `root`, run with the Python of `environment`."""

    def __init__(self, root: Path, python: Path) -> None:
        self.root = root
        for name, value in _instructions():
            if name == "COPY":
                source, target = value.split()
                copied = root / target.lstrip("/")
                copied.parent.mkdir(parents=True, exist_ok=True)
                if (ROOT / source).is_dir():
                    ignored = shutil.ignore_patterns("__pycache__")
                    shutil.copytree(ROOT / source, copied, dirs_exist_ok=True, ignore=ignored)
                else:
                    shutil.copyfile(ROOT / source, copied)
        self._path = f"{root}/opt/program/bin:{python.parent}:/usr/bin:/bin"
        self._python = str(python)

    def start(self, command, base, **environment):
        """A program of the image with as little of an environment as SageMaker gives it."""
        command = [self._python, *command[1:]] if command[0] == "python3" else command
        return subprocess.Popen(
            command,
            cwd=base,
            env={
                "PATH": self._path,
                "HOME": str(base),
                "LANG": "C.UTF-8",
                "PYTHONPATH": str(self.root / "opt" / "program"),
                "PYTHONWARNINGS": "error::DeprecationWarning:seed_code",
                "SAGEMAKER_BASE_DIR": str(base),
                "OMP_NUM_THREADS": "1",
                "AWS_DEFAULT_REGION": "eu-west-1",
                "AWS_EC2_METADATA_DISABLED": "true",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command, base, **environment):
        """Exit status and output of a program."""
        process = self.start(command, base, **environment)
        output, _ = process.communicate(timeout=170)
        return process.returncode, output


def _arrange(base, hyperparameters, prepared=None, *channels):
    """The folders of a training job."""
    config = base / "input" / "config"
    config.mkdir(parents=True)
    (config / "hyperparameters.json").write_text(json.dumps(hyperparameters))
    for channel in channels:
        shutil.copytree(prepared / channel, base / "input" / "data" / channel)


def _train(image, base, prepared, part, **hyperparameters):
    channels = ("holders",) if part == "clusters" else ("train", "validation")
    _arrange(base, {"part": part, **hyperparameters}, prepared, *channels)
    status, output = image.run(["train"], base)
    assert status == 0, output
    assert re.search(rf"^{part}: .*=.*;$", output, re.MULTILINE)


def _deliver(base, output):
    """What SageMaker does with a training job's model folder."""
    output.mkdir(parents=True)
    subprocess.run(["tar", "-czf", output / "model.tar.gz", "-C", base / "model", "."], check=True)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _request(port, method, path, payload=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        body = None if payload is None else json.dumps(payload)
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _ready(port, process):
    """Poll until the server answers its ping; the pause is between attempts, not in place of an answer."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if _request(port, "GET", "/ping")[0] == 200:
                return True
        except OSError:
            time.sleep(0.05)
    return False


def _contract(image, prepared, tmp_path, *, clusters=None, tracking=None):
    """Train, package, serve, ask; with `tracking`, evaluate too.

    clusters: the archive of that part, where it need not be trained.
    """
    inputs = tmp_path / "package" / "processing" / "input"
    if clusters is None:
        _train(image, tmp_path / "clusters", prepared, "clusters")
        _deliver(tmp_path / "clusters", inputs / "clusters")
    else:
        (inputs / "clusters").mkdir(parents=True)
        shutil.copyfile(clusters, inputs / "clusters" / "model.tar.gz")
    _train(image, tmp_path / "purchase", prepared, "purchase", max_iterations="10", min_samples_leaf="20")
    _deliver(tmp_path / "purchase", inputs / "purchase")
    base = tmp_path / "package"
    shutil.copytree(prepared / "holdout", base / "processing" / "input" / "holdout")
    status, output = image.run(["python3", "-m", "seed_code.cardholders.package", "--decision-threshold", "0.4"], base)
    assert status == 0, output
    packaged = base / "processing" / "output" / "package"

    hosting = tmp_path / "hosting"
    (hosting / "model").mkdir(parents=True)
    subprocess.run(["tar", "-xzf", packaged / "model.tar.gz", "-C", hosting / "model"], check=True)
    port = _free_port()
    server = image.start(["serve"], hosting, SAGEMAKER_BIND_TO_PORT=str(port))
    try:
        assert _ready(port, server), server.communicate()[0]
        status, answer = _request(port, "POST", "/invocations", RECORD)
        assert status == 200
        response = json.loads(answer)["response"]
        assert response["will_spend"] is (response["probability"] >= 0.4)
        for entry in json.loads((packaged / "manifest.json").read_text())["golden"]:
            assert (
                json.loads(_request(port, "POST", "/invocations", entry["request"])[1])["response"] == entry["response"]
            )
        assert _request(port, "POST", "/invocations", {**RECORD, "k": 31})[0] == 400
    finally:
        server.send_signal(signal.SIGTERM)
        log, _ = server.communicate(timeout=30)
    assert server.returncode in (0, -signal.SIGTERM), log
    assert "Mason" not in log
    if tracking is not None:
        base = tmp_path / "evaluate"
        shutil.copytree(packaged, base / "processing" / "input" / "package")
        shutil.copytree(prepared / "holdout", base / "processing" / "input" / "holdout")
        shutil.copytree(prepared / "report", base / "processing" / "input" / "report")
        status, output = image.run(
            ["python3", "-m", "seed_code.cardholders.evaluate", "--experiment", "image", "--max-records", "900"],
            base,
            MLFLOW_TRACKING_URI=tracking,
            MLFLOW_ALLOW_FILE_STORE="true",
        )
        assert status == 0, output
        evaluation = json.loads((base / "processing" / "output" / "evaluation" / "evaluation.json").read_text())
        assert evaluation["server"]["mismatches"] == 0
        assert evaluation["mlflow"]["run_id"]


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return Image(tmp_path_factory.mktemp("image"), Path(sys.executable))


@pytest.mark.slow
def test_train_package_and_serve_by_the_images_own_programs(image, prepared, parts, tmp_path):
    """The clusters are trained below, in this process: it has the libraries, whose import takes longer."""
    _contract(image, prepared, tmp_path, clusters=parts / "clusters.tar.gz")


@pytest.mark.slow
def test_a_training_that_fails_leaves_its_reason(image, tmp_path):
    _arrange(tmp_path, {})
    status, output = image.run(["train"], tmp_path)
    assert status == 1
    assert "`part` is None; expected one of clusters, purchase" in (tmp_path / "output" / "failure").read_text()
    assert "Traceback" not in output


@pytest.fixture
def train_here(tmp_path, monkeypatch, capfd):
    """Run the same program in this process, which has its libraries: exit status, output and reason of its failure."""

    def ran():
        monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
        try:
            train.main()
        except SystemExit as ended:
            return ended.code, "".join(capfd.readouterr()), (tmp_path / "output" / "failure").read_text()
        return 0, "".join(capfd.readouterr()), None

    return ran


@pytest.mark.parametrize(
    ("hyperparameters", "said"),
    [
        ({"part": "forest"}, "`part` is 'forest'; expected one of clusters, purchase"),
        ({"part": "clusters", "max_clusters": "1", "depth": "2"}, "`max_clusters` is `1`; expected a whole number"),
        ({"part": "clusters"}, "there is no"),
    ],
)
def test_a_failed_training_says_why_in_one_line(train_here, tmp_path, hyperparameters, said):
    _arrange(tmp_path, hyperparameters)
    status, output, reason = train_here()
    assert status == 1
    assert said in reason
    assert "\n" not in reason
    assert "Traceback" not in output


def test_the_clusters_are_trained_by_the_same_program(train_here, prepared, tmp_path):
    _arrange(tmp_path, {"part": "clusters"}, prepared, "holders")
    status, output, reason = train_here()
    assert (status, reason) == (0, None), output
    assert re.search(r"^clusters: .*=.*;$", output, re.MULTILINE)
    assert any((tmp_path / "model").iterdir())


def test_more_days_than_prepare_looked_ahead_are_refused(train_here, prepared, tmp_path):
    tunables = {"part": "purchase", "max_horizon_days": "40", "max_iterations": "5"}
    _arrange(tmp_path, tunables, prepared, "train", "validation")
    assert train_here()[0] == 0  # the made-up files do not say how far ahead they looked
    file = tmp_path / "input" / "data" / "train" / "examples.parquet"
    table = pq.read_table(file)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"max_horizon": b"30"}), file)
    status, output, _ = train_here()
    assert status == 1
    assert "`max_horizon_days` is 40, but Prepare looked" in output


@pytest.mark.slow
def test_a_server_without_a_model_ends_and_says_so(image, tmp_path):
    status, output = image.run(["serve"], tmp_path, SAGEMAKER_BIND_TO_PORT=str(_free_port()))
    assert status == 1
    assert "there is no" in output
    assert "manifest.json" in output
    assert "Traceback" not in output


def test_the_dockerfile_keeps_to_what_localcloud_reads():
    instructions = _instructions()
    names = [name for name, _ in instructions]
    assert names.count("FROM") == 1
    assert not {"ADD", "ENTRYPOINT", "CMD", "ARG", "ONBUILD"} & set(names)
    assert ("USER", "model") in instructions
    for name, value in instructions:
        if name == "COPY":
            source, target = value.split()
            assert not re.search(r"[*?\[]", value)
            assert (ROOT / source).exists()
            assert target.startswith("/opt/program/")
    variables = dict(
        pair.split("=", 1)
        for name, value in instructions
        if name == "ENV"
        for pair in value.replace("\\\n", "").split()
    )
    assert variables["PYTHONPATH"] == "/opt/program"
    assert variables["PATH"].split(":")[0] == "/opt/program/bin"
    for program in ("train", "serve"):
        assert os.access(DOCKERFILE.parent / "bin" / program, os.X_OK)


def _pins(file):
    lines = [line.split("#")[0].strip() for line in file.read_text().splitlines()]
    return dict(line.split(" ;")[0].split("==") for line in lines if line)


def test_the_image_holds_the_versions_of_the_lock():
    pins, lock = _pins(DOCKERFILE.parent / "requirements.txt"), _pins(ROOT / "requirements" / "base.txt")
    assert pins
    assert {name: lock.get(name) for name in pins} == pins
    asked = [
        line for line in (DOCKERFILE.parent / "requirements.in").read_text().splitlines() if not line.startswith("#")
    ]
    assert set(asked) <= set(pins)
    assert "mlflow" not in pins


@pytest.mark.image
@pytest.mark.timeout(900)
def test_the_contract_holds_in_an_environment_of_the_images_own_requirements(prepared, tmp_path):
    uv = Path(sys.executable).parent / "uv"
    environment = {**os.environ}
    if "PIP_FIND_LINKS" in environment:
        environment.setdefault("UV_FIND_LINKS", environment["PIP_FIND_LINKS"])
    own = tmp_path / "environment"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, own], check=True, env=environment)
    python = own / "bin" / "python3"
    requirements = DOCKERFILE.parent / "requirements.txt"
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", python, "--requirement", requirements],
        check=True,
        env=environment,
    )
    image = Image(tmp_path / "image", python)
    # An SQLite store would need mlflow whole; the light client can write to a folder.
    tracking = (tmp_path / "mlruns").as_uri()
    _contract(image, prepared, tmp_path / "jobs", tracking=tracking)
    # What else the image's programs import is there too: every module of it can be imported.
    modules = sorted(
        str(file.relative_to(image.root / "opt" / "program").with_suffix("")).replace("/", ".")
        for folder in ("common", "cardholders")
        for file in (image.root / "opt" / "program" / "seed_code" / folder).glob("*.py")
    )
    (tmp_path / "imports").mkdir()
    status, output = image.run(["python3", "-c", "\n".join(f"import {name}" for name in modules)], tmp_path / "imports")
    assert status == 0, output
