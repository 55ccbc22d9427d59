"""Images that Docker builds: stand-ins for the programs keep what they are asked, and ECR's answers are given."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from pipelines import docker, images
from pipelines.errors import ImageError
from pipelines.images import Image
from pipelines.names import Names
from tests.pipelines.conftest import Project

NAMES = Names("fraud", "123456789012", "eu-west-1")
DIGEST = "sha256:" + "a" * 64
REGISTRY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
PROFILE = "arn:aws:signer:eu-west-1:123456789012:/signing-profiles/mlops"
# Keeps its name, arguments, folder, standard input and the variables that matter; says and ends as it is told to.
STAND_IN = """\
#!{python}
import json, os, sys
from pathlib import Path
here = Path({folder!r})
told = json.loads((here / "told.json").read_text())
given = told.get(f"{{Path(sys.argv[0]).name}} {{sys.argv[1]}}", {{}})
with (here / "asked.jsonl").open("a") as file:
    file.write(json.dumps([Path(sys.argv[0]).name, sys.argv[1:], os.getcwd(), sys.stdin.read(),
                           os.environ.get("BUILDX_NO_DEFAULT_ATTESTATIONS")]) + "\\n")
print(given.get("says", ""))
print(given.get("complains", ""), file=sys.stderr)
sys.exit(given.get("status", 0))
"""


class Programs:
    """The stand-ins on PATH."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import sys

        self.folder = folder
        (folder / "bin").mkdir()
        self.tell({})
        monkeypatch.setenv("PATH", str(folder / "bin"))
        for name in ("docker", "notation"):
            program = folder / "bin" / name
            program.write_text(STAND_IN.format(python=sys.executable, folder=str(folder)))
            program.chmod(0o755)

    def tell(self, told: dict[str, dict[str, Any]]) -> None:
        (self.folder / "told.json").write_text(json.dumps(told))

    def remove(self, name: str) -> None:
        (self.folder / "bin" / name).unlink()

    @property
    def asked(self) -> list[list[Any]]:
        file = self.folder / "asked.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    folder = tmp_path / "programs"
    folder.mkdir()
    return Programs(folder, monkeypatch)


@pytest.fixture
def image(copy: Path) -> Image:
    return images.read(copy, "cardholders")


@pytest.fixture
def registry() -> tuple[Any, Stubber]:
    ecr = boto3.Session(region_name="eu-west-1").client(
        "ecr", aws_access_key_id="x", aws_secret_access_key="x", endpoint_url="https://ecr.invalid"
    )
    stub = Stubber(ecr)
    stub.activate()
    return ecr, stub


def lets_in(stub: Stubber) -> None:
    token = base64.b64encode(b"AWS:a secret").decode()
    stub.add_response("get_authorization_token", {"authorizationData": [{"authorizationToken": token}]}, {})


def has(stub: Stubber, image: Image) -> None:
    asked = {"repositoryName": "fraud/cardholders", "imageIds": [{"imageTag": NAMES.image_tag(image.digest)}]}
    stub.add_response("describe_images", {"imageDetails": [{"imageDigest": DIGEST}]}, asked)


def scan(stub: Stubber, status: str, findings: dict[str, Any] | None = None, **more: str) -> None:
    answer: dict[str, Any] = {"imageScanStatus": {"status": status, **more}}
    if findings is not None:
        answer["imageScanFindings"] = findings
    asked = {"repositoryName": "fraud/cardholders", "imageId": {"imageDigest": DIGEST}, "maxResults": 1000}
    stub.add_response("describe_image_scan_findings", answer, asked)


def naps() -> tuple[list[float], Callable[[float], None]]:
    taken: list[float] = []
    return taken, taken.append


def test_an_image_is_built_for_its_uri_and_pushed(
    programs: Programs, registry: tuple[Any, Stubber], image: Image, copy: Path
) -> None:
    ecr, stub = registry
    lets_in(stub)
    docker.build(ecr, NAMES, image, copy)
    uri = NAMES.image_uri("cardholders", image.digest)
    login, build, push = programs.asked
    assert login[:2] == ["docker", ["login", "--username", "AWS", "--password-stdin", REGISTRY]]
    assert login[3] == "a secret"
    assert build == [
        "docker",
        ["build", "--platform", "linux/amd64", "--file", "seed_code/cardholders/Dockerfile", "--tag", uri, "."],
        str(copy),
        "",
        "1",
    ]
    assert push[:2] == ["docker", ["push", uri]]
    stub.assert_no_pending_responses()


@pytest.mark.parametrize("verb", ["login", "build", "push"])
def test_a_command_that_fails_is_named(
    programs: Programs, registry: tuple[Any, Stubber], image: Image, copy: Path, verb: str
) -> None:
    programs.tell({f"docker {verb}": {"status": 3, "complains": "no space left on device"}})
    lets_in(registry[1])
    with pytest.raises(ImageError, match=rf"`docker {verb} .*` ended with status 3: ") as failed:
        docker.build(registry[0], NAMES, image, copy)
    assert "a secret" not in str(failed.value)
    assert programs.asked[-1][1][0] == verb


def test_without_docker_that_is_said(
    programs: Programs, registry: tuple[Any, Stubber], image: Image, copy: Path
) -> None:
    programs.remove("docker")
    with pytest.raises(ImageError, match=r"the program `docker` is not on PATH: ECR wants the layers of .* CodeBuild"):
        docker.build(registry[0], NAMES, image, copy)


def test_a_scan_is_waited_for_and_its_findings_are_counted(registry: tuple[Any, Stubber], image: Image) -> None:
    ecr, stub = registry
    has(stub, image)
    scan(stub, "PENDING")
    scan(stub, "IN_PROGRESS")
    scan(stub, "COMPLETE", {"findingSeverityCounts": {"HIGH": 2, "LOW": 7}})
    taken, pause = naps()
    assert docker.check(ecr, NAMES, image, pause=pause) == docker.Checked(DIGEST, {"HIGH": 2, "LOW": 7}, signed=False)
    assert len(taken) == 2
    stub.assert_no_pending_responses()


def test_a_scan_that_has_not_begun_is_waited_for_a_minute(registry: tuple[Any, Stubber], image: Image) -> None:
    ecr, stub = registry
    has(stub, image)
    stub.add_client_error("describe_image_scan_findings", "ScanNotFoundException")
    scan(stub, "ACTIVE", {})
    assert docker.check(ecr, NAMES, image, pause=naps()[1]).findings == {}
    has(stub, image)
    for _ in range(13):
        stub.add_client_error("describe_image_scan_findings", "ScanNotFoundException")
    taken, pause = naps()
    with pytest.raises(ImageError, match=r"ECR does not scan .*`fraud/cardholders` before the repository scanned"):
        docker.check(ecr, NAMES, image, pause=pause)
    assert sum(taken) == 60
    stub.assert_no_pending_responses()


CRITICAL = {
    "findingSeverityCounts": {"CRITICAL": 7},
    "findings": [{"name": f"CVE-2026-{number}", "severity": "CRITICAL"} for number in range(7)],
}


def test_critical_findings_are_refused_unless_they_are_allowed(registry: tuple[Any, Stubber], image: Image) -> None:
    ecr, stub = registry
    has(stub, image)
    scan(stub, "COMPLETE", CRITICAL)
    with pytest.raises(
        ImageError, match=r"has 7 critical findings: CVE-2026-0, .*CVE-2026-4 and 2 more\. .*--allow-findings"
    ):
        docker.check(ecr, NAMES, image)
    has(stub, image)
    scan(stub, "COMPLETE", CRITICAL)
    assert docker.check(ecr, NAMES, image, allow_findings=True).findings == {"CRITICAL": 7}


def test_findings_of_enhanced_scanning_are_named_too(registry: tuple[Any, Stubber], image: Image) -> None:
    ecr, stub = registry
    has(stub, image)
    enhanced = [{"severity": "CRITICAL", "title": "CVE-2026-9 - openssl"}, {"severity": "LOW", "title": "x"}]
    scan(stub, "ACTIVE", {"findingSeverityCounts": {"CRITICAL": 1}, "enhancedFindings": enhanced})
    with pytest.raises(ImageError, match="1 critical findings: CVE-2026-9 - openssl"):
        docker.check(ecr, NAMES, image)


def test_a_scan_that_cannot_be_done_is_an_error(registry: tuple[Any, Stubber], image: Image) -> None:
    ecr, stub = registry
    has(stub, image)
    scan(stub, "UNSUPPORTED_IMAGE", description="unknown operating system")
    with pytest.raises(ImageError, match=r"cannot scan .*UNSUPPORTED_IMAGE, unknown operating system"):
        docker.check(ecr, NAMES, image)


def test_a_scan_without_end_is_given_up(registry: tuple[Any, Stubber], image: Image) -> None:
    ecr, stub = registry
    has(stub, image)
    for _ in range(180):
        scan(stub, "IN_PROGRESS")
    taken, pause = naps()
    with pytest.raises(ImageError, match="is not over after 900 s"):
        docker.check(ecr, NAMES, image, pause=pause)
    assert sum(taken) == 900


def test_an_image_that_is_gone_is_said(registry: tuple[Any, Stubber], image: Image) -> None:
    ecr, stub = registry
    stub.add_client_error("describe_images", "ImageNotFoundException")
    with pytest.raises(ImageError, match="ECR has no image"):
        docker.check(ecr, NAMES, image)


@pytest.mark.parametrize("signed", [False, True])
def test_an_image_is_signed_once_by_its_digest(
    programs: Programs, registry: tuple[Any, Stubber], image: Image, signed: bool
) -> None:
    ecr, stub = registry
    has(stub, image)
    scan(stub, "COMPLETE", {})
    lets_in(stub)
    says = "└── application/vnd.cncf.notary.signature" if signed else "has no associated signature"
    programs.tell({"notation list": {"says": says}})
    assert docker.check(ecr, NAMES, image, signing_profile_arn=PROFILE).signed
    reference = f"{REGISTRY}/fraud/cardholders@{DIGEST}"
    asked = [(name, arguments) for name, arguments, *_ in programs.asked]
    assert asked[1] == ("notation", ["list", reference])
    sign = ("notation", ["sign", "--plugin", docker.SIGNER_PLUGIN, "--id", PROFILE, reference])
    assert asked[2:] == ([] if signed else [sign])


def test_without_notation_nothing_passes_for_signed(
    programs: Programs, registry: tuple[Any, Stubber], image: Image
) -> None:
    programs.remove("notation")
    has(registry[1], image)
    scan(registry[1], "COMPLETE", {})
    with pytest.raises(ImageError, match=r"`notation` is not on PATH: `images.signing_profile_arn` is set"):
        docker.check(registry[0], NAMES, image, signing_profile_arn=PROFILE)


def test_the_verb_judges_what_docker_has_pushed(project: Project, mlops: Callable[..., tuple[int, str, str]]) -> None:
    """As in CodeBuild the second time: the image is there, and was scanned."""
    names, ecr = project.names, project.session.client("ecr")
    found = images.read(project.root, "cardholders")
    repository, tag = names.image_repository("cardholders"), names.image_tag(found.digest)
    ecr.create_repository(repositoryName=repository, imageTagMutability="IMMUTABLE")
    manifest = images.manifest(found, "s3://elsewhere/layer")
    digest = ecr.put_image(repositoryName=repository, imageManifest=manifest, imageTag=tag)["image"]["imageId"][
        "imageDigest"
    ]
    ecr.start_image_scan(repositoryName=repository, imageId={"imageDigest": digest})
    status, out, err = mlops(project.root, "images")
    assert (status, err) == (0, "")
    assert out.startswith(f"{names.image_uri('cardholders', found.digest)}  unchanged  {digest}  findings: 1 high")
    status, out, _ = mlops(project.root, "images", "--json")
    [document] = json.loads(out)
    assert (document["built"], document["digest"], document["signed"]) == (True, digest, False)
