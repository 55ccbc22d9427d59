"""`mlops project`"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines import provision
from pipelines.cli import environment, show
from pipelines.cli.context import Context
from pipelines.errors import ServiceError, UsageError
from pipelines.names import BRANCH, CODECOMMIT, REPOSITORY_PROVIDERS, LocalPaths, Names
from pipelines.projects import cloning, creation, destruction, following, reading, seed_branch
from pipelines.projects import upgrade as upgrades
from pipelines.projects.creation import Wish
from pipelines.projects.destruction import Found
from pipelines.projects.following import Progress
from pipelines.projects.reading import Project
from pipelines.projects.things import Account
from pipelines.projects.upgrade import Plan

_POLL_SECONDS = 0.5
_DONE = ("CreateCompleted", "UpdateCompleted", "DeleteCompleted")

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)

NameArgument = Annotated[str, typer.Argument(help="The project's name.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.callback()
def root() -> None:
    """Create, list, clone, upgrade and destroy projects."""


@app.command()
def create(
    name: NameArgument,
    repository: Annotated[
        str, typer.Option("--repository", help=f"Who keeps it: {', '.join(REPOSITORY_PROVIDERS)}.")
    ] = CODECOMMIT,
    connection_arn: Annotated[str, typer.Option("--connection-arn", help="The connection to GitHub.")] = "",
    repository_id: Annotated[str, typer.Option("--repository-id", help="`owner/name` on GitHub.")] = "",
    workloads: Annotated[str, typer.Option("--workloads", help="`both`, `cardholders` or `forecaster`.")] = "",
    route: Annotated[
        str, typer.Option("--route", help="By the template in S3 (`s3`), or Service Catalog's product (`catalog`).")
    ] = creation.S3,
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", help="NAME=VALUE of the template; may be given several times.")
    ] = None,
    overrides: Annotated[
        str | None,
        typer.Option("--overrides", help="A file of its repository that goes before configs/; MLOPS_OVERRIDES' else."),
    ] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait until it is made.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a project from the published template: repository, pipelines, roles, alarms."""
    context = Context.here()
    names = creation.project_names(name, context.configuration)
    wish = Wish(
        repository,
        connection_arn,
        repository_id,
        workloads,
        creation.overrides_inside(context.root, os.environ) if overrides is None else overrides,
        route,
        _pairs(parameter or []),
    )
    out = show.console(stderr=as_json)
    with out.status("looking what is there", spinner="dots"):
        plan = creation.plan(context.session, names, context.configuration, wish)
    creation.begin(context.session, plan)
    if no_wait:
        out.print(f"the project {name} is being made; `mlops project list` tells how far it is", soft_wrap=True)
    else:
        watch_project(out, context, names, "made")
    made = reading.describe(context.session, names)
    if as_json:
        assert made is not None, "what SageMaker has accepted, it knows"
        typer.echo(json.dumps(_document(made, _repository(context, made)), indent=2))
    elif made is not None and not no_wait:
        _tell_next(out, context, made)


@app.command("list")
def list_command(as_json: JsonOption = False) -> None:
    """List the projects of the account and region."""
    context = Context.here()
    found = reading.list_all(context.session)
    if as_json:
        typer.echo(json.dumps([_document(one, _repository(context, one)) for one in found], indent=2))
        return
    out = show.console()
    if not found:
        out.print("no projects; `mlops project create NAME` makes one", soft_wrap=True)
        return
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="bright_black")
    for column in ("name", "status", "template", "repository", "created"):
        table.add_column(column)
    for one in found:
        where = _repository(context, one) or "none"
        table.add_row(one.name, one.status, one.version or "-", where, f"{one.created:%Y-%m-%d %H:%M}")
    out.print(table)


@app.command()
def clone(
    name: NameArgument,
    folder: Annotated[
        Path | None, typer.Argument(help="Where to; a folder of the project's name when left away.")
    ] = None,
) -> None:
    """Clone a project's repository; verbs in it speak to the account that this one speaks to."""
    context = Context.here()
    names = creation.project_names(name, context.configuration)
    project = _existing(context, names)
    place = folder or Path(name)
    with show.console().status("cloning", spinner="dots"):
        begun = cloning.clone(context.session, names, project, place)
    variables = cloning.environment_for(names, context.root, place, os.environ)
    if variables:
        environment.keep(LocalPaths(place), variables)
    out = show.console()
    if begun:
        out.print(
            f"the repository holds nothing yet; its first commit is in {show.short(place)}, to be pushed by "
            f"`cd {place} && git push -u origin {BRANCH}`",
            soft_wrap=True,
        )
    else:
        out.print(f"cloned into {show.short(place)}; `cd {place} && mlops status` goes on there", soft_wrap=True)


@app.command()
def destroy(
    name: NameArgument,
    yes: YesOption = False,
    keep_data: Annotated[
        bool,
        typer.Option("--keep-data", help="Keep bucket, repository, packages, images, features, parameters and keys."),
    ] = False,
) -> None:
    """Delete a project and all that it has made. Says first what that is, and asks. Again is harmless."""
    context = Context.here()
    names = creation.project_names(name, context.configuration)
    account = Account(context.session, names, _POLL_SECONDS)
    out = show.console()
    with out.status("looking what there is", spinner="dots"):
        found = destruction.look(account)
    found = found.without_data() if keep_data else found
    if found.empty:
        out.print(f"there is nothing of a project `{name}`", soft_wrap=True)
        return
    _tell_found(out, names, found, keep_data)
    if not yes:
        _confirm("Type the project's name to destroy it: ", name)
    with out.status("destroying", spinner="dots") as status:
        outcome = destruction.destroy(account, keep_data=keep_data, tell=status.update)
    for line in outcome.halted:
        out.print(Text(line, style="bright_black"), soft_wrap=True)
    if outcome.remaining:
        listed = "\n".join(f"  {one.what}: {one.reason}" for one in outcome.remaining)
        raise ServiceError(
            f"of the project `{name}` this remains:\n{listed}\nrun `mlops project destroy {name}` again to go on"
        )
    out.print(
        f"the project {name} is destroyed: {outcome.removed} things are gone, and nothing remains", soft_wrap=True
    )


@app.command()
def upgrade(
    name: NameArgument,
    to: Annotated[str | None, typer.Option("--to", help="The version; the newest when left away.")] = None,
    branch: Annotated[
        bool, typer.Option("--branch/--no-branch", help="Push the seed's changes as a branch of its repository.")
    ] = True,
    yes: YesOption = False,
) -> None:
    """Bring a project to a newer version of the template. Shows first what that changes, and asks.

    In the project's own working copy, its stack follows what configs/ says of notices, budget and alarms, too.
    """
    context = Context.here()
    names = creation.project_names(name, context.configuration)
    out = show.console()
    with out.status("comparing", spinner="dots"):
        # In the project's own working copy its configuration has its say; anywhere else it is another's.
        own = provision.configured(context.configuration) if names == context.names else {}
        plan = upgrades.plan(context.session, names, to, _POLL_SECONDS, own)
    if plan.empty:
        out.print(f"the project {name} is at version {plan.version}; nothing would change", soft_wrap=True)
        return
    _tell_plan(out, plan)
    if not yes:
        _confirm(f"Upgrade {name} to {plan.version}? Type `yes`: ", "yes")
    upgrades.begin(context.session, plan)
    watch_project(out, context, names, f"at version {plan.version}")
    if plan.seed is not None:
        _offer_seed(out, context, plan, branch)


def watch_project(out: Console, context: Context, names: Names, done: str) -> None:
    """Show how a project is made or changed until it is. Raises ServiceError, with the reasons, when it fails."""
    last: Progress | None = None
    told = ""
    with out.status(f"project {names.project}", spinner="dots") as status:
        for last in following.follow(context.session, names, _POLL_SECONDS):
            resource = f"  {last.resource}" if last.resource else ""
            status.update(Text(f"{last.status}  {last.done} resources{resource}"))
            if last.status != told and not out.is_terminal:
                out.print(f"{names.project}: {last.status}", soft_wrap=True)
            told = last.status
    assert last is not None, "a project has one reading at least"
    if last.status not in _DONE:
        raise ServiceError(_failure(context, names, last.status))
    out.print(f"the project {names.project} is {done}: {last.done} resources", soft_wrap=True)


def _failure(context: Context, names: Names, status: str) -> str:
    project = reading.describe(context.session, names)
    reasons = following.failures(context.session, project.stack.id) if project and project.stack else []
    if project and project.reason and not reasons:
        reasons = [project.reason]
    listed = "\n".join(f"  {reason}" for reason in reasons) or "  no reason was given"
    way = (
        f"`mlops project destroy {names.project}` removes what was made"
        if status == "CreateFailed"
        else "the stack is as it was before; mend the cause and run this again"
    )
    return f"the project `{names.project}` is {status}:\n{listed}\n{way}"


def _tell_next(out: Console, context: Context, project: Project) -> None:
    where = _repository(context, project)
    if where is None:
        out.print(Text("it has no repository: run the verbs in this working copy", style="bright_black"))
        return
    for what, why in (
        (f"mlops project clone {project.name}", f"a working copy of {where}"),
        (f"cd {project.name} && make setup", "its environment"),
        ("git push", "what a push to `main` changes is built"),
    ):
        out.print(Text.assemble("  ", f"{what:<42}  ", (why, "bright_black")), soft_wrap=True)


def _tell_found(out: Console, names: Names, found: Found, keep_data: bool) -> None:
    """List what a destruction deletes."""
    out.print(f"Of the project {names.project} in {names.account_id}, {names.region}, this is deleted:", soft_wrap=True)
    for stack, size in found.stacks:
        out.print(f"  stack {stack.name} ({stack.status}), {size} resources", soft_wrap=True)
    for kind, things in found.things:
        if things:
            out.print(f"  {kind.title}", soft_wrap=True)
        for thing in things:
            note = f"  ({thing.note})" if thing.note else ""
            out.print(Text.assemble("    ", thing.name, (note, "bright_black")), soft_wrap=True)
    stays = "The bucket, the repository and what else is data stay; " if keep_data else ""
    out.print(Text(f"{stays}MLflow's experiments and models stay.", style="bright_black"), soft_wrap=True)


def _tell_plan(out: Console, plan: Plan) -> None:
    before = plan.project.version or "an unknown version"
    out.print(f"{plan.names.project}: {before} to {plan.version}", soft_wrap=True)
    for change in plan.changes:
        style = {"Add": "green", "Remove": "red"}.get(change.action, "")
        replaced = "  (replaced)" if change.replaced else ""
        kind = change.type.removeprefix("AWS::")
        out.print(Text(f"  {change.action:<7} {kind} {change.logical_id}{replaced}", style=style), soft_wrap=True)
    for parameter, old, new in plan.parameters:
        out.print(f"  {parameter}: {_shown(old)} to {_shown(new)}", soft_wrap=True)
    if plan.seed is not None:
        added, changed, removed = len(plan.seed.added), len(plan.seed.changed), len(plan.seed.removed)
        out.print(f"  seed: {added} files added, {changed} changed, {removed} removed", soft_wrap=True)


def _shown(value: str | None) -> str:
    return "none" if value is None else repr(value)


def _offer_seed(out: Console, context: Context, plan: Plan, branch: bool) -> None:
    """Put the newer seed beside the project's own files, as a branch."""
    assert plan.seed is not None, "asked only where the seed has changed"
    if not branch or plan.project.provider != CODECOMMIT:
        out.print(f"the seed has changed in {plan.seed.count} files; the repository was left as it is", soft_wrap=True)
        return
    url = reading.clone_url(context.session, plan.project)
    assert url is not None, "a repository of CodeCommit has an address"
    with out.status("pushing the seed", spinner="dots"):
        name = seed_branch.push(url, plan.names.region, plan.version, plan.seed.content)
    out.print(f"the seed's changes are the branch {name}: git fetch && git merge origin/{name}", soft_wrap=True)


def _confirm(question: str, answer: str) -> None:
    """Ask for a word. Raises UsageError unless it is given."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("nobody is there to be asked; say --yes")
    if input(question).strip() != answer:
        raise UsageError("nothing was done")


def _existing(context: Context, names: Names) -> Project:
    project = reading.describe(context.session, names)
    if project is None:
        known = [one.name for one in reading.list_all(context.session)]
        raise UsageError(f"there is no project `{names.project}`; projects here: {', '.join(known) or 'none'}")
    return project


def _repository(context: Context, project: Project) -> str | None:
    """Where a project's repository is, as far as that is known."""
    from botocore.exceptions import ClientError

    try:
        return reading.clone_url(context.session, project)
    except ClientError:  # deleted, or not made yet
        return None


def _document(project: Project, repository: str | None) -> dict[str, Any]:
    return {
        "name": project.name,
        "id": project.id or None,
        "status": project.status,
        "reason": project.reason,
        "template_version": project.version,
        "repository": repository,
        "stack": project.stack.name if project.stack else None,
        "created": project.created.isoformat(),
    }


def _pairs(given: Iterable[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise UsageError(f"--parameter is `{one}`, expected NAME=VALUE")
        pairs[name] = value
    return pairs
