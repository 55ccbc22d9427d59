"""What the build pipelines have in common: how a job, its output, a gate and a registration are declared.

Every step runs the workload's own image, so that training and serving cannot drift apart. The programs are
`python3 -m seed_code.<workload>.<program>`; what they read and write is said in their own docstrings.

Caching: a step is not run again while its image, arguments, environment and inputs are the same. What differs between
executions (ARN, id) must therefore not reach a step before Register; outputs lie below the execution's id, which AWS
leaves out of the key.

Imports the SageMaker SDK: to be imported inside `pipelines.session.sdk_environment`, as `pipelines.definitions` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sagemaker.core.helper.pipeline_variable import PipelineVariable
from sagemaker.core.model_metrics import MetricsSource, ModelMetrics
from sagemaker.core.processing import Processor
from sagemaker.core.shapes import (
    MetricDefinition,
    OutputDataConfig,
    ProcessingInput,
    ProcessingOutput,
    ProcessingS3Input,
    ProcessingS3Output,
    StoppingCondition,
)
from sagemaker.core.workflow.conditions import ConditionGreaterThanOrEqualTo, ConditionLessThanOrEqualTo
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join, JsonGet
from sagemaker.core.workflow.parameters import Parameter, ParameterFloat, ParameterInteger, ParameterString
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.model_step import ModelStep
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.retry import (
    SageMakerJobExceptionTypeEnum,
    SageMakerJobStepRetryPolicy,
    StepExceptionTypeEnum,
    StepRetryPolicy,
)
from sagemaker.mlops.workflow.step_collections import StepCollection
from sagemaker.mlops.workflow.steps import CacheConfig, ProcessingStep, Step, TrainingStep
from sagemaker.serve.model_builder import ModelBuilder
from sagemaker.train.configs import Compute, InputData
from sagemaker.train.model_trainer import ModelTrainer

from pipelines import names as n
from pipelines.config import Configuration, Execution, Job, Retry, Serving, Tunables, parameter_name
from pipelines.parameters import Value, defaults
from pipelines.session import offline_session

KIND = "build"


class Workload(Protocol):
    """What every workload's configuration has."""

    @property
    def tunables(self) -> Tunables: ...

    @property
    def execution(self) -> Execution: ...

    @property
    def serving(self) -> Serving: ...


@dataclass(frozen=True)
class Gate:
    """One condition of the quality gate: a figure of evaluation.json, beside the runtime value that limits it."""

    figure: str
    """Where the figure stands in evaluation.json."""
    tunable: str
    at_least: bool
    words: str


class Build:
    """A workload's build pipeline: the parts of its steps, over what they share."""

    def __init__(self, name: str, workload: Workload, configuration: Configuration, image_uri: str) -> None:
        """name: the workload's. image_uri: the image that its steps run (`names.image_uri`)."""
        self.name = name
        self.execution = workload.execution
        self.serving = workload.serving
        self.names = configuration.names
        self.image_uri = image_uri
        self.session: PipelineSession = offline_session(self.names)
        self.inputs: dict[str, ParameterString] = {}
        self.tunables = {tunable: _parameter(tunable, value) for tunable, value in defaults(workload.tunables).items()}
        self.used: set[str] = set()
        self.evaluation = PropertyFile(name="Evaluation", output_name="evaluation", path="evaluation.json")

    # --- parameters -----------------------------------------------------------------------------------------------

    def input(self, name: str, default: str | None = None) -> ParameterString:
        """A parameter that the starter passes to every execution. Without a default an execution must have it."""
        if name not in self.inputs:
            self.inputs[name] = ParameterString(name, default_value=default)
        return self.inputs[name]

    def tunable(self, field: str) -> Parameter:
        """The parameter of a runtime value. The pipeline declares those that are asked for."""
        name = parameter_name(field)
        self.used.add(name)
        return self.tunables[name]

    # --- steps ----------------------------------------------------------------------------------------------------

    def pipeline(self, steps: Sequence[Step | StepCollection]) -> Pipeline:
        return Pipeline(
            name=self.names.pipeline(self.name, KIND),
            parameters=[
                *self.inputs.values(),
                *(parameter for name, parameter in self.tunables.items() if name in self.used),
            ],
            # SageMaker Experiments, which the SDK asks for unless told otherwise: MLflow holds the runs here.
            pipeline_experiment_config=None,
            steps=list(steps),
            sagemaker_session=self.session,
        )

    def processing(
        self,
        name: str,
        job: Job,
        program: str,
        *,
        inputs: Mapping[str, str | PipelineVariable],
        outputs: Sequence[str],
        arguments: Sequence[str | PipelineVariable],
        property_files: list[PropertyFile] | None = None,
        mlflow: bool = False,
        cached: bool = True,
    ) -> ProcessingStep:
        """A processing job of one of the image's programs.

        inputs: location of each input, by the name of its folder below /opt/ml/processing/input. outputs: likewise
        below /opt/ml/processing/output. mlflow: whether the program logs to MLflow.
        """
        processor = Processor(
            role=self.names.role_arn,
            image_uri=self.image_uri,
            entrypoint=["python3", "-m", f"seed_code.{self.name}.{program}"],
            instance_count=job.instance_count,
            instance_type=job.instance_type,
            volume_size_in_gb=job.volume_gb,
            max_runtime_in_seconds=job.max_runtime_seconds,
            env={n.MLFLOW_TRACKING_URI_VARIABLE: self.input(n.MLFLOW_TRACKING_URI)} if mlflow else None,
            sagemaker_session=self.session,
        )
        return ProcessingStep(
            name=name,
            step_args=processor.run(
                inputs=[_input(channel, uri) for channel, uri in inputs.items()],
                outputs=[self._output(name, output) for output in outputs],
                arguments=list(arguments),
            ),
            property_files=property_files,
            cache_config=self.cache() if cached else None,
            retry_policies=self.job_retries(),
        )

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

    def output_folder(self, step: str, output: str) -> Join:
        """Where a step of this execution writes."""
        root = self.names.outputs_uri(self.name, KIND)
        return Join(on="/", values=[root, ExecutionVariables.PIPELINE_EXECUTION_ID, step, output])

    def cache(self) -> CacheConfig:
        return CacheConfig(enable_caching=True, expire_after=f"P{self.execution.cache_days}D")

    def figure(self, path: str) -> JsonGet:
        """A figure of evaluation.json."""
        return JsonGet(step_name="Evaluate", property_file=self.evaluation, json_path=path)

    def figure_text(self, path: str) -> Join:
        """A figure of evaluation.json where a text is wanted."""
        return Join(on="", values=[self.figure(path)])

    def condition(self, gate: Gate) -> ConditionGreaterThanOrEqualTo | ConditionLessThanOrEqualTo:
        condition = ConditionGreaterThanOrEqualTo if gate.at_least else ConditionLessThanOrEqualTo
        return condition(left=self.figure(gate.figure), right=self.tunable(gate.tunable))

    def job_retries(self) -> list[StepRetryPolicy | SageMakerJobStepRetryPolicy]:
        """Retries of a job's step: faults of the service and lack of capacity, not a program that fails."""
        retry = self.execution.retry
        return [
            self.service_retry(),
            SageMakerJobStepRetryPolicy(
                exception_types=[SageMakerJobExceptionTypeEnum.RESOURCE_LIMIT],
                failure_reason_types=[
                    SageMakerJobExceptionTypeEnum.INTERNAL_ERROR,
                    SageMakerJobExceptionTypeEnum.CAPACITY_ERROR,
                ],
                **_waits(retry),
            ),
        ]

    def service_retry(self) -> StepRetryPolicy:
        """Retries of a step that runs no job."""
        return StepRetryPolicy(
            exception_types=[StepExceptionTypeEnum.SERVICE_FAULT, StepExceptionTypeEnum.THROTTLING],
            **_waits(self.execution.retry),
        )

    def _output(self, step: str, output: str) -> ProcessingOutput:
        return ProcessingOutput(
            output_name=output,
            s3_output=ProcessingS3Output(
                local_path=f"/opt/ml/processing/output/{output}",
                s3_upload_mode="EndOfJob",
                s3_uri=self.output_folder(step, output),
            ),
        )


def output_uri(step: Step, output: str) -> PipelineVariable:
    """Where a processing step's output lies: in its own execution's folder, or in that which the cache leads to."""
    return step.properties.ProcessingOutputConfig.Outputs[output].S3Output.S3Uri


def _input(name: str, uri: str | PipelineVariable) -> ProcessingInput:
    return ProcessingInput(
        input_name=name,
        s3_input=ProcessingS3Input(
            s3_uri=uri, local_path=f"/opt/ml/processing/input/{name}", s3_data_type="S3Prefix", s3_input_mode="File"
        ),
    )


def _parameter(name: str, value: Value) -> Parameter:
    kind = {int: ParameterInteger, float: ParameterFloat, str: ParameterString}[type(value)]
    return kind(name, default_value=value)


def _waits(retry: Retry) -> dict[str, float]:
    return {
        "interval_seconds": retry.interval_seconds,
        "backoff_rate": retry.backoff_rate,
        "max_attempts": retry.max_attempts,
    }
