"""The way of a change in `mlops demo`: pushed to the project's repository, built, approved, and delivered.

A person's steps (the edit, the push, the two approvals) are taken by the demo itself, with Git and by the functions
that `mlops approve` calls; all the rest happens as it does every day, by events.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from pipelines import codepipelines, executions, registry
from pipelines.cli.codepipeline import begun, follow
from pipelines.cli.context import Context
from pipelines.cli.invoke import golden_request
from pipelines.cli.results import evaluation_line, evaluation_table
from pipelines.cli.run import tracking_uri
from pipelines.codepipelines import Run
from pipelines.errors import ServiceError
from pipelines.executions import Execution
from pipelines.names import BRANCH, BUILD, DEPLOY, MODEL_PACKAGE_ARN
from pipelines.registry import Package
from pipelines.session import client

__all__ = ["WHO", "Repository", "approve_for_prod", "approve_for_staging", "built", "deliver", "newest", "shortened"]

WHO = "mlops demo"
_AUTHOR = ("-c", f"user.name={WHO}", "-c", "user.email=demo@localhost")


@dataclass(frozen=True)
class Repository:
    """A clone of the project's repository."""

    folder: Path

    def push(self, file: str, before: str, after: str, message: str) -> str:
        """Replace a text in a file, commit and push that; gives the commit. Raises ServiceError."""
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        if text.count(before) != 1:
            raise ServiceError(f"`{file}` has {text.count(before)} times `{before}`, expected one to edit")
        path.write_text(text.replace(before, after), encoding="utf-8")
        self._git(*_AUTHOR, "commit", "--quiet", "--all", "--message", message)
        self._git("push", "--quiet", "origin", BRANCH)
        return self._git("rev-parse", "HEAD")

    def _git(self, *arguments: str) -> str:
        return _git("-C", str(self.folder), *arguments)


def built(out: Console, context: Context, workload: str, commit: str) -> Execution | None:
    """Follow what a push has started to its end, and tell what came of it; None when CodePipeline failed."""
    codepipeline = client(context.session, "codepipeline")
    pipeline = context.names.code_pipeline(workload, BUILD)
    execution = begun(out, lambda: codepipelines.of_commit(codepipeline, pipeline, commit), f"{pipeline}")
    run = follow(out, context, pipeline, execution)
    if run.status != "Succeeded":
        return None
    sagemaker = client(context.session, "sagemaker")
    arn = executions.latest(sagemaker, context.names.pipeline(workload, BUILD))
    if arn is None:
        raise ServiceError(f"{pipeline} succeeded, and {context.names.pipeline(workload, BUILD)} has not run")
    found = executions.read(sagemaker, arn)
    _tell_results(out, context, found, workload)
    return found


def deliver(out: Console, context: Context, workload: str) -> bool:
    """Approve the newest package, for staging and then for production; whether production serves it. Ends with a
    request."""
    package = newest(context, workload)
    waiting = approve_for_staging(out, context, workload, package, "its figures are good enough")
    if waiting is None:
        return False
    run = approve_for_prod(out, context, workload, package, waiting, "its tests in staging passed")
    if run.status != "Succeeded":
        return False
    _invoke(out, context, workload)
    return True


def approve_for_staging(out: Console, context: Context, workload: str, package: Package, why: str) -> Run | None:
    """Approve a package in the registry, and follow its delivery until it waits for a person; None when it failed."""
    codepipeline = client(context.session, "codepipeline")
    pipeline = context.names.code_pipeline(workload, DEPLOY)
    registry.decide(
        client(context.session, "sagemaker"), package, registry.APPROVED, who=WHO, why=why, now=context.now()
    )
    _tell_approval(out, package.version, "staging", why)
    execution = begun(
        out, lambda: codepipelines.of_package(codepipeline, pipeline, package.arn, MODEL_PACKAGE_ARN), f"{pipeline}"
    )
    run = follow(out, context, pipeline, execution)
    if run.waits is None:
        return None
    report = run.variable("REPORT_URL")
    out.print(Text(f"it waits for a person, who sees {report}", "bright_black"), soft_wrap=True)
    return run


def approve_for_prod(out: Console, context: Context, workload: str, package: Package, waiting: Run, why: str) -> Run:
    """Approve a package for production, where its delivery waits for that, and follow it to its end."""
    sagemaker = client(context.session, "sagemaker")
    tested = _again(context, workload, package)
    registry.approve_for_prod(sagemaker, tested, who=WHO, why=why, now=context.now())
    _tell_approval(out, package.version, "prod", why)
    codepipeline = client(context.session, "codepipeline")

    def goes_on() -> str | None:
        return waiting.id if codepipelines.read(codepipeline, waiting.pipeline, waiting.id).waits is None else None

    begun(out, goes_on, f"the approval in {waiting.pipeline}")
    return follow(out, context, waiting.pipeline, waiting.id, waiting)


def newest(context: Context, workload: str) -> Package:
    """The newest package. Raises ServiceError when there is none."""
    known = registry.packages(client(context.session, "sagemaker"), context.names.package_group(workload))
    if not known:
        raise ServiceError(f"{workload} has no model package to deploy")
    return known[0]


def _again(context: Context, workload: str, package: Package) -> Package:
    """The package as it is now: staging has written to it."""
    group = context.names.package_group(workload)
    return registry.find(registry.packages(client(context.session, "sagemaker"), group), package.arn, group)


def _tell_approval(out: Console, version: int, stage: str, why: str) -> None:
    out.print(Text.assemble(("approved ", "bright_black"), f"version {version} for {stage}: {why}"), soft_wrap=True)


def _tell_results(out: Console, context: Context, execution: Execution, workload: str) -> None:
    """The evaluation against its baselines, the package, and MLflow's versions."""
    sagemaker = client(context.session, "sagemaker")
    evaluation = executions.evaluation_of(sagemaker, client(context.session, "s3"), execution)
    if evaluation is not None:
        out.print()
        out.print(evaluation_table(evaluation))
        out.print(Text(evaluation_line(evaluation)), soft_wrap=True)
        out.print()
    package = newest(context, workload)
    out.print(f"Model package  {package.arn}", soft_wrap=True)
    out.print(f"               version {package.version}, waiting for approval", soft_wrap=True)
    for part in package.mlflow_versions:
        model = package.mlflow_model(part)
        address = f"{tracking_uri()}/#/models/{model['name']}/versions/{model['version']}"
        out.print(f"MLflow         {model['name']} version {model['version']}  {address}", soft_wrap=True)


def _invoke(out: Console, context: Context, workload: str) -> None:
    """Ask production one of the requests that it was tested by."""
    body = json.dumps(golden_request(context, workload, "prod"), separators=(",", ":"))
    answer = client(context.session, "sagemaker-runtime").invoke_endpoint(
        EndpointName=context.names.endpoint(workload, "prod"), ContentType="application/json", Body=body.encode()
    )
    out.print(Text.assemble(("request  ", "bright_black"), shortened(body)), soft_wrap=True)
    out.print(Text.assemble(("answer   ", "bright_black"), shortened(answer["Body"].read().decode())), soft_wrap=True)


def shortened(text: str) -> str:
    """A text as a demo shows it."""
    return text if len(text) <= 320 else f"{text[:317]}…"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ServiceError(f"`git {' '.join(arguments)}` failed:\n{done.stderr.strip()}")
    return done.stdout.strip()
