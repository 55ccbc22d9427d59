"""The simulator's command: `python -m seed_code.ingestion.simulator --port 4612`; see this package's docstring."""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# One thread for BLAS: nothing here is large enough for a second one, and each takes memory.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import uvicorn

from seed_code.common.arguments import ArgumentParser, whole_number
from seed_code.common.errors import ClientError
from seed_code.common.failure import reports_failure
from seed_code.ingestion.simulator import moments, plan
from seed_code.ingestion.simulator.application import Simulator
from seed_code.ingestion.simulator.clock import Clock, ReferenceClock, RunningClock, date_of
from seed_code.ingestion.simulator.faults import FaultError
from seed_code.ingestion.simulator.plan import NOTHING, Plan
from seed_code.ingestion.simulator.traffic import PAGE, Traffic

_MOST_SPEED, _MOST_RATE, _MOST_PAGE = 10_000.0, 100.0, 10_000


@reports_failure
def main() -> None:
    """Serve until told to stop (SIGTERM, Ctrl-C)."""
    arguments = _parser().parse_args()
    with _folder(arguments.ledger) as folder:
        clock = _clock(arguments, folder)
        switches = _plan(arguments, folder)
        traffic = Traffic(arguments.seed, arguments.rate, switches)
        simulator = Simulator(traffic, switches, clock, folder, size=arguments.page)
        # uvicorn stops at the signal, and then sends it once more to whoever handled it before: to tidy up.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        uvicorn.run(
            simulator.application(),
            host="127.0.0.1",
            port=arguments.port,
            access_log=False,
            log_level="warning",
            date_header=False,  # every answer says the simulated time instead
            server_header=False,
            ws="websockets-sansio",
            ws_max_size=64 * 1024,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=2,
        )


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="simulator", description="A source of blockchain transactions (synthetic: no real transaction)."
    )
    parser.add_argument("--port", required=True, type=whole_number(1, 65535), help="where it listens, on 127.0.0.1")
    parser.add_argument("--ledger", type=Path, help="folder for what was served and switched; default: a temporary one")
    parser.add_argument("--seed", type=whole_number(0, 2**31 - 1), default=7, help="the same seed, the same market")
    parser.add_argument(
        "--rate", type=_positive(_MOST_RATE), default=1.0, help="transactions for each of the market's (about 5/s)"
    )
    parser.add_argument("--speed", type=_positive(_MOST_SPEED), default=1.0, help="how fast time passes")
    parser.add_argument(
        "--page",
        type=whole_number(1, _MOST_PAGE),
        default=PAGE,
        help=f"transactions on a page: {PAGE}, as the API has, or more where time passes faster than a poller starts",
    )
    parser.add_argument("--clock", help="http address of a server whose time it is to be, by the Date of its answers")
    parser.add_argument("--drift-at", type=_moment, help="from when on the market is another one, ISO 8601")
    parser.add_argument("--faults", type=Path, help="JSON file of faults, as POST /control takes them")
    return parser


def _clock(arguments: argparse.Namespace, folder: Path) -> Clock:
    if arguments.clock is None:
        return RunningClock(arguments.speed, _begin(folder, arguments.speed))
    if arguments.speed != 1:
        raise ClientError("--clock and --speed are both given; expected one of them: another server's time is its own")
    if urlsplit(arguments.clock).scheme != "http" or not urlsplit(arguments.clock).hostname:
        raise ClientError(f"--clock is `{arguments.clock}`; expected an address such as http://127.0.0.1:4610/")
    return ReferenceClock(date_of(arguments.clock))


def _begin(folder: Path, speed: float) -> float:
    """When a fast clock began to be fast: kept, so that time does not go back when the simulator is restarted."""
    file = folder / "clock.json"
    kept = json.loads(file.read_text()) if file.exists() else {}
    if kept.get("speed") == speed:
        return float(kept["begin"])
    begin = time.time()
    file.write_text(json.dumps({"speed": speed, "begin": begin}))
    return begin


def _plan(arguments: argparse.Namespace, folder: Path) -> Plan:
    wanted: dict[str, Any] = {}
    file = folder / "control.json"
    if file.exists() and (arguments.drift_at is not None or arguments.faults is not None):
        raise ClientError(
            f"{file} says what was switched on in this folder before; leave --drift-at and --faults away and POST "
            "/control, or give another --ledger"
        )
    if arguments.drift_at is not None:
        wanted["drift_at"] = moments.stamp(arguments.drift_at)
    if arguments.faults is not None:
        wanted["faults"] = _faults(arguments.faults)
    try:
        asked = plan.switches(wanted, NOTHING)
    except FaultError as error:
        raise ClientError(f"--faults {arguments.faults}: {error}") from error
    return Plan(file, asked)


def _faults(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ClientError(f"--faults {file} cannot be read as JSON: {error}") from error


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is None:
        with tempfile.TemporaryDirectory(prefix="simulator-") as folder:
            yield Path(folder)
        return
    given.mkdir(parents=True, exist_ok=True)
    yield given


def _positive(most: float) -> Any:
    def parse(text: str) -> float:
        number = float(text)
        if not 0 < number <= most:
            raise argparse.ArgumentTypeError(f"{number} is not above 0 and at most {most:.0f}")
        return number

    parse.__name__ = "number"
    return parse


def _moment(text: str) -> int:
    try:
        return moments.seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
