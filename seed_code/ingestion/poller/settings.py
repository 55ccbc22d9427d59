"""What the poller's task definition tells it, as environment variables."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from seed_code.common.errors import ClientError

_PROTOCOLS = ("rest", "websocket")
_URLS = {"SOURCE_URL": r"https?://\S+", "WEBSOCKET_URL": r"wss?://\S+"}
_TEXTS = ("PROJECT", "BUS", "SPOOL_FOLDER")
_NUMBERS = {"REQUESTS_PER_5_MINUTES": (1, 100_000), "SPOOL_MEGABYTES": (1, 200_000)}


@dataclass(frozen=True)
class Settings:
    """Where transactions come from, how often to ask, and where they go.

    Attributes:
        protocol: rest or websocket; only its address is used.
        spool_bytes: most of what may wait on disk.
    """

    project: str
    protocol: str
    source_url: str
    websocket_url: str
    requests_per_5_minutes: int
    bus: str
    spool_folder: Path
    spool_bytes: int


def read(environ: Mapping[str, str]) -> Settings:
    """The settings. Raises ClientError that tells all mistakes."""
    mistakes = [f"{name} is not set" for name in _TEXTS if not environ.get(name)]
    protocol = environ.get("SOURCE_PROTOCOL", "")
    if protocol not in _PROTOCOLS:
        mistakes.append(f"SOURCE_PROTOCOL is {protocol!r}; expected {' or '.join(_PROTOCOLS)}")
    for name, pattern in _URLS.items():
        value = environ.get(name, "")
        if not re.fullmatch(pattern, value):
            schemes = "http or https" if name == "SOURCE_URL" else "ws or wss"
            mistakes.append(f"{name} is {value!r}; expected an address that begins with {schemes}")
    numbers = {}
    for name, (least, most) in _NUMBERS.items():
        text = environ.get(name, "")
        if text.isascii() and text.isdecimal() and least <= int(text) <= most:
            numbers[name] = int(text)
        else:
            mistakes.append(f"{name} is {text!r}; expected a whole number from {least} to {most}")
    if mistakes:
        raise ClientError(f"the poller's environment: {'; '.join(mistakes)}")
    return Settings(
        environ["PROJECT"],
        protocol,
        environ["SOURCE_URL"],
        environ["WEBSOCKET_URL"],
        numbers["REQUESTS_PER_5_MINUTES"],
        environ["BUS"],
        Path(environ["SPOOL_FOLDER"]),
        numbers["SPOOL_MEGABYTES"] * 1_000_000,
    )
