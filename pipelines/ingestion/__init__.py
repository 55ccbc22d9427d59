"""The stream that feeds the forecaster: its settings, its stack, and how it is seen and repaired."""
