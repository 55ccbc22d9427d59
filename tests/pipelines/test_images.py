"""Images: what a Dockerfile says, as a digest; and how ECR comes to have it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from pipelines import images
from pipelines.errors import ImageError, UsageError
from pipelines.names import Names

ROOT = Path(__file__).resolve().parents[2]
NAMES = Names("fraud", "123456789012", "eu-west-1")


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Path]:
    """Makes a working copy of one Dockerfile and the files named (path: content)."""

    def make(dockerfile: str | bytes, **files: str) -> Path:
        folder = tmp_path / "seed_code" / "cardholders"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "Dockerfile").write_bytes(dockerfile if isinstance(dockerfile, bytes) else dockerfile.encode())
        for name, content in {"a.py": "a", "b.py": "b", "lib/c.py": "c", **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return tmp_path

    return make


def _targets(root: Path) -> list[str]:
    return [file.target for file in images.read(root, "cardholders").files]


# --- reading ----------------------------------------------------------------------------------------------------------


def test_the_cardholders_image_holds_its_programs_and_runs_as_an_ordinary_user() -> None:
    image = images.read(ROOT, "cardholders")
    targets = {file.target: file for file in image.files}
    assert "/opt/program/seed_code/common/__init__.py" in targets
    assert targets["/opt/program/bin/train"].executable
    assert targets["/opt/program/bin/serve"].executable
    assert "PYTHONPATH=/opt/program" in image.settings["Env"]
    assert image.settings["User"] not in ("", "root", "0")


def test_settings_of_a_dockerfile_become_those_of_the_image(tree: Callable[..., Path]) -> None:
    image = images.read(
        tree(
            "# a comment\nARG VERSION=1\nFROM python:3.11-slim\nENV A=1 B='two words'\n"
            "ENV PATH=/opt/bin:$PATH C=${A}x\n"
            "WORKDIR /opt\nWORKDIR program\nUSER 1000\nLABEL x=y\nEXPOSE 8080\nRUN pip install x && \\\n    true\n"
            'CMD ["gone"]\nENTRYPOINT ["python3", "-m", "x"]\nCMD ["serve"]\n'
        ),
        "cardholders",
    )
    assert image.settings == {
        "Env": [
            "PATH=/opt/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "A=1",
            "B=two words",
            "C=1x",
        ],
        "WorkingDir": "/opt/program",
        "User": "1000",
        "Entrypoint": ["python3", "-m", "x"],
        "Cmd": ["serve"],
    }
    assert image.files == ()


def test_the_shell_form_of_a_command_runs_in_a_shell(tree: Callable[..., Path]) -> None:
    image = images.read(tree("FROM x\nCMD serve --now\n"), "cardholders")
    assert image.settings["Cmd"] == ["/bin/sh", "-c", "serve --now"]


@pytest.mark.parametrize(
    ("instruction", "targets"),
    [
        ("COPY a.py /opt/x.py", ["/opt/x.py"]),
        ("COPY a.py /opt/", ["/opt/a.py"]),
        ("COPY a.py b.py /opt/", ["/opt/a.py", "/opt/b.py"]),
        ("COPY a.py .", ["/work/a.py"]),
        ("COPY a.py sub/", ["/work/sub/a.py"]),
        ("COPY lib /opt/lib", ["/opt/lib/c.py"]),
        ("COPY lib/ /opt/lib/", ["/opt/lib/c.py"]),
        ("COPY ./lib /opt/lib", ["/opt/lib/c.py"]),
        ('COPY ["a.py", "/opt/with space/"]', ["/opt/with space/a.py"]),
        ('COPY a.py "/opt/with space/"', ["/opt/with space/a.py"]),
        ("COPY --chown=app:app a.py /opt/", ["/opt/a.py"]),
        ("ENV TARGET=/opt\nCOPY a.py $TARGET/y.py", ["/opt/y.py"]),
    ],
)
def test_files_land_where_docker_puts_them(tree: Callable[..., Path], instruction: str, targets: list[str]) -> None:
    assert _targets(tree(f"FROM x\nWORKDIR /work\n{instruction}\n")) == targets


def test_a_later_copy_goes_over_an_earlier_one(tree: Callable[..., Path]) -> None:
    (file,) = images.read(tree("FROM x\nCOPY a.py /opt/f\nCOPY b.py /opt/f\n"), "cardholders").files
    assert file.content == b"b"


def test_byte_code_and_caches_are_left_out(tree: Callable[..., Path]) -> None:
    root = tree(
        "FROM x\nCOPY lib /opt\n", **{"lib/__pycache__/c.cpython-311.pyc": "", "lib/old.pyc": "", "lib/d/e.py": ""}
    )
    assert _targets(root) == ["/opt/c.py", "/opt/d/e.py"]


@pytest.mark.parametrize(
    ("dockerfile", "line", "said"),
    [
        ("FROM x\nADD a.py /opt/\n", 2, "ADD: the instruction is not supported; use COPY"),
        ('FROM x\nSHELL ["sh"]\n', 2, "SHELL: the instruction is not supported"),
        ("FROM x AS build\nRUN true\nFROM y\n", 3, "second stage"),
        ("FROM x\nCOPY --from=build /a /b\n", 2, "--from is not supported"),
        ("FROM x\nCOPY --link a.py /b\n", 2, "--link is not supported"),
        ("FROM x\nCOPY --chmod=u+x a.py /b\n", 2, "--chmod=u+x is not supported"),
        ("FROM x\nCOPY *.py /opt/\n", 2, "wildcard `*.py`"),
        ("FROM x\nCOPY a?.py /opt/\n", 2, "wildcard `a?.py`"),
        ("FROM x\nCOPY <<EOF /opt/f\nhello\nEOF\n", 2, "here-document"),
        ("FROM x\nRUN <<EOF\npip install x\nEOF\n", 2, "here-document"),
        ("FROM x\nCOPY . /opt/\n", 2, "`.` is not supported"),
        ("FROM x\nCOPY ../other /opt/\n", 2, "`../other` is not supported"),
        ("FROM x\nCOPY /etc/passwd /opt/\n", 2, "`/etc/passwd` is not supported"),
        ("FROM x\nCOPY missing.py /opt/\n", 2, "`missing.py` does not exist"),
        ("FROM x\nCOPY a.py b.py /opt\n", 2, "expected a folder: `/opt/`"),
        ("FROM x\nCOPY a.py\n", 2, "found 1 path"),
        ("FROM x\nCOPY ['a.py', '/opt/']\n", 2, "not valid JSON"),
        ("FROM x\nENTRYPOINT [1]\n", 2, "JSON list of texts"),
        ("FROM x\nENV A=${B:-1}\n", 2, "`${B:-1}` is not supported"),
        ("FROM x\nWORKDIR $NOWHERE\n", 2, "`$NOWHERE` is not set"),
        ("RUN true\nFROM x\n", 1, "stands before FROM"),
        ("# escape=`\nFROM x\n", 1, "escape"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(
    tree: Callable[..., Path], dockerfile: str, line: int, said: str
) -> None:
    with pytest.raises(ImageError) as raised:
        images.read(tree(dockerfile), "cardholders")
    assert str(raised.value).startswith(f"seed_code/cardholders/Dockerfile:{line}:")
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("content", "said"), [("", "no FROM"), ("# only a comment\n", "no FROM"), (b"FROM \xff\n", "UTF-8")]
)
def test_a_file_that_is_no_dockerfile_is_refused(tree: Callable[..., Path], content: str | bytes, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        images.read(tree(content), "cardholders")


def test_symbolic_links_are_refused(tree: Callable[..., Path]) -> None:
    root = tree("FROM x\nCOPY lib /opt\n")
    (root / "lib" / "link.py").symlink_to(root / "a.py")
    with pytest.raises(ImageError, match=r"lib/link\.py` is a symbolic link"):
        images.read(root, "cardholders")


def test_a_workload_without_a_dockerfile_is_named_with_those_that_have_one(tree: Callable[..., Path]) -> None:
    root = tree("FROM x\n")
    assert images.discover(root) == ["cardholders"]
    with pytest.raises(UsageError, match="did you mean `cardholders`"):
        images.read(root, "cardholder")


# --- the digest and the layer -----------------------------------------------------------------------------------------


def test_the_digest_is_that_of_the_content_and_of_nothing_else(tree: Callable[..., Path]) -> None:
    root = tree("FROM x\nCOPY lib /opt\n")
    first = images.read(root, "cardholders")
    os.utime(root / "lib" / "c.py", (1, 1))
    (root / "lib" / "c.py").chmod(0o600)
    (root / "a.py").write_text("not copied")
    assert images.read(root, "cardholders").digest == first.digest


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "lib" / "c.py").write_text("changed"),
        lambda root: (root / "lib" / "c.py").chmod(0o755),
        lambda root: (root / "lib" / "c.py").rename(root / "lib" / "d.py"),
        lambda root: (root / "lib" / "new.py").write_text(""),
        lambda root: (root / "seed_code/cardholders/Dockerfile").write_text("FROM other\nCOPY lib /opt\n"),
        lambda root: (root / "seed_code/cardholders/Dockerfile").write_text("FROM x\nENV A=1\nCOPY lib /opt\n"),
    ],
    ids=["content", "mode", "name", "file", "base image", "environment"],
)
def test_whatever_changes_the_image_changes_its_digest(
    tree: Callable[..., Path], change: Callable[[Path], object]
) -> None:
    root = tree("FROM x\nCOPY lib /opt\n")
    before = images.read(root, "cardholders").digest
    change(root)
    assert images.read(root, "cardholders").digest != before


def test_the_layer_has_the_same_bytes_whoever_makes_it_and_whenever(tree: Callable[..., Path]) -> None:
    root = tree("FROM x\nCOPY a.py lib /opt/\n")
    (root / "a.py").chmod(0o750)
    first = images.layer(images.read(root, "cardholders"))
    os.utime(root / "a.py", (1, 1))
    (root / "lib" / "c.py").chmod(0o666)
    assert images.layer(images.read(root, "cardholders")) == first
    with tarfile.open(fileobj=io.BytesIO(first[1]), mode="r:gz") as archive:
        members = {member.name: (member.mode, member.mtime, member.uid, member.uname) for member in archive}
        assert members == {"opt/a.py": (0o755, 0, 0, ""), "opt/c.py": (0o644, 0, 0, "")}
        assert archive.extractfile("opt/a.py").read() == b"a"  # type: ignore[union-attr]
    assert gzip.decompress(first[1]) == first[0]


def test_the_manifest_describes_configuration_and_layer(tree: Callable[..., Path]) -> None:
    image = images.read(tree('FROM x\nENV A=1\nCOPY lib /opt\nENTRYPOINT ["run"]\n'), "cardholders")
    manifest = json.loads(images.manifest(image, "s3://bucket/key"))
    tar, packed = images.layer(image)
    config = base64.b64decode(manifest["config"]["data"])
    assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert manifest["config"]["digest"] == f"sha256:{hashlib.sha256(config).hexdigest()}"
    assert manifest["config"]["size"] == len(config)
    assert json.loads(config)["config"] == image.settings
    assert json.loads(config)["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(tar).hexdigest()}"]
    (layer,) = manifest["layers"]
    assert layer["digest"] == f"sha256:{hashlib.sha256(packed).hexdigest()}"
    assert (layer["size"], layer["urls"]) == (len(packed), ["s3://bucket/key"])


# --- the registry -----------------------------------------------------------------------------------------------------


def _make_bucket(project: Any) -> Any:
    s3 = project.session.client("s3")
    where = {"LocationConstraint": project.names.region}
    s3.create_bucket(Bucket=project.names.bucket, CreateBucketConfiguration=where)
    return s3


def test_an_image_is_registered_once(project: Any) -> None:
    s3 = _make_bucket(project)
    image = images.read(project.root, "cardholders")
    uri = project.names.image_uri("cardholders", image.digest)
    assert images.register_all(project.session, project.names, project.root) == [
        images.Registered("cardholders", uri, new=True)
    ]
    assert images.register(project.session, project.names, image) == images.Registered("cardholders", uri, new=False)

    repository, tag = uri.split("/", 1)[1].split(":")
    ecr = project.session.client("ecr")
    (described,) = ecr.describe_repositories(repositoryNames=[repository])["repositories"]
    assert described["imageTagMutability"] == "IMMUTABLE"
    (found,) = ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": tag}])["images"]
    (url,) = json.loads(found["imageManifest"])["layers"][0]["urls"]
    bucket, key = url.removeprefix("s3://").split("/", 1)
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == images.layer(image)[1]


def test_another_content_is_another_image_in_the_same_repository(project: Any) -> None:
    _make_bucket(project)
    (first,) = images.register_all(project.session, project.names, project.root)
    (project.root / "seed_code" / "cardholders" / "program.py").write_text("print('changed')\n")
    (second,) = images.register_all(project.session, project.names, project.root)
    assert second.new
    assert first.uri != second.uri
    assert first.uri.split(":")[0] == second.uri.split(":")[0]


def test_a_layer_that_was_deleted_is_put_back(project: Any) -> None:
    s3 = _make_bucket(project)
    image = images.read(project.root, "cardholders")
    images.register(project.session, project.names, image)
    key = project.names.image_layer_key("cardholders", image.digest)
    s3.delete_object(Bucket=project.names.bucket, Key=key)
    assert images.register(project.session, project.names, image).new is False
    assert s3.head_object(Bucket=project.names.bucket, Key=key)["ContentLength"] > 0


def test_without_the_projects_bucket_the_next_command_is_named(project: Any) -> None:
    with pytest.raises(ImageError, match=rf"bucket `{project.names.bucket}` does not exist; `mlops up`"):
        images.register_all(project.session, project.names, project.root)


class _Session:
    """A boto3 session whose clients are given."""

    def __init__(self, **clients: Any) -> None:
        self.clients = clients

    def client(self, service: str, **_: Any) -> Any:
        return self.clients[service]


def test_ecr_that_wants_the_layers_themselves_asks_for_docker(tree: Callable[..., Path]) -> None:
    image = images.read(tree("FROM x\nCOPY lib /opt\n"), "cardholders")
    real = boto3.Session(region_name="eu-west-1", aws_access_key_id="test", aws_secret_access_key="test")
    ecr, s3 = real.client("ecr"), real.client("s3")
    with Stubber(ecr) as ecr_answers, Stubber(s3) as s3_answers:
        ecr_answers.add_response("describe_repositories", {"repositories": []})
        ecr_answers.add_response("batch_get_image", {"images": [], "failures": []})
        ecr_answers.add_client_error("put_image", "LayersNotFoundException", "layers do not exist")
        s3_answers.add_response("put_object", {})
        with pytest.raises(ImageError) as raised:
            images.register(_Session(ecr=ecr, s3=s3), NAMES, image)  # type: ignore[arg-type]
    assert isinstance(raised.value, images.LayersMissing)
    uri = NAMES.image_uri("cardholders", image.digest)
    assert f"the layers of `{uri}`" in str(raised.value)
    assert "`mlops images` builds it with Docker, by seed_code/cardholders/Dockerfile" in str(raised.value)


def test_an_image_that_docker_pushed_is_left_as_it_is(tree: Callable[..., Path]) -> None:
    image = images.read(tree("FROM x\nCOPY lib /opt\n"), "cardholders")
    real = boto3.Session(region_name="eu-west-1", aws_access_key_id="test", aws_secret_access_key="test")
    ecr = real.client("ecr")
    with Stubber(ecr) as answers:
        answers.add_response("describe_repositories", {"repositories": []})
        answers.add_response("batch_get_image", {"images": [{"imageManifest": '{"layers": []}'}], "failures": []})
        registered = images.register(_Session(ecr=ecr), NAMES, image)  # type: ignore[arg-type]
        answers.assert_no_pending_responses()
    assert registered.new is False


def test_the_verb_prints_what_it_registered(project: Any, mlops: Callable[..., tuple[int, str, str]]) -> None:
    _make_bucket(project)
    status, out, _ = mlops(project.root, "images")
    image = images.read(project.root, "cardholders")
    assert (status, out) == (0, f"{project.names.image_uri('cardholders', image.digest)}  new\n")
    status, out, _ = mlops(project.root, "images", "--json")
    assert [(found["workload"], found["new"]) for found in json.loads(out)] == [("cardholders", False)]
