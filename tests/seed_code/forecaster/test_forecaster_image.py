"""The image: what its Dockerfile may say, the versions it holds, and its programs in an environment of its own.

The slow test (`-m image`) installs the image's own requirements into an environment of their own, so that nothing else
can be what makes the programs work; `test_contract` runs them with this environment's Python.
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = ROOT / "seed_code" / "forecaster" / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    parser = DockerfileParser(fileobj=io.BytesIO(DOCKERFILE.read_bytes()))
    return [(entry["instruction"], entry["value"]) for entry in parser.structure if entry["instruction"] != "COMMENT"]


def copy_to(root: Path) -> None:
    """Put below a folder what the image holds of this repository."""
    for name, value in instructions():
        if name == "COPY":
            source, target = value.split()
            copied = root / target.lstrip("/")
            copied.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / source, copied, dirs_exist_ok=True, ignore=ignored)
            else:
                shutil.copyfile(ROOT / source, copied)


def test_the_dockerfile_keeps_to_what_localcloud_reads(tmp_path):
    names = [name for name, _ in instructions()]
    assert names.count("FROM") == 1
    assert not {"ADD", "ENTRYPOINT", "CMD", "ARG", "ONBUILD"} & set(names)
    assert ("USER", "model") in instructions()
    copy_to(tmp_path)
    program = tmp_path / "opt" / "program"
    assert all(os.access(program / "bin" / name, os.X_OK) for name in ("train", "serve"))
    assert sorted(path.name for path in (program / "seed_code").iterdir()) == ["__init__.py", "common", "forecaster"]


def pins(file: Path) -> dict[str, str]:
    lines = [line.split("#")[0].strip() for line in file.read_text().splitlines()]
    return dict(line.split(" ;")[0].split("==") for line in lines if line)


def test_the_image_holds_the_versions_of_the_lock():
    held, lock = pins(DOCKERFILE.parent / "requirements.txt"), pins(ROOT / "requirements" / "base.txt")
    assert held
    assert {name: lock.get(name) for name in held} == held
    lines = (DOCKERFILE.parent / "requirements.in").read_text().splitlines()
    asked = {line.partition("==")[0] for line in lines if not line.startswith("#")}
    assert asked <= set(held)
    # A trainer that is not used, the whole of MLflow, and CUDA's libraries have no place in it.
    assert not {name for name in held if re.match(r"(mlflow|.*lightning|nvidia-.*|cuda-.*)$", name)}


@pytest.mark.image
@pytest.mark.timeout(900)
def test_the_programs_work_in_an_environment_of_the_images_own_requirements(prepared, tmp_path):
    uv, environment = Path(sys.executable).parent / "uv", {**os.environ}
    if "PIP_FIND_LINKS" in environment:
        environment.setdefault("UV_FIND_LINKS", environment["PIP_FIND_LINKS"])
    else:
        environment.setdefault("UV_TORCH_BACKEND", "cpu")
    own = tmp_path / "environment"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, own], check=True, env=environment)
    install = [uv, "pip", "install", "--quiet", "--python", own / "bin" / "python3"]
    subprocess.run([*install, "-r", DOCKERFILE.parent / "requirements.txt"], check=True, env=environment)
    copy_to(tmp_path / "image")
    program, base = tmp_path / "image" / "opt" / "program", tmp_path / "job"

    def run(*command: str) -> str:
        done = subprocess.run(
            command,
            cwd=base,
            env={
                "PATH": f"{program}/bin:{own}/bin:/usr/bin:/bin", "HOME": str(base), "LANG": "C.UTF-8",
                "PYTHONPATH": str(program), "SAGEMAKER_BASE_DIR": str(base), "OMP_NUM_THREADS": "1",
                "AWS_DEFAULT_REGION": "eu-west-1", "AWS_EC2_METADATA_DISABLED": "true",
                # An SQLite store would need mlflow whole; the light client can write to a folder.
                "MLFLOW_TRACKING_URI": (tmp_path / "mlruns").as_uri(), "MLFLOW_ALLOW_FILE_STORE": "true",
            },
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=170, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    (base / "input" / "config").mkdir(parents=True)
    run("python3", "-m", "seed_code.forecaster.generate", "--out", str(base / "minutes.parquet"), "--days", "1")
    given = json.loads((prepared.model / "model.json").read_text())["training"]["hyperparameters"]
    (base / "input" / "config" / "hyperparameters.json").write_text(json.dumps(given))
    channel = base / "input" / "data" / "train"
    channel.mkdir(parents=True)
    record = {"start": "2026-01-01 00:00:00", "target": [float(at % 60) for at in range(600)]}
    (channel / "train.json").write_text(json.dumps(record))
    assert "train final_loss <loss>=" in run("train")
    shutil.copytree(prepared.input, base / "processing" / "input")
    assert "mean_wql=" in run("python3", "-m", "seed_code.forecaster.evaluate", "--experiment", "image")
    # What else the image's programs import is there too: every module of it can be imported.
    modules = sorted(
        str(file.relative_to(program).with_suffix("")).replace("/", ".")
        for folder in ("common", "forecaster")
        for file in (program / "seed_code" / folder).glob("*.py")
    )
    run("python3", "-c", "\n".join(f"import {name}" for name in modules))
