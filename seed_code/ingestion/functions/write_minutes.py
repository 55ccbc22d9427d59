"""The Lambda function between the stream of minutes and the feature store.

A minute's event time is its end, whenever it is written, so that writing it again changes nothing, and a version that a
replay has made since, which is later, stays. Quiet minutes are written too, without an average.

What is no minute goes to a queue, with the reason, and the batch goes on: it would be none the next time either. What
the feature store does not take for now ends the batch, and Lambda brings the rest again, in order (partial batch
responses: the event source mapping must have ReportBatchItemFailures). Transactions that came too late for their minute
are counted; the replay of the next hour counts them in.

Environment: PROJECT, FEATURE_GROUP, DEAD_LETTER_QUEUE_URL.

Source: "Configuring partial batch response with Kinesis Data Streams and Lambda" in the AWS Lambda Developer Guide.
"""

from __future__ import annotations

from typing import Any

from seed_code.ingestion.functions import environment
from seed_code.ingestion.functions.account import client, log
from seed_code.ingestion.functions.dead_letters import DeadLetters
from seed_code.ingestion.functions.metrics import Metrics
from seed_code.ingestion.functions.minute_writing import MinuteWriting

_project, _group, _queue_url = environment.read("PROJECT", "FEATURE_GROUP", "DEAD_LETTER_QUEUE_URL")
_writing = MinuteWriting(client("sagemaker-featurestore-runtime"), _group, DeadLetters(client("sqs"), _queue_url))
_metrics = Metrics(client("cloudwatch", attempts=2), _project)


@log.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Write a batch's minutes; says from which record on it could not."""
    result = _writing.handle(event["Records"], lambda: context.get_remaining_time_in_millis() / 1000)
    _metrics.put(result.metrics())
    return result.answer()
