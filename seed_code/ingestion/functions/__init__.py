"""The Lambda functions of the stream. Each file with a `handler` is one function; the others are their parts.

They carry boto3 (Lambda's own), AWS Lambda Powertools and `seed_code/ingestion/transactions.py`, nothing else. Every
function is idempotent: events and batches come more than once.

    deduplicate    transactions that were published on the bus → the Kinesis stream, each once
    write_minutes  minutes on their Kinesis stream → the feature group
"""
