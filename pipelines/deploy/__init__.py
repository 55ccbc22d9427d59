"""The deploy pipelines: from an approved model package to a stage that serves it, or that serves what it did before."""
