"""Amazon Data Firehose: from a Kinesis stream, or from what is put directly, to objects in S3."""
