"""Arguments and options that several verbs have, each with the one line that its `--help` shows."""

from __future__ import annotations

from typing import Annotated

import typer

WorkloadArgument = Annotated[str | None, typer.Argument(help="e.g. `cardholders`")]
PipelineArgument = Annotated[str | None, typer.Argument(help="`build` (when left away), `deploy-staging` …")]
WorkloadOption = Annotated[str | None, typer.Option("--workload", help="Of whose pipelines; all when left away.")]
PipelineOption = Annotated[str | None, typer.Option("--pipeline", help="`build`, `deploy-prod` …; all when left away.")]
ExecutionOption = Annotated[str | None, typer.Option("--execution", help="Id or ARN; the last one when left away.")]
# of `approve` and `reject`
PackagesOption = Annotated[
    str | None, typer.Option("--workload", help="Whose; may be left away while one workload has packages.")
]
VersionArgument = Annotated[str, typer.Argument(help="A version's number, or `latest`.")]
StageOption = Annotated[str, typer.Option("--stage", help="`staging` or `prod`.")]
WhyOption = Annotated[str, typer.Option("--why", help="The reason; kept with the package.")]
WhoOption = Annotated[str | None, typer.Option("--who", help="Who decides; the name that Git knows when left away.")]
DecisionJsonOption = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON instead.")]
