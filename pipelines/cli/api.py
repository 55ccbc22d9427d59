"""`mlops api`"""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
from getpass import getpass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from pipelines.api import access, deployment
from pipelines.api.access import Access, Token
from pipelines.api.document import public
from pipelines.cli import show
from pipelines.cli.context import Context
from pipelines.errors import UsageError

EXAMPLE: dict[str, Any] = {
    "input": {"usage_freq": 1, "amount_spend": 40000, "uniq_merchant": 89, "k": 6, "name": "C_Mason"}
}
_POLL_SECONDS = 0.5


def command(
    token_only: Annotated[
        bool, typer.Option("--token", help='Print a token only, for `-H "Authorization: Bearer $(mlops api --token)"`.')
    ] = False,
    user: Annotated[
        str | None, typer.Option("--user", help="A person to get the token for; the password is asked for, or read.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object instead.")] = False,
) -> None:
    """Bring the REST API up to date, and print its URL, a page to try it on, and a curl with a token.

    The page holds a token too, which ends within the hour: the file is its owner's alone.
    """
    context = Context.here()
    if token_only:
        typer.echo(_token(access.find(context.session, context.names), user).value)
        return
    out = show.console(stderr=as_json)
    found = bring(context, out)
    token = _token(found, user)
    page = write_page(context, found, token)
    if as_json:
        document = {"url": found.url, "token": token.value, "expires": token.expires.isoformat(), "page": str(page)}
        typer.echo(json.dumps(document, indent=2))
        return
    for label, text in (
        ("URL", found.url),
        ("Page", f"{show.short(page)}, to be opened in a browser"),
        ("Token", f"good until {token.expires:%H:%M} UTC"),
    ):
        out.print(Text.assemble((f"{label:<7}", "bright_black"), text), soft_wrap=True)
    out.print(Text(curl(found, token)), soft_wrap=True)


def bring(context: Context, out: Any, poll_seconds: float = _POLL_SECONDS) -> Access:
    """Deploy the API's stack where it is missing or changed, and tell what that did."""
    with out.status("deploying the API", spinner="dots"):
        changes = deployment.deploy(context.session, context.configuration, context.paths, poll_seconds=poll_seconds)
    if changes:
        out.print(Text(f"deployed the API: {len(changes)} resources changed", "bright_black"), soft_wrap=True)
    return access.find(context.session, context.names)


def write_page(context: Context, found: Access, token: Token) -> Path:
    """Write the page, readable by nobody else, and give where it is."""
    # Here and not above: the template engine and Swagger UI take a tenth of a second.
    from pipelines.api import page

    file = context.paths.api_page
    text = page.render(public(deployment.read_document(context.paths), found.url), token.value)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Readable by nobody else from the beginning.
        number, written = tempfile.mkstemp(dir=file.parent, prefix=f"{file.name}.")
        try:
            with os.fdopen(number, "w", encoding="utf-8") as to:
                to.write(text)
            Path(written).replace(file)
        except BaseException:
            Path(written).unlink()
            raise
    except OSError as error:
        raise UsageError(f"the page `{show.short(file)}` cannot be written: {error.strerror}") from None
    return file


def curl(found: Access, token: Token) -> str:
    """A command for a shell that asks for a prediction."""
    words = ("curl", "-sS", f"{found.url}/predictions")
    header = ("-H", f"Authorization: Bearer {token.value}", "-H", "Content-Type: application/json")
    return shlex.join([*words, *header, "-d", json.dumps(EXAMPLE)])


def _token(found: Access, user: str | None) -> Token:
    if user is None:
        return found.token()
    if sys.stdin is not None and sys.stdin.isatty():
        password = getpass(f"Password of {user}: ")
    else:
        password = sys.stdin.readline().rstrip("\r\n") if sys.stdin is not None else ""
    if not password:
        raise UsageError(f"no password was given for `{user}`; expected a line on standard input")
    return found.token_of(user, password)
