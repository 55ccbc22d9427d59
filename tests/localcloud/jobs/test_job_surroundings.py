"""What a program finds: its image, rewritten paths, copies from S3; and where its output goes."""

from __future__ import annotations

import base64
import io
import json
import os
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.jobs import transfer
from localcloud.jobs.container import Root, program
from localcloud.jobs.images import Image, ImageError, Images
from localcloud.jobs.logs import LogStream

URI = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/repository:tag"


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": f"{code} it is"}}, "Operation")


class FakeS3:
    """Objects by bucket and key, in pages of two."""

    def __init__(self, **objects: bytes) -> None:
        self.objects = {key: value for key, value in objects.items()}
        self.reads = 0

    def get_paginator(self, _: str) -> FakeS3:
        return self

    def paginate(self, Bucket: str, Prefix: str) -> list[dict[str, Any]]:
        if Bucket != "b":
            raise refused("NoSuchBucket")
        keys = sorted(key for key in self.objects if key.startswith(Prefix))
        return [{"Contents": [{"Key": key} for key in keys[at : at + 2]]} for at in range(0, len(keys), 2)] or [{}]

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        self.reads += 1
        if Key not in self.objects:
            raise refused("NoSuchKey")
        return {"Body": io.BytesIO(self.objects[Key])}

    def put_object(self, Bucket: str, Key: str, Body: Any) -> None:
        if Bucket != "b":
            raise refused("NoSuchBucket")
        self.objects[Key] = Body.read()


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in transfer.files(folder)}


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("s3://b/data/train", {"a.csv": b"1", "sub/b.csv": b"2", "training.csv": b"3"}),
        ("s3://b/data/train/", {"a.csv": b"1", "sub/b.csv": b"2"}),
        ("s3://b/data/train/a.csv", {"a.csv": b"1"}),
        ("s3://b/data/tr", {"train/a.csv": b"1", "train/sub/b.csv": b"2", "training.csv": b"3"}),
    ],
)
def test_a_prefix_is_one_of_key_names(tmp_path: Path, uri: str, found: dict[str, bytes]) -> None:
    s3 = FakeS3(
        **{
            "data/train/a.csv": b"1",
            "data/train/sub/b.csv": b"2",
            "data/training.csv": b"3",
            "data/train/": b"",
            "x": b"",
        }
    )
    assert transfer.download(s3, uri, tmp_path) == sum(map(len, found.values()))
    assert tree(tmp_path) == found


@pytest.mark.parametrize(
    ("uri", "words"),
    [("s3://b/none", "No S3 objects found"), ("s3://other/x", "NoSuchBucket"), ("/local", "no S3 location")],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, uri: str, words: str) -> None:
    with pytest.raises(transfer.TransferError, match=words) as raised:
        transfer.download(FakeS3(), uri, tmp_path)
    assert uri in str(raised.value)


def test_a_key_stays_in_the_folder(tmp_path: Path) -> None:
    with pytest.raises(transfer.TransferError, match="would leave"):
        transfer.download(FakeS3(**{"in/../../out": b"x"}), "s3://b/in/", tmp_path / "deep" / "folder")
    assert tree(tmp_path) == {}


def test_upload_and_pack(tmp_path: Path) -> None:
    (tmp_path / "m" / "sub").mkdir(parents=True)
    (tmp_path / "m" / "a").write_bytes(b"1")
    (tmp_path / "m" / "sub" / "b").write_bytes(b"2")
    s3 = FakeS3()
    assert transfer.upload(s3, tmp_path / "m", "s3://b/to/") == 2
    assert s3.objects == {"to/a": b"1", "to/sub/b": b"2"}
    assert transfer.upload(s3, tmp_path / "none", "s3://b/to") == 0
    with pytest.raises(transfer.TransferError, match="s3://other/x/a: NoSuchBucket"):
        transfer.upload(s3, tmp_path / "m", "s3://other/x")
    transfer.pack(tmp_path / "m", tmp_path / "m.tar.gz")
    with tarfile.open(tmp_path / "m.tar.gz") as archive:
        assert archive.getnames() == ["a", "sub", "sub/b"]


def layer(**files: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o755
            archive.addfile(entry, io.BytesIO(text.encode()))
    return content.getvalue()


class FakeEcr:
    """One image, under any tag but `missing`, in `repository`."""

    def __init__(self, manifest: Any, digest: str = "sha256:1") -> None:
        self.manifest, self.digest = manifest, digest

    def batch_get_image(self, repositoryName: str, imageIds: list[dict[str, str]]) -> dict[str, Any]:
        if repositoryName != "repository":
            raise refused("RepositoryNotFoundException")
        if imageIds[0].get("imageTag") == "missing":
            return {"images": [], "failures": [{}]}
        text = self.manifest if isinstance(self.manifest, str) else json.dumps(self.manifest)
        return {"images": [{"imageId": {"imageDigest": self.digest}, "imageManifest": text}]}


def manifest(**configuration: Any) -> dict[str, Any]:
    document = base64.b64encode(json.dumps({"config": configuration}).encode()).decode()
    return {"config": {"data": document}, "layers": [{"urls": ["s3://b/layer"]}]}


def test_an_image_is_extracted_once(tmp_path: Path) -> None:
    s3 = FakeS3(layer=layer(**{"opt/program/bin/train": "#!/bin/sh"}))
    images = Images(FakeEcr(manifest(Env=["A=1", "B=x=y"], Entrypoint=["run"], Cmd=["it"])), s3, tmp_path, lambda: 0)
    image = images.resolve(URI)
    assert (dict(image.environment), image.entrypoint, image.command) == ({"A": "1", "B": "x=y"}, ("run",), ("it",))
    assert os.access(image.root / "opt/program/bin/train", os.X_OK)
    again = Images(FakeEcr(manifest()), s3, tmp_path, lambda: 0).resolve(URI)
    assert again.root == image.root
    assert s3.reads == 1


@pytest.mark.parametrize(
    ("uri", "stored", "words"),
    [
        ("python:3.11", manifest(), "is not in ECR"),
        (URI.replace("repository", "other"), manifest(), "no repository 'other'"),
        (URI.replace("tag", "missing"), manifest(), "has no 'missing'"),
        (URI, "{}", "is not one that localcloud can run"),
        (URI, {"config": {"data": "!"}, "layers": []}, "is not one that localcloud can run"),
        (URI, {**manifest(), "layers": [{"urls": ["s3://b/gone"]}]}, "are gone"),
        (URI, manifest(), "cannot be extracted"),
    ],
)
def test_an_image_that_cannot_run_is_named(tmp_path: Path, uri: str, stored: Any, words: str) -> None:
    images = Images(FakeEcr(stored), FakeS3(layer=b"no archive"), tmp_path, lambda: 0)
    with pytest.raises(ImageError, match=words) as raised:
        images.resolve(uri)
    assert uri in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_a_layer_cannot_write_elsewhere(tmp_path: Path) -> None:
    images = Images(FakeEcr(manifest()), FakeS3(layer=layer(**{"../../evil": "x"})), tmp_path / "images", lambda: 0)
    with pytest.raises(ImageError, match="cannot be extracted"):
        images.resolve(URI)
    assert not list(tmp_path.rglob("evil"))


@pytest.fixture
def image(tmp_path: Path) -> Image:
    s3 = FakeS3(layer=layer(**{"opt/program/bin/act": "#!/bin/sh", "opt/program/a.py": "x", "usr/bin/mine": "x"}))
    stored = manifest(
        Env=["PATH=/opt/program/bin:/usr/local/bin:/usr/bin", "PYTHONPATH=/opt/program"], WorkingDir="/opt/program"
    )
    return Images(FakeEcr(stored), s3, tmp_path / "images", lambda: 0).resolve(URI)


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        ("/opt/ml", "BASE"),
        ("/opt/ml/model", "BASE/model"),
        ("--in=/opt/ml/a:/opt/ml/b", "--in=BASE/a:BASE/b"),
        ('{"path": "/opt/ml/model"}', '{"path": "BASE/model"}'),
        ("file:///opt/ml/model", "file://BASE/model"),
        ("/opt/mlx/model", "/opt/mlx/model"),
        ("s3://bucket/opt/ml/model", "s3://bucket/opt/ml/model"),
        ("relative/opt/ml", "relative/opt/ml"),
        ("https://host/opt/program/a.py", "https://host/opt/program/a.py"),
        ("/opt/program/a.py", "ROOT/opt/program/a.py"),
        ("/opt/program/cache/later.bin", "ROOT/opt/program/cache/later.bin"),
        ("/usr/bin/mine", "ROOT/usr/bin/mine"),
        ("/usr/bin/env", "/usr/bin/env"),
        ("/etc/passwd", "/etc/passwd"),
        ("3/4 of 1/2", "3/4 of 1/2"),
    ],
)
def test_paths_are_rewritten(image: Image, text: str, rewritten: str) -> None:
    expected = rewritten.replace("BASE", "/private/base").replace("ROOT", str(image.root))
    assert image.rewrite(text, Path("/private/base")) == expected


def test_a_program_and_its_environment(image: Image, tmp_path: Path) -> None:
    root = Root(tmp_path / "root")
    root.create()
    variables = {"OUT": "/opt/ml/processing/out", "OMP_NUM_THREADS": "2", "SAGEMAKER_BASE_DIR": "/opt/ml"}
    made = program(
        image,
        root,
        ["act"],
        ["--in", "/opt/ml/x"],
        variables,
        endpoint_url="http://e",
        region="eu-west-1",
        access_key="LCR0",
    )
    assert made.argv == (str(image.root / "opt/program/bin/act"), "--in", f"{root.base}/x")
    assert made.folder == image.root / "opt/program"
    environment = dict(made.environment)
    assert environment["OUT"] == f"{root.base}/processing/out"
    assert environment["PYTHONPATH"] == f"{image.root}/opt/program"
    assert environment["SAGEMAKER_BASE_DIR"] == str(root.base)
    assert environment["AWS_ENDPOINT_URL"] == "http://e"
    assert (environment["OMP_NUM_THREADS"], environment["MKL_NUM_THREADS"]) == ("2", "1")
    assert environment["PATH"].split(":")[0] == f"{image.root}/opt/program/bin"
    assert environment["TMPDIR"].startswith(str(root.path))
    with pytest.raises(ImageError, match="no executable program 'nothing'"):
        program(image, root, ["nothing"], [], {}, endpoint_url="", region="", access_key="")
    with pytest.raises(ImageError, match="has no entry point"):
        program(image, root, [], [], {}, endpoint_url="", region="", access_key="")


def test_a_root_is_removed_whatever_is_in_it(tmp_path: Path) -> None:
    root = Root(tmp_path / "root")
    root.create()
    locked = root.base / "locked"
    locked.mkdir()
    (locked / "file").write_text("x")
    locked.chmod(0o500)
    root.remove()
    assert not root.path.exists()


class FakeLogs:
    class exceptions:
        class ResourceNotFoundException(Exception):
            pass

        class ResourceAlreadyExistsException(Exception):
            pass

    def __init__(self) -> None:
        self.groups: set[str] = set()
        self.streams: list[str] = []
        self.calls: list[list[dict[str, Any]]] = []

    def create_log_group(self, logGroupName: str) -> None:
        self.groups.add(logGroupName)

    def create_log_stream(self, logGroupName: str, logStreamName: str) -> None:
        if logGroupName not in self.groups:
            raise self.exceptions.ResourceNotFoundException
        self.streams.append(logStreamName)

    def put_log_events(self, logGroupName: str, logStreamName: str, logEvents: list[dict[str, Any]]) -> None:
        assert len(logEvents) <= 10_000
        assert sum(len(event["message"].encode()) + 26 for event in logEvents) <= 1_048_576
        self.calls.append(logEvents)

    @property
    def messages(self) -> list[str]:
        return [event["message"] for call in self.calls for event in call]


class FakeClock:
    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment


def test_lines_wait_for_each_other_and_none_is_lost() -> None:
    logs, clock = FakeLogs(), FakeClock()
    stream = LogStream(logs, clock, "group", "job/algo-1-1")
    for chunk in (b"one\ntw", b"o\n\nlast"):
        stream.write(chunk)
    assert logs.calls == []
    clock.moment += timedelta(seconds=2)
    stream.idle()
    assert logs.messages == ["one", "two", " "]
    stream.close()
    assert logs.messages == ["one", "two", " ", "last"]
    assert logs.streams == ["job/algo-1-1"]


def test_a_silent_job_has_no_stream() -> None:
    logs = FakeLogs()
    LogStream(logs, FakeClock(), "group", "stream").close()
    assert logs.streams == []


def test_batches_keep_to_the_services_limits() -> None:
    logs = FakeLogs()
    stream = LogStream(logs, FakeClock(), "group", "stream")
    stream.write(b"x\n" * 25_000 + ("\u20ac" * 400_000).encode() + b"\n\xff\xfe\n")
    stream.close()
    assert logs.messages[:25_000] == ["x"] * 25_000
    assert "".join(logs.messages[25_000:-1]) == "\u20ac" * 400_000
    assert logs.messages[-1] == "\ufffd\ufffd"


def test_the_last_value_of_a_metric_counts() -> None:
    definitions = [("loss", "loss=([0-9.]+)"), ("auc", "auc: (.*)"), ("none", "none=(.*)")]
    stream = LogStream(FakeLogs(), FakeClock(), "group", "stream", definitions)
    stream.write(b"loss=2 loss=1.5\nauc: high\nauc: 0.7\nauc: low\n")
    assert [(metric.name, metric.value) for metric in stream.metrics] == [("loss", 1.5), ("auc", 0.7)]


def test_a_job_gets_what_was_registered_whatever_an_earlier_one_has_done(tmp_path: Path) -> None:
    s3 = FakeS3(layer=layer(**{"opt/program/a.py": "print(1)", "opt/program/b.py": "not Python at all"}))
    images = Images(FakeEcr(manifest()), s3, tmp_path, lambda: 0)
    root = images.resolve(URI).root
    program_file, added = root / "opt/program/a.py", root / "opt/program/sitecustomize.py"
    assert [path.stat().st_mode & 0o222 for path in (program_file, root / "opt/program/b.py")] == [0, 0]
    (compiled,) = (root / "opt/program/__pycache__").glob("a.*.pyc")
    assert str(program_file).encode() in compiled.read_bytes()
    added.write_text("print(2)")
    program_file.chmod(0o644)
    program_file.write_text("print(3)")
    assert images.resolve(URI).root == root
    assert (program_file.read_text(), added.exists()) == ("print(1)", False)
    # Also when the one that did it was localcloud's last job.
    program_file.unlink()
    assert Images(FakeEcr(manifest()), s3, tmp_path, lambda: 0).resolve(URI).root == root
    assert program_file.read_text() == "print(1)"
    reads = s3.reads
    Images(FakeEcr(manifest()), s3, tmp_path, lambda: 0).resolve(URI)
    assert s3.reads == reads
    assert not list(tmp_path.glob("part-*"))


def test_an_image_is_looked_up_again_when_the_registry_has_changed(tmp_path: Path) -> None:
    changes = [0]
    ecr = FakeEcr(manifest(Cmd=["old"]))
    images = Images(ecr, FakeS3(layer=layer(a="")), tmp_path, lambda: changes[0])
    assert images.resolve(URI).command == ("old",)
    ecr.manifest, ecr.digest = manifest(Cmd=["new"]), "sha256:2"
    assert images.resolve(URI).command == ("old",)
    changes[0] = 1
    assert images.resolve(URI).command == ("new",)


def test_a_program_gets_no_nul(image: Image, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="NUL character"):
        program(image, Root(tmp_path / "root"), ["act"], [], {"A": "x\0y"}, endpoint_url="", region="", access_key="")


def test_a_link_that_leads_round_ends_there(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").write_text("x")
    (tmp_path / "sub" / "round").symlink_to(tmp_path)
    (tmp_path / "twice").symlink_to(tmp_path / "sub")
    found = [path.relative_to(tmp_path).as_posix() for path in transfer.files(tmp_path)]
    assert found == ["sub/a", "twice/a"]


def test_objects_that_no_folder_can_hold_are_named(tmp_path: Path) -> None:
    with pytest.raises(transfer.TransferError, match="cannot keep s3://b/in/a/b in the job's folder"):
        transfer.download(FakeS3(**{"in/a": b"file", "in/a/b": b"and folder"}), "s3://b/in/", tmp_path)
