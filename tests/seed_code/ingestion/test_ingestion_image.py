"""The ingestion image: what its Dockerfile says, and that its programs need no more than its own requirements.

The quick test reads. The slow one (`-m image`) installs the image's requirements into an environment of their own.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import images

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "seed_code" / "ingestion"
# What goes elsewhere: Lambda's runtime, Managed Service for Apache Flink, and the simulator, which is no part of a
# deployment.
ELSEWHERE = ("functions", "flink", "simulator")


def _pins(file: Path) -> dict[str, str]:
    lines = [line.split("#")[0].strip() for line in file.read_text().splitlines()]
    return dict(line.split(" ;")[0].split("==") for line in lines if line)


def _modules() -> list[str]:
    files = [
        file
        for file in sorted(FOLDER.rglob("*.py"))
        if file.relative_to(FOLDER).parts[0] not in ELSEWHERE and file.name != "__main__.py"
    ]
    return [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files]


def test_the_dockerfile_is_one_that_is_read():
    image = images.read(ROOT, "ingestion")
    assert image.settings["User"] == "ingestion"
    assert "PYTHONPATH=/opt/program" in image.settings["Env"]
    assert not {"Entrypoint", "Cmd"} & set(image.settings)  # a task says which of the programs it is
    executable = {file.target: file.executable for file in image.files}
    assert executable["/opt/program/bin/healthy"]
    for program in ("poller", "operator"):
        assert f"/opt/program/seed_code/ingestion/{program}/__main__.py" in executable
    for program in ("replay", "compact"):
        assert f"/opt/program/seed_code/ingestion/{program}.py" in executable


def test_the_image_holds_the_versions_of_the_lock():
    held, lock = _pins(FOLDER / "requirements.txt"), _pins(ROOT / "requirements" / "base.txt")
    assert {name: lock.get(name) for name in held} == held
    asked = {line for line in (FOLDER / "requirements.in").read_text().splitlines() if not line.startswith("#")}
    assert asked <= set(held)
    assert "boto3" not in held  # botocore's clients do


@pytest.mark.image
@pytest.mark.timeout(600)
def test_the_programs_work_in_an_environment_of_the_images_own_requirements(tmp_path):
    environment = {**os.environ}
    if "PIP_FIND_LINKS" in environment:
        environment.setdefault("UV_FIND_LINKS", environment["PIP_FIND_LINKS"])
    uv, own, program = Path(sys.executable).parent / "uv", tmp_path / "environment", tmp_path / "opt" / "program"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, own], check=True, env=environment)
    install = [uv, "pip", "install", "--quiet", "--python", own / "bin" / "python3"]
    subprocess.run([*install, "-r", FOLDER / "requirements.txt"], check=True, env=environment)
    for file in images.read(ROOT, "ingestion").files:
        path = tmp_path / file.target.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        path.chmod(0o755 if file.executable else 0o644)

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=tmp_path,
            env={
                "PATH": f"{program}/bin:{own}/bin:/usr/bin:/bin",
                "HOME": str(tmp_path),
                "LANG": "C.UTF-8",
                "PYTHONPATH": str(program),
                "PYTHONWARNINGS": "error::DeprecationWarning:seed_code",
                "AWS_DEFAULT_REGION": "eu-west-1",
                "AWS_EC2_METADATA_DISABLED": "true",
                "SPOOL_FOLDER": str(tmp_path),
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    imported = run("python3", "-c", "\n".join(f"import {name}" for name in _modules()))
    assert imported.returncode == 0, imported.stderr
    assert run("healthy").returncode == 1
    # Each program begins, and says in its own words what it was not told.
    for name in ("poller", "operator", "replay", "compact"):
        begun = run("python3", "-m", f"seed_code.ingestion.{name}")
        assert begun.returncode == 1, begun.stdout + begun.stderr
        assert "Traceback" not in begun.stdout + begun.stderr
