"""Publishing: this working copy becomes the template that projects of the account are made from.

Plan, then execute: `prepare` reads, packs and checks, and calls nothing; `publish` brings the account's own stack up to
date, and uploads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from pipelines import functions, infrastructure, provision
from pipelines.config import Configuration
from pipelines.errors import ServiceError, UsageError
from pipelines.infrastructure import Wanted
from pipelines.names import ADMIN_STACK, MLFLOW_TRACKING_URI_VARIABLE, LocalPaths, Names
from pipelines.publishing import catalog, seed, studio, templates
from pipelines.publishing.bucket import TemplateBucket
from pipelines.publishing.release import Release, chosen_version, own_version

__all__ = ["BOTH", "CATALOG", "ROUTES", "S3", "Published", "prepare", "publish"]

S3, CATALOG, BOTH = ROUTES = ("s3", "catalog", "both")
_VERSION_PARAMETER = "TemplateVersion"


@dataclass(frozen=True)
class Published:
    """What was published, and where it is seen."""

    version: str
    new: bool
    """Whether anything was; else the very same was there."""
    template_url: str
    account_changes: tuple[str, ...]
    """What changed in the account's own stack."""
    product_id: str | None
    """Service Catalog's product, where that route was asked for."""
    studio: studio.Shown | None
    """Where Studio shows it, where that route was asked for."""


def prepare(
    configuration: Configuration, root: Path, tracking_uri: str | None = None, *, checked: bool = False
) -> Release:
    """Pack and check a working copy; calls nothing. checked: cfn-lint has looked at the templates already.

    tracking_uri: the MLflow server that projects take; MLFLOW_TRACKING_URI's when None, a server of the project's own
    when that is not set either. Raises UsageError, which lists all that is wrong with the templates.
    """
    paths, names = LocalPaths(root), configuration.names
    files = [] if checked else sorted(set((root / "template").glob("*.yml")) - {paths.seed_manifest})
    wrong = templates.lint(files, root, names.region, paths.lint_cache)
    if wrong:
        listed = "\n".join(f"  {one}" for one in wrong)
        raise UsageError(f"cfn-lint finds {len(wrong)} mistakes:\n{listed}")
    text = paths.template.read_text(encoding="utf-8")
    assembled = seed.assemble(root, names.region)
    if missing := templates.missing_buildspecs(text, assembled.names):
        raise UsageError(
            f"template/project.yml runs {', '.join(missing)}, which the seed has not; add it, or mend template/seed.yml"
        )
    if tracking_uri is None:
        tracking_uri = os.environ.get(MLFLOW_TRACKING_URI_VARIABLE, "")
    defaults = {**provision.configured(configuration), "MlflowTrackingUri": tracking_uri}
    release = Release(names, text, defaults, functions.pack(root, functions.PIPELINES), assembled)
    release.published_template(own_version(root))
    return release


def publish(
    session: boto3.Session,
    release: Release,
    root: Path,
    *,
    route: str = BOTH,
    version: str | None = None,
    poll_seconds: float = 1.0,
    tell: Callable[[str], None] = lambda _: None,
) -> Published:
    """Publish what was prepared; again is harmless.

    route: what of SageMaker's two ways to a template it takes. version: its name; setup.py's when None. tell: called
    with what is under way. Raises ServiceError when CloudFormation fails, UsageError for a version that is another.
    """
    if route not in ROUTES:
        raise UsageError(f"route `{route}` does not exist; expected one of {', '.join(ROUTES)}")
    names, paths = release.names, LocalPaths(root)
    tell(f"deploying the stack {ADMIN_STACK}, once per account")
    changes = _bring_account(session, names, paths, {}, poll_seconds)
    release = _with_outputs(release, infrastructure.outputs(session, ADMIN_STACK) or {})
    bucket, digest = TemplateBucket(session, names), release.digest
    name = chosen_version(own_version(root), version, digest, bucket.digest)
    new = bucket.digest(name) is None
    template = release.published_template(name)
    if new:
        tell(f"uploading version {name}")
        bucket.put(release.code_key(name), release.code)
        bucket.put(release.seed_key(name), release.seed.archive)
        bucket.put_template(name, template, digest)
    shown = None
    if route in (S3, BOTH):
        bucket.show_in_studio(name, template, digest)
        shown = studio.show(session, bucket.studio_location)
    product_id = None
    if route in (CATALOG, BOTH):
        tell("bringing Service Catalog's product up to date")
        changes += _bring_account(session, names, paths, {_VERSION_PARAMETER: name}, poll_seconds)
        product_id = _product(session)
        catalog.bring(session, product_id, name, bucket.template_url(name))
    return Published(name, new, bucket.template_url(name), tuple(changes), product_id, shown)


def _bring_account(
    session: boto3.Session, names: Names, paths: LocalPaths, first: Mapping[str, str], poll_seconds: float
) -> list[str]:
    """Make the account's stack what template/admin.yml says; gives what was done.

    first: parameters that are given unless the stack has some. What a person chose once stays: CloudFormation takes a
    template's default for whatever an update leaves away.
    """
    template = paths.admin_template.read_text(encoding="utf-8")
    known = templates.parameters(template)
    kept = {key: value for key, value in infrastructure.parameters(session, ADMIN_STACK).items() if key in known}
    given = {**first, **{key: value for key, value in kept.items() if value}}
    wanted = Wanted(template, {**kept, **{key: value for key, value in given.items() if key in known}})
    return infrastructure.deploy(session, names, ADMIN_STACK, wanted, poll_seconds)


def _with_outputs(release: Release, outputs: Mapping[str, str]) -> Release:
    """What the account's stack gives out goes into the template's parameters of the same names."""
    known = templates.parameters(release.template)
    given = {name: value for name, value in outputs.items() if name in known}
    return Release(release.names, release.template, {**release.defaults, **given}, release.code, release.seed)


def _product(session: boto3.Session) -> str:
    outputs: Mapping[str, Any] = infrastructure.outputs(session, ADMIN_STACK) or {}
    product = outputs.get("ProductId")
    if not product:
        raise ServiceError(
            f"the stack `{ADMIN_STACK}` gives out no ProductId; its template makes none: publish with --route s3"
        )
    return str(product)
