"""`mlops cost`"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer
from rich.table import Table
from rich.text import Text

from pipelines.cli import show
from pipelines.cli.context import Context
from pipelines.config import Configuration, load, overrides_from
from pipelines.cost import catalogue, markdown, price_list
from pipelines.cost.assumptions import Assumptions, with_given
from pipelines.cost.difference import Change, at, changes
from pipelines.cost.estimate import Estimate, by_part, estimate, machines
from pipelines.cost.measured import measured
from pipelines.cost.refresh import PRICING_REGION, refresh
from pipelines.errors import ConfigurationError, UsageError
from pipelines.session import client

_CENT = 0.005
_Region = Annotated[str | None, typer.Option("--region", help="Of whose prices; the configuration's when left away.")]
_Assume = Annotated[
    list[str] | None, typer.Option("--assume", help="NAME=VALUE in place of an assumption; again for more.")
]
_Measured = Annotated[bool, typer.Option("--measured", help="Take the steps' minutes from their last executions.")]
_Diff = Annotated[
    str | None, typer.Option("--diff", metavar="REF", help="Compare with a commit, branch or tag; prints Markdown.")
]
_Refresh = Annotated[bool, typer.Option("--refresh", help="Ask the AWS Pricing API for the prices, and keep them.")]


def command(
    region: _Region = None,
    assume: _Assume = None,
    use_measured: _Measured = False,
    diff: _Diff = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a pull request.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
    renew: _Refresh = False,
) -> None:
    """Estimate what the project costs a month, from the configuration alone, before anything is deployed."""
    if as_markdown and as_json:
        raise UsageError("`--markdown` and `--json` exclude each other")
    context = Context.here()
    configuration = context.configuration
    where = region or configuration.project.region
    if renew:
        _refresh(configuration, where)
    prices, assumed = price_list.read(where), with_given(assume or [])
    times = measured(client(context.session, "sagemaker"), configuration) if use_measured else {}
    found = estimate(configuration, context.root, prices, assumed, times)
    if diff is None:
        _print(found, assumed, times, configuration, as_markdown=as_markdown, as_json=as_json)
        return
    with at(context.root, diff) as then:
        before = estimate(_load(then, context.root, diff), then, prices, assumed, times)
    differing = changes(before, found)
    if as_json:
        typer.echo(json.dumps(_difference_document(before, found, differing, diff), indent=2))
    else:
        typer.echo(markdown.difference(before, found, differing, diff), nl=False)


def _load(then: Path, root: Path, ref: str) -> Configuration:
    """The configuration of another commit, with today's overrides where they are a file of the repository."""
    overrides = overrides_from(os.environ)
    if overrides is not None and overrides.absolute().is_relative_to(root):
        overrides = then / overrides.absolute().relative_to(root)
    try:
        return load(then, overrides)
    except ConfigurationError as error:
        raise UsageError(f"the configuration at `{ref}` is none that this version reads: {error}") from error


def _refresh(configuration: Configuration, region: str) -> None:
    known = price_list.read(region) if region in price_list.regions() else None
    wanted = catalogue.items({*machines(configuration), *_kept_machines(known)})
    pricing = client(boto3.Session(region_name=PRICING_REGION), "pricing")
    done = refresh(pricing, region, wanted, known, datetime.now(UTC).date().isoformat())
    price_list.file_of(region).write_text(price_list.text(done.prices), encoding="utf-8")
    for problem in done.problems:
        typer.echo(problem, err=True)
    confirmed = sum(price.confirmed for price in done.prices.prices.values())
    typer.echo(f"{price_list.file_of(region)}: {confirmed} of {len(done.prices.prices)} prices confirmed", err=True)


def _kept_machines(known: price_list.PriceList | None) -> set[tuple[str, str]]:
    """The machines that a list has prices of."""
    keys = [] if known is None else [key.split("/") for key in known.prices]
    return {(parts[1], parts[2]) for parts in keys if parts[0] == "sagemaker" and parts[-1].startswith("ml.")}


# --- showing it -------------------------------------------------------------------------------------------------------


def _print(
    found: Estimate,
    assumed: Assumptions,
    times: dict[tuple[str, str], float],
    configuration: Configuration,
    *,
    as_markdown: bool,
    as_json: bool,
) -> None:
    if as_json:
        typer.echo(json.dumps(_document(found, assumed, times), indent=2))
        return
    if as_markdown:
        typer.echo(markdown.bill(found), nl=False)
        return
    out = show.console()
    out.print(_bill(found))
    out.print(_assumptions(assumed, times))
    for said in markdown.unsure(found):
        out.print(said, soft_wrap=True)
    monthly = configuration.project.budget.monthly_dollars
    if monthly:
        verdict = (
            "below" if found.at_most <= monthly else "above at full scale" if found.dollars <= monthly else "above"
        )
        out.print(f"That is {verdict} the budget of ${monthly:,.2f} (`budget.monthly_dollars`).", soft_wrap=True)


def _bill(found: Estimate) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bright_black")
    table.add_column("a month")
    table.add_column("from", style="bright_black")
    table.add_column("dollars", justify="right", no_wrap=True)
    sums = found.subtotals()
    for key, group in by_part(found).items():
        table.add_row(Text(markdown.place(*key), "bold"), "", Text(markdown.dollars(*sums[key]), "bold"))
        small = [each for each in group if each.at_most < _CENT]
        for each in group:
            if each not in small:
                mark = "" if each.price.confirmed else " ?"
                amount = markdown.dollars(each.dollars, each.at_most)
                table.add_row(f"  {each.line.resource}", each.line.how, f"{amount}{mark}")
        if small:
            table.add_row(Text(f"  {len(small)} more of less than a cent each", "bright_black"), "", "")
    for line in found.unpriced:
        name = f"{markdown.place(line.part, line.stage)}: {line.resource}"
        table.add_row(Text(name, "yellow"), line.how, Text("no price", "yellow"))
    table.add_row(Text("together", "bold"), "", Text(markdown.dollars(found.dollars, found.at_most), "bold"))
    return table


def _assumptions(assumed: Assumptions, times: dict[tuple[str, str], float]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bright_black")
    for heading in ("assumed", "", "what it is; `--assume NAME=VALUE` for another"):
        table.add_column(heading, justify="right" if not heading else "left")
    for name, value, meaning in assumed.table():
        note = ", given" if name in assumed.given else ""
        table.add_row(name, f"{value:,g}", f"{meaning}{note}")
    for (workload, step), minutes in times.items():
        if f"{step}_minutes" not in assumed.given:
            table.add_row(f"{workload} {step}", f"{minutes:g}", "minutes, of its last execution; goes before the above")
    return table


def _document(found: Estimate, assumed: Assumptions, times: dict[tuple[str, str], float]) -> dict[str, Any]:
    return {
        "region": found.region,
        "prices_of": found.date,
        "dollars": round(found.dollars, 2),
        "at_most": round(found.at_most, 2),
        "lines": [
            {
                "part": each.line.part,
                "stage": each.line.stage,
                "resource": each.line.resource,
                "how": each.line.how,
                "price": each.line.price,
                "quantity": each.line.quantity,
                "unit": each.price.unit,
                "dollars": round(each.dollars, 4),
                "at_most": round(each.at_most, 4),
                "confirmed": each.price.confirmed,
            }
            for each in found.priced
        ],
        "unpriced": [
            {"part": line.part, "stage": line.stage, "resource": line.resource, "price": line.price}
            for line in found.unpriced
        ],
        "assumptions": {name: value for name, value, _ in assumed.table()},
        "measured_minutes": {f"{workload}/{step}": minutes for (workload, step), minutes in times.items()},
    }


def _difference_document(before: Estimate, after: Estimate, found: list[Change], ref: str) -> dict[str, Any]:
    return {
        "ref": ref,
        "before": round(before.dollars, 2),
        "after": round(after.dollars, 2),
        "changes": [
            {
                "part": change.part,
                "stage": change.stage,
                "resource": change.resource,
                "before": change.before,
                "after": change.after,
            }
            for change in found
        ],
    }
