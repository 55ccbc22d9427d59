"""What the pipelines of all kinds have in common: how a parameter, a job and its output are declared.

Every step runs the workload's own image, so that training, serving and judging cannot drift apart. The programs are
`python3 -m seed_code.<workload>.<program>`; what they read and write is said in their own docstrings.

Imports the SageMaker SDK: to be imported inside `pipelines.session.sdk_environment`, as `pipelines.definitions` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from sagemaker.core.helper.pipeline_variable import PipelineVariable
from sagemaker.core.processing import Processor
from sagemaker.core.shapes import ProcessingInput, ProcessingOutput, ProcessingS3Input, ProcessingS3Output
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join
from sagemaker.core.workflow.parameters import Parameter, ParameterFloat, ParameterInteger, ParameterString
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.retry import (
    SageMakerJobExceptionTypeEnum,
    SageMakerJobStepRetryPolicy,
    StepExceptionTypeEnum,
    StepRetryPolicy,
)
from sagemaker.mlops.workflow.step_collections import StepCollection
from sagemaker.mlops.workflow.steps import CacheConfig, ProcessingStep, Step

from pipelines import names as n
from pipelines.config import Configuration, Execution, Job, Retry, Serving, Tunables, parameter_name
from pipelines.parameters import Value, defaults
from pipelines.session import offline_session


class Workload(Protocol):
    """What every workload's configuration has."""

    @property
    def tunables(self) -> Tunables: ...

    @property
    def execution(self) -> Execution: ...

    @property
    def serving(self) -> Serving: ...


class Steps:
    """A workload's pipeline of one kind: the parts of its steps, over what they share."""

    def __init__(self, name: str, kind: str, workload: Workload, configuration: Configuration, image_uri: str) -> None:
        """name: the workload's. kind: the pipeline's. image_uri: the image that its steps run (`names.image_uri`)."""
        self.name = name
        self.kind = kind
        self.execution = workload.execution
        self.names = configuration.names
        self.image_uri = image_uri
        self.session: PipelineSession = offline_session(self.names)
        self.inputs: dict[str, ParameterString] = {}
        self.tunables = {tunable: _parameter(tunable, value) for tunable, value in defaults(workload.tunables).items()}
        self.used: set[str] = set()

    # --- parameters -----------------------------------------------------------------------------------------------

    def input(self, name: str, default: str | None = None, choices: Sequence[str] | None = None) -> ParameterString:
        """A parameter that the starter passes to every execution. Without a default an execution must have it.

        choices: its only values; any text when None.
        """
        if name not in self.inputs:
            values = None if choices is None else list(choices)
            self.inputs[name] = ParameterString(name, default_value=default, enum_values=values)
        return self.inputs[name]

    def tunable(self, field: str) -> Parameter:
        """The parameter of a runtime value. The pipeline declares those that are asked for."""
        name = parameter_name(field)
        self.used.add(name)
        return self.tunables[name]

    # --- steps ----------------------------------------------------------------------------------------------------

    def pipeline(self, steps: Sequence[Step | StepCollection]) -> Pipeline:
        return Pipeline(
            name=self.names.pipeline(self.name, self.kind),
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

    # --- their parts ----------------------------------------------------------------------------------------------

    def output_folder(self, step: str, output: str) -> Join:
        """Where a step of this execution writes."""
        root = self.names.outputs_uri(self.name, self.kind)
        return Join(on="/", values=[root, ExecutionVariables.PIPELINE_EXECUTION_ID, step, output])

    def cache(self) -> CacheConfig:
        return CacheConfig(enable_caching=True, expire_after=f"P{self.execution.cache_days}D")

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
