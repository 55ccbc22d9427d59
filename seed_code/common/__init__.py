"""What every image carries."""
