"""The whole stream, from the simulated API to the feature store: what harm costs it, and how soon a minute is there.

    .venv/bin/python benchmarks/stream_chain.py [--hours 24] [--speed 8] [--without-harm] [--without-latency]

Both parts run what `mlops up` runs, the operator making minutes, beside a localcloud and a simulator of their own.

Harm: 30 minutes of the simulator's time (or so many hours), 10 transactions a second, `--speed` times as fast as real
time. Meanwhile the source gives garbage, wrong dates, transactions that say a wrong time, 429 and 5xx; a tenth of the
services' calls are throttled or fail, of PutEvents and PutRecords a tenth of the entries; and poller, operator, both
functions and localcloud are killed (kill -9) at random moments, each twice in half an hour. Then the archive is counted
again, as a schedule does every hour. The minutes in the store are compared with those of the simulator's own ledger:
`streamed_otherwise` are those that differed before that, `left` those that still do, which must be none.

Latency: real time, as many transactions, nothing harmed, an API page of 100. How many seconds after its end, less
the 30 that it is waited for (`lateness_seconds` of configs/ingestion.yml), a minute's record can be read from the
online store, asked every 20 ms. `cpu_seconds_per_minute` of the whole chain by program, at that pace.

Writes results/stream_chain.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pipelines.feature_groups import MINUTES  # noqa: E402
from pipelines.ingestion import minutes  # noqa: E402
from pipelines.ingestion.minutes import MINUTE  # noqa: E402
from tests.pipelines.test_stack import free_port  # noqa: E402
from tests.stream.chain import FUNCTIONS, OPERATOR, POLLER, Chain, Traffic, running_chain  # noqa: E402
from tests.stream.harm import harm  # noqa: E402

GOAL_SECONDS = 3.0
RATE = 14.0  # of the usual hour: also in the quieter ones there are 10 transactions a second then
KILLS_IN_HALF_AN_HOUR = 2
LATENCY_MINUTES = 4
ASKED_EVERY_SECONDS = 0.02
RESULT = Path(__file__).parent / "results" / "stream_chain.json"


def harmed(folder: Path, span: timedelta, speed: float) -> dict[str, Any]:
    """A span of the source's time with everything that can go wrong."""
    with running_chain(folder, free_port(), Traffic(rate=RATE, speed=speed, page=2000)) as chain:
        chain.wait_until(lambda: bool(chain.processes(POLLER)), "the poller")
        first = minutes.whole(chain.now()) + MINUTE
        end = first + span
        begun = time.monotonic()
        times = max(1, round(KILLS_IN_HALF_AN_HOUR * span / timedelta(minutes=30)))
        killed = harm(chain, first, end, times)
        seconds = time.monotonic() - begun
        chain.pass_until(end + 4 * MINUTE)
        outcome = chain.settle(first, end)
        transactions = sum(minute.transactions or 0 for minute in chain.ledger(first, end).values())
        return {
            "minutes": outcome.minutes,
            "transactions": transactions,
            "speed": speed,
            "seconds": round(seconds, 1),
            "transactions_per_second": round(transactions / seconds, 1),
            "killed": dict(killed),
            "streamed_otherwise": len(outcome.streamed),
            "amended": outcome.amended,
            "left": len(outcome.left),
        }


def live(folder: Path) -> dict[str, Any]:
    """Minutes at the pace of real time."""
    with running_chain(folder, free_port(), Traffic(rate=RATE, page=100), requests_per_5_minutes=500) as chain:
        chain.wait_until(lambda: bool(chain.processes(POLLER)), "the poller")
        first = minutes.whole(chain.now()) + MINUTE
        chain.pass_until(first + timedelta(seconds=20))
        cpu, begun = used(chain), time.monotonic()
        seconds = [there_after(chain, first + at * MINUTE) for at in range(LATENCY_MINUTES)]
        passed = (time.monotonic() - begun) / 60
        spent = {name: round((total - cpu.get(name, 0.0)) / passed, 2) for name, total in used(chain).items()}
        differences = chain.differences(first, first + LATENCY_MINUTES * MINUTE)
    return {
        "seconds": [round(one, 2) for one in seconds],
        "median": round(statistics.median(seconds), 2),
        "most": round(max(seconds), 2),
        "cpu_seconds_per_minute": spent,
        "differences": len(differences),
    }


def there_after(chain: Chain, minute: Any) -> float:
    """Seconds from the moment at which a minute may be closed to that at which its record can be read."""
    runtime = chain.client("sagemaker-featurestore-runtime")
    group, name = MINUTES.name(chain.names), f"{minute:%Y-%m-%dT%H:%M:%SZ}"
    due = (minute + MINUTE).timestamp() + chain.configuration.ingestion.aggregate.lateness_seconds
    while not runtime.get_record(FeatureGroupName=group, RecordIdentifierValueAsString=name).get("Record"):
        time.sleep(ASKED_EVERY_SECONDS if time.time() > due - 1 else 0.5)
        if time.time() > due + 120:
            raise SystemExit(f"the minute {name} is not there two minutes later\n{chain.told()}")
    return time.time() - due


def used(chain: Chain) -> dict[str, float]:
    """Seconds of processor time by program."""
    recorded = json.loads((chain.servers.state / "stack.json").read_text())["processes"]
    found = {name: [psutil.Process(recorded[name]["pid"])] for name in ("localcloud", "simulator")}
    found |= {name: chain.processes(name) for name in (POLLER, OPERATOR, *FUNCTIONS)}
    return {
        name.rpartition(".")[2]: sum(sum(process.cpu_times()[:2]) for process in processes)
        for name, processes in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hours", type=float, default=0.5)
    parser.add_argument("--speed", type=float, default=8.0)
    parser.add_argument("--without-harm", action="store_true")
    parser.add_argument("--without-latency", action="store_true")
    arguments = parser.parse_args()
    result: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    failed = []
    with tempfile.TemporaryDirectory() as name:
        if not arguments.without_latency:
            result["latency"] = live(Path(name) / "live")
            print(json.dumps(result["latency"], indent=1), flush=True)
            failed += ["latency"] if result["latency"]["median"] >= GOAL_SECONDS else []
        if not arguments.without_harm:
            found = harmed(Path(name) / "harmed", timedelta(hours=arguments.hours), arguments.speed)
            result["harm" if arguments.hours < 1 else f"harm_{arguments.hours:g}_hours"] = found
            print(json.dumps(found, indent=1), flush=True)
            failed += ["harm"] if found["left"] else []
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    if failed:
        sys.exit(f"a goal was missed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
