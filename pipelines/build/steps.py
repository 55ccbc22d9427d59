"""What the build pipelines have in common beyond `pipelines.steps`: how a training, a gate and a registration are
declared.

Caching: a step is not run again while its image, arguments, environment and inputs are the same. What differs between
executions (ARN, id) must therefore not reach a step before Register; outputs lie below the execution's id, which AWS
leaves out of the key.

Imports the SageMaker SDK: to be imported inside `pipelines.session.sdk_environment`, as `pipelines.definitions` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sagemaker.core.helper.pipeline_variable import PipelineVariable
from sagemaker.core.model_metrics import MetricsSource, ModelMetrics
from sagemaker.core.shapes import MetricDefinition, OutputDataConfig, StoppingCondition
from sagemaker.core.workflow.conditions import ConditionGreaterThanOrEqualTo, ConditionLessThanOrEqualTo
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join, JsonGet
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.model_step import ModelStep
from sagemaker.mlops.workflow.steps import ProcessingStep, TrainingStep
from sagemaker.serve.model_builder import ModelBuilder
from sagemaker.train.configs import Compute, InputData
from sagemaker.train.model_trainer import ModelTrainer

from pipelines import names as n
from pipelines.config import Configuration, Job
from pipelines.steps import Steps, Workload, output_uri

KIND = "build"


@dataclass(frozen=True)
class Gate:
    """One condition of the quality gate: a figure of evaluation.json, beside the runtime value that limits it."""

    figure: str
    """Where the figure stands in evaluation.json."""
    tunable: str
    at_least: bool
    words: str


class Build(Steps):
    """A workload's build pipeline."""

    def __init__(self, name: str, workload: Workload, configuration: Configuration, image_uri: str) -> None:
        """name: the workload's. image_uri: the image that its steps run (`names.image_uri`)."""
        super().__init__(name, KIND, workload, configuration, image_uri)
        self.serving = workload.serving
        self.evaluation = PropertyFile(name="Evaluation", output_name="evaluation", path="evaluation.json")

    def training(
        self,
        name: str,
        job: Job,
        *,
        image_uri: str,
        hyperparameters: Mapping[str, str | PipelineVariable],
        channels: Mapping[str, str | PipelineVariable],
        metrics: Mapping[str, str] | None = None,
    ) -> TrainingStep:
        """A training job. channels: location of each, by its name. metrics: regular expressions over its log."""
        trainer = ModelTrainer(
            sagemaker_session=self.session,
            role=self.names.role_arn,
            training_image=image_uri,
            base_job_name=name,
            hyperparameters=dict(hyperparameters),
            compute=Compute(
                instance_type=job.instance_type, instance_count=job.instance_count, volume_size_in_gb=job.volume_gb
            ),
            stopping_condition=StoppingCondition(max_runtime_in_seconds=job.max_runtime_seconds),
            output_data_config=OutputDataConfig(s3_output_path=self.names.models_uri(self.name)),
        )
        if metrics:
            trainer.with_metric_definitions([MetricDefinition(name=key, regex=regex) for key, regex in metrics.items()])
        return TrainingStep(
            name=name,
            step_args=trainer.train(
                input_data_config=[InputData(channel_name=key, data_source=uri) for key, uri in channels.items()]
            ),
            cache_config=self.cache(),
            retry_policies=self.job_retries(),
        )

    def register(
        self,
        model_uri: str | PipelineVariable,
        evaluate: ProcessingStep,
        *,
        image_uri: str,
        content_types: Sequence[str],
        metadata: Mapping[str, str | PipelineVariable],
    ) -> ModelStep:
        """The model package that waits for approval. metadata: customer metadata beside what every package has."""
        evaluation_uri, golden_uri = (
            Join(on="/", values=[output_uri(evaluate, "evaluation"), file])
            for file in ("evaluation.json", "golden.jsonl")
        )
        return ModelStep(
            name="Register",
            step_args=ModelBuilder(
                image_uri=image_uri,
                s3_model_data_url=model_uri,
                role_arn=self.names.role_arn,
                sagemaker_session=self.session,
                instance_type=self.serving.realtime_instance_types[0],
                # Otherwise the builder looks at what this process has imported, and writes it into the container's
                # environment.
                dependencies={},
                log_level=30,
            ).register(
                model_package_group_name=self.names.package_group(self.name),
                content_types=list(content_types),
                response_types=list(content_types),
                inference_instances=list(self.serving.realtime_instance_types),
                transform_instances=list(self.serving.transform_instance_types),
                approval_status="PendingManualApproval",
                model_metrics=ModelMetrics(
                    model_statistics=MetricsSource(content_type="application/json", s3_uri=evaluation_uri)
                ),
                customer_metadata_properties={
                    **metadata,
                    n.RUN_ID_KEY: self.figure_text("mlflow.run_id"),
                    "execution_arn": ExecutionVariables.PIPELINE_EXECUTION_ARN,
                    "git_commit": self.input(n.GIT_COMMIT),
                    "evaluation_time": self.input(n.EVALUATION_TIME),
                    "champion_model_uri": self.input(n.CHAMPION_MODEL_URI),
                    "evaluation_uri": evaluation_uri,
                    n.GOLDEN_REQUESTS_KEY: golden_uri,
                    "image": image_uri,
                },
            ),
            retry_policies=[self.service_retry()],
        )

    def link_mlflow(self, job: Job, register: ModelStep, parts: Sequence[str]) -> ProcessingStep:
        """Makes the MLflow versions of the registered package's models.

        It comes after Register, so that MLflow's registry holds what passed the gate, and is never taken from the
        cache: what it leaves is about this execution's package.
        """
        models = [(f"--{part}-model", self.names.mlflow_model(self.name, part)) for part in parts]
        return self.processing(
            "LinkMlflow",
            job,
            "register",
            inputs={},
            outputs=(),
            arguments=[
                *("--model-package-arn", register.properties.ModelPackageArn),
                *("--run-id", self.figure_text("mlflow.run_id")),
                *(argument for pair in models for argument in pair),
                *("--execution-arn", ExecutionVariables.PIPELINE_EXECUTION_ARN),
                *("--git-commit", self.input(n.GIT_COMMIT)),
            ],
            mlflow=True,
            cached=False,
        )

    def quality_too_low(self, gates: Sequence[Gate], where: str) -> FailStep:
        """Ends the execution as failed, with every figure beside its limit. where: what they were measured on."""
        words: list[str | PipelineVariable] = [f"The model is not registered; its figures on {where}, and the limits: "]
        for index, gate in enumerate(gates):
            bound = "at least" if gate.at_least else "at most"
            separator = "; " if index else ""
            words += [
                f"{separator}{gate.words} ",
                self.figure(gate.figure),
                f" ({bound} ",
                self.tunable(gate.tunable),
                ")",
            ]
        words.append(f". `mlops params set {self.name} NAME VALUE` sets a limit")
        return FailStep(name="QualityTooLow", display_name="Quality too low", error_message=Join(on="", values=words))

    # --- their parts ----------------------------------------------------------------------------------------------

    def figure(self, path: str) -> JsonGet:
        """A figure of evaluation.json."""
        return JsonGet(step_name="Evaluate", property_file=self.evaluation, json_path=path)

    def figure_text(self, path: str) -> Join:
        """A figure of evaluation.json where a text is wanted."""
        return Join(on="", values=[self.figure(path)])

    def condition(self, gate: Gate) -> ConditionGreaterThanOrEqualTo | ConditionLessThanOrEqualTo:
        condition = ConditionGreaterThanOrEqualTo if gate.at_least else ConditionLessThanOrEqualTo
        return condition(left=self.figure(gate.figure), right=self.tunable(gate.tunable))
