"""The workloads that a new project starts with, and is expected to rewrite."""
