"""`mlops doctor`"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from pipelines.cli import environment, show
from pipelines.cli.context import Context
from pipelines.doctor import examine
from pipelines.doctor.finding import BAD, GOOD, HINT, UNCHECKED, Finding, bad
from pipelines.errors import ConfigurationError

_MARKS = {GOOD: ("✓", "green"), BAD: ("✗", "red"), HINT: ("!", "yellow"), UNCHECKED: ("·", "bright_black")}


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list instead.")] = False,
) -> int:
    """Check this machine and the account: what is there, what is missing, and what to do about it.

    Changes nothing. Ends with status 1 when something is bad.
    """
    context = Context.here()
    state = environment.state_in_use(context.paths) or context.paths.state / "state"
    findings = examine.of_machine(context.root, os.environ, state)
    try:
        configuration = context.configuration
    except ConfigurationError as error:
        findings.append(bad("configuration", str(error), "correct these files"))
    else:
        findings += examine.of_account(context.session, configuration, context.root, os.environ)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _print(findings)
    return int(any(finding.verdict == BAD for finding in findings))


def _print(findings: list[Finding]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        symbol, style = _MARKS[finding.verdict]
        said = Text(finding.found)
        if finding.verdict == UNCHECKED:
            said = Text(f"not checked: {finding.found}", "bright_black")
        if finding.do:
            said.append(f"\n→ {finding.do}", "bright_black" if finding.verdict == UNCHECKED else style)
        table.add_row(Text(symbol, style), finding.check, said)
    out = show.console()
    out.print(table)
    wrong = sum(finding.verdict == BAD for finding in findings)
    out.print(Text(f"{wrong} to be put right" if wrong else "nothing is wrong", "red" if wrong else "green"))
