"""The build pipelines: from data to a model package that waits for approval. One module a workload."""
