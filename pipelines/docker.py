"""Building an image with Docker, where ECR wants the layers themselves: build, push, scan, sign.

    docker login ─> docker build ─> docker push ─> ECR scans ─> findings judged ─> notation sign, by digest

The image has the URI that `images.read` gives it, so that pipelines name it without asking anybody. ECR's tags are
immutable, so that what was scanned and signed stays what the tag names. An image that is there already is judged, and
signed, as a new one is: whoever was cut off between pushing and signing goes on by doing the same again.

Sources: "Private registry authentication in Amazon ECR" and "Scan images for OS vulnerabilities in Amazon ECR" in the
Amazon ECR User Guide; "Sign an image" in the AWS Signer Developer Guide.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import ImageError
from pipelines.images import Image
from pipelines.names import Names

__all__ = ["Checked", "build", "check"]

SIGNER_PLUGIN = "com.amazonaws.signer.notation.plugin"
# What is refused. Of lesser findings even the official base images always have some.
REFUSED = "CRITICAL"
_SIGNATURE = "application/vnd.cncf.notary.signature"
# Basic scanning ends with COMPLETE; enhanced scanning goes on for as long as the image is there.
_SCANNED, _SCANNING = ("COMPLETE", "ACTIVE"), ("IN_PROGRESS", "PENDING")
_SCAN_SECONDS, _POLL_SECONDS = 900, 5.0
# After so long the scan of a push has begun, or there is none.
_BEGIN_SECONDS = 60
_SHOWN = 5
# Without it buildx pushes an index with a manifest of attestations beside the image, which SageMaker does not take.
_ENVIRONMENT = {"DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}


@dataclass(frozen=True)
class Checked:
    """An image that ECR has scanned.

    Attributes:
        digest: of its manifest, `sha256:…`: what the tag names, for good.
        findings: how many there are, by severity.
        signed: whether it bears a signature.
    """

    digest: str
    findings: Mapping[str, int]
    signed: bool


def build(ecr: Any, names: Names, image: Image, root: Path) -> None:
    """Build an image from the working copy at `root`, and push it.

    Raises ImageError when Docker is missing, or one of its commands fails; what it printed is on stderr.
    """
    uri = names.image_uri(image.workload, image.digest)
    docker = _program("docker", f"ECR wants the layers of `{uri}`, which Docker builds")
    registry = uri.partition("/")[0]
    _login(ecr, docker, registry)
    machine = ("--platform", "linux/amd64")
    _run([docker, "build", *machine, "--file", image.dockerfile, "--tag", uri, "."], root)
    _run([docker, "push", uri], root)


def check(
    ecr: Any,
    names: Names,
    image: Image,
    *,
    allow_findings: bool = False,
    signing_profile_arn: str = "",
    pause: Callable[[float], None] = time.sleep,
) -> Checked:
    """Wait for the scan of a pushed image, judge it, and see to its signature.

    allow_findings: whether critical findings are let through. signing_profile_arn: AWS Signer's; nothing is signed when
    empty. pause: waits for so many seconds.

    Raises ImageError when the image is not there, cannot be scanned, has critical findings, or cannot be signed.
    """
    repository, tag = names.image_repository(image.workload), names.image_tag(image.digest)
    uri = names.image_uri(image.workload, image.digest)
    digest = _digest(ecr, repository, tag, uri)
    findings = _scanned(ecr, repository, digest, uri, pause)
    counts = {str(severity): int(count) for severity, count in findings.get("findingSeverityCounts", {}).items()}
    if counts.get(REFUSED) and not allow_findings:
        raise ImageError(
            f"the scan of `{uri}` ({digest}) has {counts[REFUSED]} critical findings: {_told(findings)}. A newer base "
            f"image or requirement in {image.dockerfile} mends them; `mlops images --allow-findings` lets it through"
        )
    if not signing_profile_arn:
        return Checked(digest, counts, signed=False)
    _sign(ecr, f"{uri.rpartition(':')[0]}@{digest}", signing_profile_arn)
    return Checked(digest, counts, signed=True)


def _digest(ecr: Any, repository: str, tag: str, uri: str) -> str:
    try:
        [details] = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])["imageDetails"]
    except ecr.exceptions.ImageNotFoundException as error:
        raise ImageError(f"ECR has no image `{uri}` after it was pushed; `mlops images` builds it again") from error
    return str(details["imageDigest"])


def _scanned(ecr: Any, repository: str, digest: str, uri: str, pause: Callable[[float], None]) -> Mapping[str, Any]:
    """The findings of an image, once its scan is over."""
    image = {"repositoryName": repository, "imageId": {"imageDigest": digest}}
    for turn in range(int(_SCAN_SECONDS / _POLL_SECONDS)):
        try:
            answer = ecr.describe_image_scan_findings(**image, maxResults=1000)
        except ecr.exceptions.ScanNotFoundException as error:
            if turn * _POLL_SECONDS >= _BEGIN_SECONDS:
                raise ImageError(
                    f"ECR does not scan `{uri}` ({digest}), which was pushed to `{repository}` before the repository "
                    "scanned what is pushed; turn that on, delete the image, and run `mlops images` again"
                ) from error
            pause(_POLL_SECONDS)
            continue
        status = answer["imageScanStatus"]["status"]
        if status in _SCANNED:
            found: Mapping[str, Any] = answer.get("imageScanFindings", {})
            return found
        if status not in _SCANNING:
            why = answer["imageScanStatus"].get("description", "ECR gives no reason")
            raise ImageError(f"ECR cannot scan `{uri}` ({digest}): {status}, {why}; expected its findings")
        pause(_POLL_SECONDS)
    raise ImageError(
        f"the scan of `{uri}` ({digest}) is not over after {_SCAN_SECONDS} s; `mlops images` looks at it again"
    )


def _told(findings: Mapping[str, Any]) -> str:
    """Some of the critical findings, of basic or enhanced scanning."""
    basic = [found.get("name", "?") for found in findings.get("findings", []) if found.get("severity") == REFUSED]
    enhanced = [
        found.get("title") or found.get("packageVulnerabilityDetails", {}).get("vulnerabilityId", "?")
        for found in findings.get("enhancedFindings", [])
        if found.get("severity") == REFUSED
    ]
    named = [*basic, *enhanced]
    shown = ", ".join(named[:_SHOWN]) or "ECR names none"
    return f"{shown} and {len(named) - _SHOWN} more" if len(named) > _SHOWN else shown


def _sign(ecr: Any, reference: str, profile_arn: str) -> None:
    """Sign an image, by its digest, unless it bears a signature."""
    notation = _program("notation", "`images.signing_profile_arn` is set, and images are signed with Notation")
    _login(ecr, notation, reference.partition("/")[0])
    listed = _run([notation, "list", reference], Path.cwd(), capture=True)
    if _SIGNATURE not in listed:
        _run([notation, "sign", "--plugin", SIGNER_PLUGIN, "--id", profile_arn, reference], Path.cwd())


def _login(ecr: Any, program: str, registry: str) -> None:
    """Let a program push to the account's registry. The password goes by its standard input: others see arguments."""
    [data] = ecr.get_authorization_token()["authorizationData"]
    user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    _run([program, "login", "--username", user, "--password-stdin", registry], Path.cwd(), said=password, capture=True)


def _program(name: str, why: str) -> str:
    found = shutil.which(name)
    if found is None:
        hint = {
            "docker": "install Docker, or let the CodeBuild project of the images do it: `git push`",
            "notation": f"install Notation with AWS Signer's plugin ({SIGNER_PLUGIN}), or empty that key",
        }[name]
        raise ImageError(f"the program `{name}` is not on PATH: {why}; {hint}")
    return found


def _run(command: list[str], folder: Path, *, said: str | None = None, capture: bool = False) -> str:
    """Run a program; gives what it printed, where it is captured, and else lets it print to stderr."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **_ENVIRONMENT},
        input=said,
        stdin=None if said is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE if capture else 2,
        stderr=subprocess.PIPE if capture else None,
        text=True,
        check=False,
    )
    if done.returncode:
        shown = " ".join([Path(command[0]).name, *command[1:]])
        why = (done.stderr or "").strip() or "its output is above"
        raise ImageError(f"`{shown}` ended with status {done.returncode}: {why}")
    return done.stdout or ""
