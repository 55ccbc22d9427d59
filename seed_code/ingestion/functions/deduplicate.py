"""The Lambda function between the bus and the stream: each transaction is passed on once, or more often, never less.

Pages of the API overlap, and events come more than once. A transaction is marked as known only after the stream has
taken it: what is cut off in between is passed on again, and counted once all the same, for minutes are made of distinct
hashes. The heartbeat that ends an event goes after its transactions, so that no minute is closed before them.

What the stream does not take, for longer than the function has, raises: Lambda calls again, twice, and then gives the
event to the dead letter queue. So does an event that is none, or holds something that is no transaction; whatever else
it holds is passed on first.

Environment: PROJECT, TRANSACTIONS_STREAM (a name), SEEN_TABLE, DEDUPE_HOURS.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from seed_code.ingestion import transactions
from seed_code.ingestion.functions import environment
from seed_code.ingestion.functions.account import client, log
from seed_code.ingestion.functions.deduplication import Deduplication
from seed_code.ingestion.functions.metrics import Metric, Metrics
from seed_code.ingestion.functions.publishing import Publisher
from seed_code.ingestion.functions.seen import Seen

_project, _stream, _table = environment.read("PROJECT", "TRANSACTIONS_STREAM", "SEEN_TABLE")
_deduplication = Deduplication(
    Seen(client("dynamodb"), _table),
    Publisher(client("kinesis"), _stream, transactions.PARTITION_KEY),
    environment.whole_number("DEDUPE_HOURS"),
)
_metrics = Metrics(client("cloudwatch", attempts=2), _project)


@log.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Pass on the transactions of one event; gives the counts."""
    observed_at, counts = _deduplication.handle(
        event.get("detail"), lambda: context.get_remaining_time_in_millis() / 1000
    )
    if counts.received:
        at = datetime.fromtimestamp(observed_at, UTC)
        values = {"Received": counts.received, "Duplicates": counts.duplicates, "Published": counts.published}
        _metrics.put(Metric(name, value, at) for name, value in values.items())
    return asdict(counts)
