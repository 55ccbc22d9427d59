"""The poller as a program: `python3 -m seed_code.ingestion.poller`, until SIGTERM.

Its settings are environment variables (settings.py); AWS's own say where the account is.
"""

import asyncio
import logging
import os
import signal
import sys
import time

from seed_code.common.clients import client
from seed_code.common.errors import ClientError
from seed_code.ingestion.poller import logs, settings
from seed_code.ingestion.poller.alive import Alive
from seed_code.ingestion.poller.loop import Poller
from seed_code.ingestion.poller.observation import Source
from seed_code.ingestion.poller.pace import Pace
from seed_code.ingestion.poller.pages import Pages, connected
from seed_code.ingestion.poller.publisher import Publisher
from seed_code.ingestion.poller.settings import Settings
from seed_code.ingestion.poller.spool import Spool
from seed_code.ingestion.poller.tally import NAMESPACE, Tally
from seed_code.ingestion.poller.websocket import Websocket

_READ_SECONDS = 5.0

log = logging.getLogger("seed_code.ingestion.poller")


def main() -> None:
    """Poll until told to stop. Ends with status 1 for a mistake in the settings, and for a bug, which it logs."""
    logs.to_stdout()
    try:
        asyncio.run(_run(settings.read(os.environ)))
    except ClientError as error:
        log.error("%s", error)
        sys.exit(1)
    except Exception:
        log.exception("the poller ends by an error of its own")
        sys.exit(1)


async def _run(found: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # One try each: the publisher tries again itself, and keeps counts of what failed.
    events = client("events", read_seconds=_READ_SECONDS, attempts=1)
    cloudwatch = client("cloudwatch", read_seconds=_READ_SECONDS, attempts=1)
    spool = Spool(found.spool_folder, found.spool_bytes)
    tally, alive = Tally(), Alive(found.spool_folder)
    poller = Poller(
        _source(found, alive),
        Publisher(lambda batch: list(events.put_events(Entries=batch)["Entries"]), found.bus, spool, tally),
        spool,
        tally,
        alive,
        lambda data: cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=data),
        found.project,
    )
    address = found.source_url if found.protocol == "rest" else found.websocket_url
    log.info("polling %s for the bus %s; %d events wait from before", address, found.bus, len(spool))
    try:
        await poller.run(stop)
    finally:
        spool.close()
    log.info("stopped; %s", "nothing is left to publish" if not len(spool) else f"{len(spool)} events stay on disk")


def _source(found: Settings, alive: Alive) -> Source:
    if found.protocol == "websocket":
        return Websocket(found.websocket_url, sleep=alive.sleep, monotonic=time.monotonic)
    pace = Pace(found.requests_per_5_minutes)
    return Pages(connected(found.source_url), pace, sleep=alive.sleep, monotonic=time.monotonic)


if __name__ == "__main__":
    main()
