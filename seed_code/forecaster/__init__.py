"""The forecaster workload: DeepAR, behind the contract of SageMaker's built-in image of that name."""
