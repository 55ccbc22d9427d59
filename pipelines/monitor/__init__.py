"""The monitor pipelines, and the Lambda functions that start them and that retrain."""
