"""Athena over the feature store's tables: queries in its dialect, run by DuckDB over Parquet files."""
