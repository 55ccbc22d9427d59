"""SageMaker: pipelines, jobs, models and the model registry, as AWS answers for them and really executed."""
