"""The command `mlops`: one module a verb, imported only when the verb is called.

A verb's module exposes `command`, a function that typer turns into a command, or `app`, a `typer.Typer` of several
(such as `params list`). It parses arguments, calls the library and prints: results to stdout, everything else to
stderr. A command returns its exit status, or None for 0. For `--help` no verb is imported: the line that it shows
stands in `VERBS`.

Errors that a message explains (`pipelines/errors.py`) are printed to stderr without a traceback and end with their own
status; a bug keeps its traceback.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from pipelines.errors import ProjectError, suggestion

VERBS: dict[str, tuple[str, str]] = {
    "up": ("up", "Start localcloud, MLflow and a simulated stream on this machine."),
    "down": ("down", "Stop what `mlops up` started."),
    "demo": ("demo", "Run everything once on this machine, from data to production."),
    "doctor": ("doctor", "Check account, quotas, roles and versions; say what to do."),
    "cost": ("cost", "Estimate what the project costs a month, before it is deployed."),
    "definition": ("definition", "Print a pipeline's definition as JSON; calls nothing."),
    "diff": ("diff", "Show what changed since the account's definitions."),
    "package": ("package", "Pack the other stacks for CodePipeline."),
    "images": ("images", "Register the image of each folder with a Dockerfile."),
    "params": ("params", "List and set the runtime values in Parameter Store."),
    "ingest": ("ingest", "Load a file of minutes into the feature store."),
    "stream": ("stream", "Watch the stream of transactions, live; start and stop it."),
    "replay": ("replay", "Compute minutes again from the archive of transactions."),
    "redrive": ("redrive", "Give the stream's dead letters back to what they are for."),
    "stream-demo": ("stream_demo", "Run the stream alone on this machine, and prove its minutes."),
    "run": ("run", "Update a pipeline, start it and follow it to its end."),
    "upsert": ("upsert", "Update a pipeline, and start nothing."),
    "step": ("step", "Run one step of the last execution again, alone."),
    "stop": ("stop", "Stop the last execution of a pipeline."),
    "logs": ("logs", "Print what the job of a step wrote."),
    "status": ("status", "Show the pipelines and their last executions."),
    "models": ("models", "List the model packages with metrics and approval."),
    "approve": ("approve", "Approve a model package, for staging or for production."),
    "reject": ("reject", "Reject a model package; a stage that serves it goes back."),
    "deploy": ("deploy", "Deploy an approved model package to a stage."),
    "rollback": ("rollback", "Bring a stage back to the version before."),
    "verify": ("verify", "Test what a stage serves, and keep the answers as a page."),
    "endpoints": ("endpoints", "Show what the stages serve, and how it does."),
    "invoke": ("invoke", "Ask a stage's endpoint."),
    "api": ("api", "Bring the REST API up to date; print its URL and a token."),
    "monitor": ("monitor", "Evaluate an hour of what a stage serves, now."),
    "watch": ("watch", "Watch how the models do, live."),
    "explain": ("explain", "Say what an alarm is about, and what was done."),
    "publish": ("publish", "Make this working copy the template that projects are made from."),
    "project": ("project", "Create, list, clone, upgrade and destroy projects."),
    "report": ("report", "Write an execution's report as one HTML page."),
}
"""verb: (module of `pipelines.cli`, its line in the help)"""
# They work with servers of this machine, whose account is the overrides' (configs/local.yml).
_START_SERVERS = frozenset({"up", "down", "demo", "stream-demo"})


class _Verbs(TyperGroup):
    """The verbs, each imported when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in with name and help: enough for the list of verbs and for completion."""
        return TyperCommand(cmd_name, help=VERBS[cmd_name][1]) if cmd_name in VERBS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        verb = args[0]
        if verb not in VERBS:
            if not ctx.resilient_parsing:
                ctx.fail(f"No such command `{verb}`{suggestion(verb, VERBS)}")
            return None, None, args[1:]
        return verb, _load(verb), args[1:]


def _load(verb: str) -> Any:
    name, line = VERBS[verb]
    module = importlib.import_module(f"pipelines.cli.{name}")
    if hasattr(module, "app"):
        return typer.main.get_command(module.app)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name=verb, short_help=line)(module.command)
    return typer.main.get_command(alone)


app = typer.Typer(
    name="mlops",
    cls=_Verbs,
    help="Build, run and look after the project's pipelines, on AWS or on this machine.",
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _root(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """The console entry point. Ends the process: 0, 1 when the work failed, 2 when it was asked for wrongly, 130 on
    Ctrl-C.
    """
    use_local_environment(Path.cwd())
    _use_identity(Path.cwd(), sys.argv[1:])
    try:
        status = typer.main.get_command(app)(prog_name="mlops", standalone_mode=False)
    except ProjectError as error:
        _fail(str(error), error.exit_status)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader (`| head`) has gone. Python would complain once more when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        shown = _explained(error)
        if shown is None:
            raise
        _fail(*shown)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str, status: int) -> None:
    typer.echo(f"mlops: {message}", err=True)
    sys.exit(status)


def _explained(error: Exception) -> tuple[str, int] | None:
    """The message and status of an error of the command line or of botocore; None for any other: a bug."""
    show = getattr(error, "format_message", None)
    if show is not None and hasattr(error, "exit_code"):
        context = getattr(error, "ctx", None)
        help_line = f"\nTry `{context.command_path} --help`." if context is not None else ""
        return f"{show()}{help_line}", int(error.exit_code)
    # Only when a verb called AWS is botocore imported; it takes 0.1 s.
    if "botocore.exceptions" not in sys.modules:
        return None
    from botocore import exceptions

    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if isinstance(error, exceptions.EndpointConnectionError | exceptions.ConnectionClosedError):
        where = f"`{endpoint}` (AWS_ENDPOINT_URL)" if endpoint else "AWS"
        return f"cannot reach {where}: {error}; start localcloud with `mlops up`, or unset AWS_ENDPOINT_URL", 1
    if isinstance(
        error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError | exceptions.ProfileNotFound
    ):
        return f"{error}; start localcloud with `mlops up`, or give the credentials of an AWS account", 1
    if isinstance(error, exceptions.ClientError):
        details = error.response.get("Error", {})
        where = f"`{endpoint}`" if endpoint else "AWS"
        return f"{where} refused {error.operation_name}: {details.get('Code')}: {details.get('Message')}", 1
    if isinstance(error, exceptions.BotoCoreError):
        return str(error), 1
    return None


def use_local_environment(start: Path) -> None:
    """Point this process at the localcloud that `mlops up` started, if there is one: load `.mlops/env` of the working
    copy.

    Not when AWS_ENDPOINT_URL is set already; set but empty it means AWS itself, and is removed, since botocore would
    take it for an address.
    """
    if "AWS_ENDPOINT_URL" in os.environ:
        if not os.environ["AWS_ENDPOINT_URL"]:
            del os.environ["AWS_ENDPOINT_URL"]
        return
    folder = _working_copy(start)
    if folder is None:
        return
    from pipelines.names import OVERRIDES_VARIABLE, LocalPaths

    file = LocalPaths(folder).environment
    if not file.is_file():
        return
    from dotenv import dotenv_values

    # The file goes before the environment: an endpoint with someone else's credentials helps no one. Only other
    # overrides of the configuration are a choice that is made for one command.
    chosen = os.environ.get(OVERRIDES_VARIABLE)
    os.environ.update({name: value for name, value in dotenv_values(file).items() if value is not None})
    if chosen:
        os.environ[OVERRIDES_VARIABLE] = chosen


def _use_identity(start: Path, arguments: list[str]) -> None:
    """Find out which project this is, where the working copy's configuration leaves that open."""
    folder = _working_copy(start)
    if folder is None or not arguments or "--help" in arguments:
        return
    from pipelines import identity

    identity.complete(folder, os.environ, account=arguments[0] not in _START_SERVERS)


def _working_copy(start: Path) -> Path | None:
    folders = (folder for folder in (start, *start.parents) if (folder / "configs" / "project.yml").is_file())
    return next(folders, None)
