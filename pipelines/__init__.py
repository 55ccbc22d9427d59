"""What SageMaker runs, declared: configuration, names, definitions, and the command line. No ML code."""
