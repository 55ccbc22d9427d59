"""Managed Service for Apache Flink: an application's job is run by a Flink on this machine."""
