"""The code that MLflow keeps with the two models, one file a model, and what both sides call them."""

MODELS = ("clusters", "purchase")
PACKAGE = "package"  # the artifact that each model carries: the extracted model package
