"""`mlops verify`"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from junitparser import Failure, JUnitXml, TestCase, TestSuite
from rich.text import Text

from pipelines import registry, stages
from pipelines.cli import select, show
from pipelines.cli.context import Context
from pipelines.cli.options import StageOption, WorkloadArgument
from pipelines.deploy.functions import golden
from pipelines.deploy.functions.golden import Verdict
from pipelines.deploy.functions.outcome import Refused
from pipelines.errors import ServiceError
from pipelines.names import GOLDEN_REQUESTS_KEY
from pipelines.registry import Package
from pipelines.report import tests_page
from pipelines.session import client, object_address


def command(
    workload: WorkloadArgument = None,
    stage: StageOption = "staging",
    version: Annotated[
        str | None, typer.Option("--version", help="The version that the stage is to serve; any when left away.")
    ] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write the tests as a JUnit file, too.")] = None,
    address: Annotated[
        Path | None, typer.Option("--report-url", help="A file to write the address of the tests' page to.")
    ] = None,
) -> int:
    """Ask what a stage serves the requests that its model was tested by, now, and keep the answers as a page in S3.

    A person sees that page before letting the model go to production. Exit status 1 when an answer is wrong.
    """
    context = Context.here()
    workload, stage = select.workload_of(workload), select.stage_of(stage)
    package = _served(context, workload, stage, version)
    endpoint = context.names.endpoint(workload, stage)
    out = show.console()
    s3, runtime = client(context.session, "s3"), client(context.session, "sagemaker-runtime")
    try:
        with out.status(f"asking {endpoint}", spinner="dots"):
            verdicts = golden.test(runtime, endpoint, golden.load(s3, package.metadata[GOLDEN_REQUESTS_KEY]))
    except Refused as error:
        raise ServiceError(str(error)) from None
    if junit is not None:
        _write_junit(junit, endpoint, package, verdicts)
    report = golden.report(endpoint, package.arn, verdicts)
    uri = f"{context.names.outputs_uri(workload, f'deploy-{stage}')}/verified/{package.version}.html"
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    page = tests_page.render(report, package, stage=stage, at=context.now())
    s3.put_object(Bucket=bucket, Key=key, Body=page.encode(), ContentType="text/html; charset=utf-8")
    shown = object_address(context.session, context.names, bucket, key)
    if address is not None:
        address.write_text(f"{shown}\n", encoding="utf-8")
    for verdict in verdicts:
        mark = show.mark("bad" if verdict.problem else "good")
        problem = f"; {verdict.problem}" if verdict.problem else ""
        out.print(Text.assemble(mark, f" {verdict.name}: {verdict.status}, {verdict.milliseconds:.1f} ms{problem}"))
    out.print(f"version {package.version} of {workload} in {stage}; the page: {shown}", soft_wrap=True)
    return 0 if report["passed"] else 1


def _served(context: Context, workload: str, stage: str, version: str | None) -> Package:
    """The package that a stage serves. Raises ServiceError when it serves none, or another than is expected."""
    now = stages.serving(client(context.session, "ssm"), context.names, workload, stage)
    if now is None:
        raise ServiceError(
            f"{stage} serves no version of {workload}; `mlops deploy VERSION --stage {stage}` deploys one"
        )
    if version is not None and str(now.version) != version:
        raise ServiceError(
            f"{stage} serves version {now.version} of {workload}, expected {version}; `mlops deploy {version} --stage "
            f"{stage}` deploys it"
        )
    group = context.names.package_group(workload)
    known = registry.packages(client(context.session, "sagemaker"), group)
    return registry.find(known, now.model_package_arn, group)


def _write_junit(file: Path, endpoint: str, package: Package, verdicts: Sequence[Verdict]) -> None:
    suite = TestSuite(f"{endpoint}, version {package.version}")
    for verdict in verdicts:
        case = TestCase(verdict.name, endpoint, verdict.milliseconds / 1000)
        if verdict.problem:
            case.result = [Failure(verdict.problem)]
        suite.add_testcase(case)
    suites = JUnitXml("golden requests")
    suites.add_testsuite(suite)
    file.parent.mkdir(parents=True, exist_ok=True)
    suites.write(str(file))
