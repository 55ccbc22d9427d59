"""The operator: makes minutes of the stream of transactions, where Apache Flink would be too much for it."""
