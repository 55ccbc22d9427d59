"""The Flink job: makes minutes of the stream of transactions, on Managed Service for Apache Flink or on a laptop."""
