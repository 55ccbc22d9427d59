"""Texts with variables in them: mapping templates, gateway responses and the format of an access log.

API Gateway's mapping templates are Velocity programs. Here they are literals with `$context.…` and `$stageVariables.…`;
what else a program could say is refused when the API is imported (`check`), never skipped.
"""

from __future__ import annotations

import re
from functools import lru_cache

from localcloud.apigateway.gateway import variables
from localcloud.apigateway.gateway.exchange import Exchange

_VARIABLE = re.compile(r"\$(\{)?(context|stageVariables)\.([A-Za-z]\w*(?:\.[A-Za-z]\w*)*)(?(1)\})")
# What Velocity would take for a reference or a directive.
_PROGRAM = re.compile(r"\$!?\{?[A-Za-z][\w.]*|#\{?[A-Za-z#*\[@]\w*")


def check(text: str) -> None:
    """Raise ValueError, naming it, for what a mapping template has beside literals and known variables."""
    for name in _names(text):
        if not variables.is_known(name):
            raise ValueError(f"localcloud has no variable $context.{name}")
    if found := _PROGRAM.search(_VARIABLE.sub("", text)):
        raise ValueError(
            "localcloud's mapping templates are literals with $context and $stageVariables in them;"
            f" got {found[0]!r} in {text[:200]!r}"
        )


def check_log_format(text: str) -> None:
    """Raise ValueError for the format of an access log that API Gateway would refuse, or that is not known here."""
    names = _names(text)
    if not {"requestId", "extendedRequestId"} & set(names):
        raise ValueError(
            "Failed to create stage: Access log format must contain at least $context.requestId or"
            f" $context.extendedRequestId; got {text[:200]!r}"
        )
    if "\n" in text or "\r" in text:
        raise ValueError(f"Access Log format must be single line, new line character is not allowed in {text[:200]!r}")
    for name in names:
        if not variables.is_known(name):
            raise ValueError(f"localcloud's access log has no variable $context.{name}")


def render(text: str, exchange: Exchange, missing: str = "") -> str:
    """The text with values in place of variables, and `missing` where there is none."""
    parts = []
    for part in _parts(text):
        if isinstance(part, str):
            parts.append(part)
            continue
        kind, name = part
        found = variables.value(exchange, name) if kind == "context" else exchange.deployed.variables.get(name)
        parts.append(missing if found is None else found)
    return "".join(parts)


def _names(text: str) -> list[str]:
    return [found[3] for found in _VARIABLE.finditer(text) if found[2] == "context"]


@lru_cache(maxsize=1024)
def _parts(text: str) -> tuple[str | tuple[str, str], ...]:
    """Literals, and variables as their kind and name."""
    parts: list[str | tuple[str, str]] = []
    at = 0
    for found in _VARIABLE.finditer(text):
        parts += [text[at : found.start()], (found[2], found[3])]
        at = found.end()
    return (*parts, text[at:])
