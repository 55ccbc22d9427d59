"""The code that MLflow keeps with the model, and what both sides call it."""

FORECAST = "forecast"
MODEL = "model"  # the artifact that it carries: the extracted model.tar.gz
