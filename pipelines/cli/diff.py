"""`mlops diff [WORKLOAD PIPELINE]`"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from pipelines import definition_diff as d
from pipelines import definitions
from pipelines.cli.context import Context
from pipelines.errors import UsageError
from pipelines.session import client

_MARKS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}


def command(
    workload: Annotated[str | None, typer.Argument(help="e.g. `cardholders`; all pipelines without it")] = None,
    pipeline: Annotated[str | None, typer.Argument(help="`build`, `deploy` or `monitor`")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a pull request.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list instead.")] = False,
) -> int:
    """Show what changed between the definitions in the account and those in the working tree, step by step.

    Exit status 0 when nothing did, 1 when something did, 2 when it could not be asked.
    """
    if (workload is None) != (pipeline is None):
        raise UsageError("expected both WORKLOAD and PIPELINE, or neither; e.g. `mlops diff cardholders build`")
    if markdown and as_json:
        raise UsageError("expected --markdown or --json, not both")
    chosen = list(definitions.PIPELINES)
    if workload is not None and pipeline is not None:
        definitions.check(workload, pipeline)
        chosen = [(workload, pipeline)]
    context = Context.here()
    sagemaker = client(context.session, "sagemaker")
    diffs = []
    for each_workload, kind in chosen:
        name = context.names.pipeline(each_workload, kind)
        tree = definitions.render(each_workload, kind, context.configuration, context.root)
        diffs.append(d.compare(name, _in_account(sagemaker, name), tree))
    if as_json:
        typer.echo(json.dumps([d.as_json(diff) for diff in diffs], indent=2))
    elif markdown:
        typer.echo("\n".join(d.as_markdown(diff) for diff in diffs), nl=False)
    else:
        console = Console(highlight=False, soft_wrap=True)
        for diff in diffs:
            _show(console, diff)
    return 1 if any(diffs) else 0


def _in_account(sagemaker: Any, name: str) -> str | None:
    try:
        return str(sagemaker.describe_pipeline(PipelineName=name)["PipelineDefinition"])
    except sagemaker.exceptions.ResourceNotFound:
        return None


def _show(console: Console, diff: d.DefinitionDiff) -> None:
    console.print(Text(f"pipeline {diff.pipeline}", style="bold"))
    if not diff:
        console.print("  no change")
        return
    if not diff.exists:
        console.print("  new: the account does not have it")
    for word, changes in (("step", diff.steps), ("parameter", diff.parameters)):
        for change in changes:
            mark, style = _MARKS[change.change]
            console.print(Text(f"  {mark} {word} {change.name} ({change.type})", style=style))
            for value in change.values:
                _show_value(console, value, "      ")
    for value in diff.rest:
        _show_value(console, value, "  ")


def _show_value(console: Console, value: d.ValueChange, indent: str) -> None:
    console.print(Text(f"{indent}{value.path}"))
    if value.old is not d.ABSENT:
        console.print(Text(f"{indent}  - {d.short(value.old)}", style="red"))
    if value.new is not d.ABSENT:
        console.print(Text(f"{indent}  + {d.short(value.new)}", style="green"))
