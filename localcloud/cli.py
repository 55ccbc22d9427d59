"""The command `localcloud`: up, status, advance, calls, iam, faults, logs, down.

Results go to stdout, messages to stderr.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from localcloud import instance
from localcloud.errors import LocalcloudError

app = typer.Typer(
    name="localcloud",
    help="An AWS endpoint on this machine. Point clients at it with AWS_ENDPOINT_URL.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

iam = typer.Typer(help="Roles: what they may, and what they did.", no_args_is_help=True)
app.add_typer(iam, name="iam")

PortOption = Annotated[int, typer.Option("--port", help="The port on 127.0.0.1.", min=0, max=65535)]


@app.command()
def up(
    port: PortOption = instance.DEFAULT_PORT,
    state: Annotated[
        Path | None,
        typer.Option("--state", help="The folder that keeps everything. Without it, nothing is kept."),
    ] = None,
    flink_python: Annotated[
        Path | None,
        typer.Option("--flink-python", help="An interpreter with PyFlink, for the jobs of Flink applications."),
    ] = None,
) -> None:
    """Run in the foreground until interrupted. With port 0, any port that is free."""
    # Imported here: the other commands answer before a web server is imported.
    from localcloud.foreground import run

    run(port, state, on_ready=_say_ready, flink_python=flink_python)
    # All is closed and removed. Taking the half million objects of moto and boto3 apart would take most of a second,
    # and DuckDB complains about every object of its own that is left when they are not.
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


def _say_ready(port: int, state: Path, temporary: bool) -> None:
    kept = "temporary" if temporary else "kept"
    typer.echo(f"localcloud is ready: export AWS_ENDPOINT_URL=http://127.0.0.1:{port}  (state {state}, {kept})")
    sys.stdout.flush()


@app.command()
def status(
    port: PortOption = instance.DEFAULT_PORT,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for machines.")] = False,
) -> None:
    """Say what runs at a port."""
    running = instance.query(port)
    if as_json:
        typer.echo(json.dumps(running, indent=2))
        return
    leaf = running["leaf"]
    lines = {
        "endpoint": f"http://127.0.0.1:{running['port']}",
        "pid": running["pid"],
        "state": f"{running['state']} ({'temporary' if running['temporary'] else 'kept'})",
        "up for": f"{running['uptime_seconds']:.0f} s",
        "services": ", ".join(running["services"]),
        "stored by moto": ", ".join(leaf["services"]),
        "moto": leaf["failure"] or ("ready" if leaf["ready"] else "starting"),
    }
    for name, value in lines.items():
        typer.echo(f"{name:<16}{value}")
    if leaf["replay_failures"]:
        typer.echo(
            f"{leaf['replay_failures']} of {leaf['replayed_calls']} calls could not be replayed: see the log of"
            " `localcloud up`",
            err=True,
        )


@app.command()
def logs(
    job: Annotated[str, typer.Argument(help="The name of a processing, training or transform job.")],
    port: PortOption = instance.DEFAULT_PORT,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
) -> None:
    """Print what a job has written."""
    # Imported here: boto3 takes a third of a second.
    from localcloud.joblogs import job_lines

    instance.query(port)
    for line in job_lines(job, port, follow=follow):
        typer.echo(line)
        sys.stdout.flush()


@app.command()
def advance(
    time: Annotated[str, typer.Argument(help="How much: 90s, 5m, 24h, 365d, or several of them: 1d12h. 366d at most.")],
    port: PortOption = instance.DEFAULT_PORT,
) -> None:
    """Let time pass at once: all that falls due in it happens, in its order, as fast as it can."""
    # On a terminal its person sees how far it has come; a file has no use for that.
    watched = sys.stderr.isatty()
    reached = instance.advance(port, _seconds(time), _say_moment if watched else None)
    if watched:
        typer.echo("\r\x1b[K", err=True, nl=False)
    typer.echo(reached)


def _say_moment(now: str) -> None:
    typer.echo(f"\r\x1b[Kat {now[:19]}", err=True, nl=False)


@app.command()
def calls(
    principal: Annotated[str | None, typer.Option("--role", help="The ARN of a role: its calls only.")] = None,
    port: PortOption = instance.DEFAULT_PORT,
    as_json: Annotated[bool, typer.Option("--json", help="The same for machines.")] = False,
) -> None:
    """Say who called what: principal, action and resource as in a policy, and how often."""
    found = instance.calls(port, principal)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for call in found:
        outcome = f"  {call['error']}" if call["error"] else ""
        typer.echo(f"{call['principal']}  {call['action']}  {call['resource']}  {call['count']}{outcome}")


@iam.callback()
def _group() -> None:
    """A command of one is a group all the same."""


@iam.command()
def report(
    role: Annotated[str | None, typer.Option("--role", help="The ARN or the name of one role.")] = None,
    port: PortOption = instance.DEFAULT_PORT,
    as_json: Annotated[bool, typer.Option("--json", help="The same for machines.")] = False,
    unused: Annotated[
        bool,
        typer.Option("--unused", help="Only what was never used, and is not explained; exit status 1 if there is any."),
    ] = False,
) -> None:
    """Say of each role which actions its policies allow, how often each was used, and what was denied."""
    # Imported here: boto3 takes a third of a second.
    from localcloud.iam.report import lines

    found = instance.rights(port, role)
    if role is not None and not found:
        raise LocalcloudError(f"there is no role {role}; `localcloud iam report` without --role shows all")
    left = [one for one in found if one["unexplained"]]
    if as_json:
        typer.echo(json.dumps(left if unused else found, indent=2))
    else:
        for line in lines(found, unused_only=unused):
            typer.echo(line)
    if unused and left:
        typer.echo(
            "remove them from the policies, or say why they are there in the role's metadata in its template:"
            " Metadata: {UnusedActions: {action: reason}}",
            err=True,
        )
        raise typer.Exit(1)


@app.command()
def faults(
    rules: Annotated[
        str | None,
        typer.Argument(help="A JSON file of rules, or `off` to end those that are set. Without it: show them."),
    ] = None,
    port: PortOption = instance.DEFAULT_PORT,
    as_json: Annotated[bool, typer.Option("--json", help="The same for machines.")] = False,
) -> None:
    """Let a share of the calls be throttled or fail, until it is turned off; say how many have been so far."""
    found = instance.faults(port, _rules(rules))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for rule in found:
        chosen = f"{rule['service']}  {rule['operation']}  {rule['kind']}  share {rule['share']:g}  seed {rule['seed']}"
        typer.echo(f"{chosen}  {rule['faults']} of {rule['calls']}")
    if not found:
        typer.echo("no faults are set", err=True)


def _rules(argument: str | None) -> str | None:
    if argument is None:
        return None
    if argument == "off":
        return "[]"
    try:
        return Path(argument).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise LocalcloudError(f"the rules in {argument} cannot be read: {error}") from error


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if not text or found is None:
        raise LocalcloudError(f"the time is {text!r}, expected one such as 90s, 5m, 24h or 1d12h")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()


@app.command()
def down(port: PortOption = instance.DEFAULT_PORT) -> None:
    """Stop what runs at a port, and wait until it is gone."""
    pid = instance.stop(port)
    typer.echo(f"localcloud (pid {pid}, port {port}) has stopped", err=True)


def main() -> None:
    """Run the command line; exit status 1 and one line on stderr for what the user can resolve."""
    try:
        app()
    except LocalcloudError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
