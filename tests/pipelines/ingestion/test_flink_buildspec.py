"""The build of the Flink application: a connector that nobody has vouched for is not used."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pipelines import template
from tests.pipelines.conftest import ROOT

BUILDSPEC: dict[str, Any] = yaml.safe_load((ROOT / "buildspecs" / "flink.yml").read_text())
CONNECTOR = BUILDSPEC["env"]["variables"]["CONNECTOR"]
JAR = b"a connector"
DIGEST = hashlib.sha256(JAR).hexdigest()
# What stands in for Maven: it puts a file where it is told to, without its version, and notes what it was asked for.
MAVEN = """\
#!/bin/sh
echo "$@" > asked
for argument in "$@"; do case $argument in
  -DoutputDirectory=*) folder=${argument#*=} ;;
  -Dartifact=*) name=$(echo "${argument#*=}" | cut -d : -f 2) ;;
esac; done
mkdir -p "$folder" && printf %s "a connector" > "$folder/$name.jar"
"""


def fetch(folder: Path, pinned: str) -> subprocess.CompletedProcess[str]:
    """Run the build's fetching of the connector."""
    maven = folder / "bin" / "mvn"
    maven.parent.mkdir()
    maven.write_text(MAVEN)
    maven.chmod(0o755)
    [command] = BUILDSPEC["phases"]["pre_build"]["commands"]
    environment = {"PATH": f"{maven.parent}:{os.environ['PATH']}", "CONNECTOR": CONNECTOR, "CONNECTOR_SHA256": pinned}
    return subprocess.run(["sh", "-c", command], cwd=folder, env=environment, capture_output=True, text=True)


def jars(folder: Path) -> list[Path]:
    return list(folder.rglob("*.jar"))


def test_the_connector_that_is_pinned_is_fetched_to_where_the_template_looks_for_it(tmp_path: Path) -> None:
    done = fetch(tmp_path, DIGEST)
    assert done.returncode == 0, done.stderr
    [jar] = jars(tmp_path)
    options = template.read("ingestion")["Resources"]["FlinkApplication"]["Properties"]["ApplicationConfiguration"]
    [run] = [
        group["PropertyMap"]["Fn::If"]
        for group in options["EnvironmentProperties"]["PropertyGroups"]
        if group["PropertyGroupId"] == "kinesis.analytics.flink.run.options"
    ]
    assert jar.relative_to(tmp_path / ".mlops" / "flink").as_posix() == run[2]["jarfile"]
    assert f"-Dartifact={CONNECTOR}" in (tmp_path / "asked").read_text().split()


@pytest.mark.parametrize(
    ("pinned", "said"), [("", "has no pinned digest"), ("0" * 64, "buildspecs/flink.yml expects 00000")]
)
def test_another_connector_is_refused_with_its_digest(tmp_path: Path, pinned: str, said: str) -> None:
    done = fetch(tmp_path, pinned)
    assert done.returncode == 1
    assert said in done.stderr
    assert DIGEST in done.stderr
    assert not jars(tmp_path)


def test_a_connector_that_is_not_there_ends_the_build(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "mvn").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin" / "mvn").chmod(0o755)
    [command] = BUILDSPEC["phases"]["pre_build"]["commands"]
    environment = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "CONNECTOR": CONNECTOR, "CONNECTOR_SHA256": DIGEST}
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
