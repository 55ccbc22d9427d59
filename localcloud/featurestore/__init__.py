"""The feature store: an online store that keeps each record's latest version, an offline store that keeps them all."""
