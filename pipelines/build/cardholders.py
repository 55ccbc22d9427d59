"""The build pipeline of cardholders, from transactions to a model package that waits for approval.

    Prepare ─┬─ TrainClusters ─┬─ Package ── Evaluate ── QualityGate ─┬─ AlreadyRegistered ── Register ── LinkMlflow
             └─ TrainPurchase ─┘                                      └─ QualityTooLow (Fail)

`definition` is a pure function of the configuration and the image's URI: it calls nothing, and gives the same bytes
every time. Every step runs the workload's own image, so that training and serving cannot drift apart. The programs are
`python3 -m seed_code.cardholders.<program>`; what they read and write is said in their own docstrings.

Caching: a step is not run again while its image, arguments, environment and inputs are the same. What differs between
executions (ARN, id) must therefore not reach a step before Register; outputs lie below the execution's id, which AWS
leaves out of the key. An execution that evaluated nothing new registers nothing: see `registered_once`.

Imports the SageMaker SDK: to be imported inside `pipelines.session.sdk_environment`, as `pipelines.definitions` does.
"""

from __future__ import annotations

from dataclasses import dataclass

from sagemaker.core.helper.pipeline_variable import PipelineVariable
from sagemaker.core.model_metrics import MetricsSource, ModelMetrics
from sagemaker.core.processing import Processor
from sagemaker.core.shapes import (
    OutputDataConfig,
    ProcessingInput,
    ProcessingOutput,
    ProcessingS3Input,
    ProcessingS3Output,
    StoppingCondition,
)
from sagemaker.core.workflow.conditions import (
    ConditionEquals,
    ConditionGreaterThanOrEqualTo,
    ConditionLessThanOrEqualTo,
)
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join, JsonGet
from sagemaker.core.workflow.parameters import Parameter, ParameterFloat, ParameterInteger, ParameterString
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.model_step import ModelStep
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.retry import (
    SageMakerJobExceptionTypeEnum,
    SageMakerJobStepRetryPolicy,
    StepExceptionTypeEnum,
    StepRetryPolicy,
)
from sagemaker.mlops.workflow.steps import CacheConfig, ProcessingStep, Step, TrainingStep
from sagemaker.serve.model_builder import ModelBuilder
from sagemaker.train.configs import Compute, InputData
from sagemaker.train.model_trainer import ModelTrainer

from pipelines import names as n
from pipelines.config import Configuration, Job, Retry, parameter_name
from pipelines.parameters import Value, defaults
from pipelines.session import offline_session

WORKLOAD = "cardholders"
KIND = "build"

# The hyperparameters of each part: fields of the workload's tunables, under the names that the program knows.
CLUSTERS_HYPERPARAMETERS = ("min_clusters", "max_clusters", "outlier_quantile", "silhouette_sample", "seed")
PURCHASE_HYPERPARAMETERS = (
    "max_iterations",
    "learning_rate",
    "max_leaf_nodes",
    "min_samples_leaf",
    "l2_regularization",
    "days_per_example",
    "max_examples",
    "mask_share",
    "seed",
)
# The figures of evaluation.json that a model package carries as customer metadata.
FIGURES = (
    "roc_auc",
    "pr_auc",
    "log_loss",
    "brier",
    "calibration_error",
    "silhouette",
    "davies_bouldin",
    "calinski_harabasz",
)


def definition(configuration: Configuration, image_uri: str) -> str:
    """The pipeline's definition as JSON text.

    image_uri: the image that every step runs and the model package serves with (`names.image_uri`).
    """
    return str(_Build(configuration, image_uri).pipeline().definition())


@dataclass(frozen=True)
class _Gate:
    """One condition of the quality gate: a figure of evaluation.json, beside the runtime value that limits it."""

    figure: str
    """Where the figure stands in evaluation.json."""
    tunable: str
    at_least: bool
    words: str


_GATES = (
    _Gate("metrics.roc_auc", "min_roc_auc", True, "ROC-AUC"),
    _Gate("metrics.calibration_error", "max_calibration_error", False, "calibration error"),
    _Gate("metrics.silhouette", "min_silhouette", True, "silhouette"),
    # 0 where there is no champion. The limit is a difference too, since a condition cannot negate a parameter.
    _Gate("champion_comparison.roc_auc_difference", "min_champion_difference", True, "ROC-AUC less the champion's"),
)


class _Build:
    """The steps, each a method, over what they share."""

    def __init__(self, configuration: Configuration, image_uri: str) -> None:
        self.configuration = configuration
        self.workload = configuration.workloads.cardholders
        self.names = configuration.names
        self.image_uri = image_uri
        self.session: PipelineSession = offline_session(self.names)
        self.inputs = {
            n.INPUT_DATA_URI: ParameterString(n.INPUT_DATA_URI, default_value=self.names.data_uri(WORKLOAD)),
            # No default: an execution without its time would take some clock's.
            n.EVALUATION_TIME: ParameterString(n.EVALUATION_TIME),
            n.GIT_COMMIT: ParameterString(n.GIT_COMMIT, default_value="unknown"),
            n.CHAMPION_MODEL_URI: ParameterString(n.CHAMPION_MODEL_URI, default_value=n.NO_CHAMPION),
            n.REGISTERED_RUN_ID: ParameterString(n.REGISTERED_RUN_ID, default_value=n.NO_RUN),
            n.MLFLOW_TRACKING_URI: ParameterString(n.MLFLOW_TRACKING_URI),
        }
        self.tunables = {name: _parameter(name, value) for name, value in defaults(self.workload.tunables).items()}
        self.evaluation = PropertyFile(name="Evaluation", output_name="evaluation", path="evaluation.json")

    def pipeline(self) -> Pipeline:
        prepare = self.prepare()
        clusters = self.train("TrainClusters", self.workload.steps.train_clusters, "clusters", prepare)
        purchase = self.train("TrainPurchase", self.workload.steps.train_purchase, "purchase", prepare)
        package = self.package(prepare, clusters, purchase)
        evaluate = self.evaluate(prepare, package)
        register = self.register(package, evaluate)
        gate = ConditionStep(
            name="QualityGate",
            display_name="Quality gate",
            conditions=[self._condition(gate) for gate in _GATES],
            if_steps=[self.registered_once(register)],
            else_steps=[self.quality_too_low()],
        )
        return Pipeline(
            name=self.names.pipeline(WORKLOAD, KIND),
            parameters=[*self.inputs.values(), *self.tunables.values()],
            # SageMaker Experiments, which the SDK asks for unless told otherwise: MLflow holds the runs here.
            pipeline_experiment_config=None,
            steps=[prepare, clusters, purchase, package, evaluate, gate],
            sagemaker_session=self.session,
        )

    # --- the steps ------------------------------------------------------------------------------------------------

    def prepare(self) -> ProcessingStep:
        data, windows = self.workload.data, self.workload.windows
        columns = [(role, header) for role, header in data.columns if header is not None]
        return self._processing(
            "Prepare",
            self.workload.steps.prepare,
            "prepare",
            inputs={"transactions": self.inputs[n.INPUT_DATA_URI]},
            outputs=("holders", "train", "validation", "holdout", "report"),
            arguments=[
                *(part for role, header in columns for part in ("--column", f"{role}={header}")),
                *(part for date_format in data.date_formats for part in ("--date-format", date_format)),
                *("--encoding", data.encoding),
                *("--delimiter", data.delimiter),
                *("--decimal", data.decimal),
                *("--keep-duplicates", "true" if data.keep_duplicates else "false"),
                *("--max-bad-share", str(data.max_bad_share)),
                *("--holder-salt", self.names.experiment(WORKLOAD)),
                *("--window-days", str(windows.behaviour_days)),
                *("--max-horizon", str(windows.max_horizon_days)),
                *("--step-days", str(windows.spacing_days)),
                *("--max-examples", str(windows.max_examples)),
                *("--evaluation-time", self.inputs[n.EVALUATION_TIME]),
            ],
        )

    def train(self, name: str, job: Job, part: str, prepare: ProcessingStep) -> TrainingStep:
        channels = {"clusters": ("holders",), "purchase": ("train", "validation")}[part]
        fields = {"clusters": CLUSTERS_HYPERPARAMETERS, "purchase": PURCHASE_HYPERPARAMETERS}[part]
        hyperparameters: dict[str, str | PipelineVariable] = {"part": part}
        # CreateTrainingJob takes texts only, so that a number's parameter is converted where the pipeline runs.
        hyperparameters |= {field: self.tunables[parameter_name(field)].to_string() for field in fields}
        if part == "purchase":
            hyperparameters["max_horizon_days"] = str(self.workload.windows.max_horizon_days)
        trainer = ModelTrainer(
            sagemaker_session=self.session,
            role=self.names.role_arn,
            training_image=self.image_uri,
            base_job_name=name,
            hyperparameters=hyperparameters,
            compute=Compute(
                instance_type=job.instance_type, instance_count=job.instance_count, volume_size_in_gb=job.volume_gb
            ),
            stopping_condition=StoppingCondition(max_runtime_in_seconds=job.max_runtime_seconds),
            output_data_config=OutputDataConfig(s3_output_path=self.names.models_uri(WORKLOAD)),
        )
        return TrainingStep(
            name=name,
            step_args=trainer.train(
                input_data_config=[
                    InputData(channel_name=channel, data_source=_output_uri(prepare, channel)) for channel in channels
                ]
            ),
            cache_config=self._cache(),
            retry_policies=_job_retries(self.workload.execution.retry),
        )

    def package(self, prepare: ProcessingStep, clusters: TrainingStep, purchase: TrainingStep) -> ProcessingStep:
        return self._processing(
            "Package",
            self.workload.steps.package,
            "package",
            inputs={
                "clusters": clusters.properties.ModelArtifacts.S3ModelArtifacts,
                "purchase": purchase.properties.ModelArtifacts.S3ModelArtifacts,
                "holdout": _output_uri(prepare, "holdout"),
            },
            outputs=("package",),
            arguments=["--decision-threshold", self._tunable("decision_threshold").to_string()],
        )

    def evaluate(self, prepare: ProcessingStep, package: ProcessingStep) -> ProcessingStep:
        return self._processing(
            "Evaluate",
            self.workload.steps.evaluate,
            "evaluate",
            inputs={
                "package": _output_uri(package, "package"),
                "holdout": _output_uri(prepare, "holdout"),
                "report": _output_uri(prepare, "report"),
            },
            outputs=("evaluation",),
            arguments=[
                *("--champion", self.inputs[n.CHAMPION_MODEL_URI]),
                *("--experiment", self.names.experiment(WORKLOAD)),
            ],
            property_files=[self.evaluation],
            mlflow=True,
        )

    def register(self, package: ProcessingStep, evaluate: ProcessingStep) -> ModelStep:
        evaluation_uri = Join(on="/", values=[_output_uri(evaluate, "evaluation"), "evaluation.json"])
        builder = ModelBuilder(
            image_uri=self.image_uri,
            s3_model_data_url=Join(on="/", values=[_output_uri(package, "package"), "model.tar.gz"]),
            role_arn=self.names.role_arn,
            sagemaker_session=self.session,
            instance_type=self.workload.serving.realtime_instance_types[0],
            # Otherwise the builder looks at what this process has imported, and writes it into the container's
            # environment.
            dependencies={},
            log_level=30,
        )
        metadata: dict[str, str | PipelineVariable] = {figure: self._text(f"metrics.{figure}") for figure in FIGURES}
        metadata |= {
            n.RUN_ID_KEY: self._text("mlflow.run_id"),
            "execution_arn": ExecutionVariables.PIPELINE_EXECUTION_ARN,
            "git_commit": self.inputs[n.GIT_COMMIT],
            "evaluation_time": self.inputs[n.EVALUATION_TIME],
            "input_data_uri": self.inputs[n.INPUT_DATA_URI],
            "champion_model_uri": self.inputs[n.CHAMPION_MODEL_URI],
            "evaluation_uri": evaluation_uri,
            "image": self.image_uri,
        }
        return ModelStep(
            name="Register",
            step_args=builder.register(
                model_package_group_name=self.names.package_group(WORKLOAD),
                content_types=["application/json"],
                response_types=["application/json"],
                inference_instances=list(self.workload.serving.realtime_instance_types),
                transform_instances=list(self.workload.serving.transform_instance_types),
                approval_status="PendingManualApproval",
                model_metrics=ModelMetrics(
                    model_statistics=MetricsSource(content_type="application/json", s3_uri=evaluation_uri)
                ),
                customer_metadata_properties=metadata,
            ),
            retry_policies=[_service_retry(self.workload.execution.retry)],
        )

    def registered_once(self, register: ModelStep) -> ConditionStep:
        """Register, unless the newest package is this very model: SageMaker never takes RegisterModel from the cache,
        and every unchanged execution would leave another package of the same model for somebody to judge.
        """
        return ConditionStep(
            name="AlreadyRegistered",
            display_name="Already registered",
            conditions=[
                ConditionEquals(left=self._figure("mlflow.run_id"), right=self.inputs[n.REGISTERED_RUN_ID]),
            ],
            if_steps=[],
            else_steps=[register, self.link_mlflow(register)],
        )

    def link_mlflow(self, register: ModelStep) -> ProcessingStep:
        return self._processing(
            "LinkMlflow",
            self.workload.steps.link_mlflow,
            "register",
            inputs={},
            outputs=(),
            arguments=[
                *("--model-package-arn", register.properties.ModelPackageArn),
                *("--run-id", self._text("mlflow.run_id")),
                *("--clusters-model", self.names.mlflow_model(WORKLOAD, "clusters")),
                *("--purchase-model", self.names.mlflow_model(WORKLOAD, "purchase")),
                *("--execution-arn", ExecutionVariables.PIPELINE_EXECUTION_ARN),
                *("--git-commit", self.inputs[n.GIT_COMMIT]),
            ],
            mlflow=True,
            cached=False,
        )

    def quality_too_low(self) -> FailStep:
        words: list[str | PipelineVariable] = [
            "The model is not registered; its figures on the holdout, and the limits: "
        ]
        for index, gate in enumerate(_GATES):
            bound = "at least" if gate.at_least else "at most"
            separator = "; " if index else ""
            words += [
                f"{separator}{gate.words} ",
                self._figure(gate.figure),
                f" ({bound} ",
                self._tunable(gate.tunable),
                ")",
            ]
        return FailStep(name="QualityTooLow", display_name="Quality too low", error_message=Join(on="", values=words))

    # --- their parts ----------------------------------------------------------------------------------------------

    def _processing(
        self,
        name: str,
        job: Job,
        program: str,
        *,
        inputs: dict[str, str | PipelineVariable],
        outputs: tuple[str, ...],
        arguments: list[str | PipelineVariable],
        property_files: list[PropertyFile] | None = None,
        mlflow: bool = False,
        cached: bool = True,
    ) -> ProcessingStep:
        processor = Processor(
            role=self.names.role_arn,
            image_uri=self.image_uri,
            entrypoint=["python3", "-m", f"seed_code.{WORKLOAD}.{program}"],
            instance_count=job.instance_count,
            instance_type=job.instance_type,
            volume_size_in_gb=job.volume_gb,
            max_runtime_in_seconds=job.max_runtime_seconds,
            env={"MLFLOW_TRACKING_URI": self.inputs[n.MLFLOW_TRACKING_URI]} if mlflow else None,
            sagemaker_session=self.session,
        )
        return ProcessingStep(
            name=name,
            step_args=processor.run(
                inputs=[_input(channel, uri) for channel, uri in inputs.items()],
                outputs=[self._output(name, output) for output in outputs],
                arguments=arguments,
            ),
            property_files=property_files,
            cache_config=self._cache() if cached else None,
            retry_policies=_job_retries(self.workload.execution.retry),
        )

    def _output(self, step: str, output: str) -> ProcessingOutput:
        root = self.names.outputs_uri(WORKLOAD, KIND)
        return ProcessingOutput(
            output_name=output,
            s3_output=ProcessingS3Output(
                local_path=f"/opt/ml/processing/output/{output}",
                s3_upload_mode="EndOfJob",
                s3_uri=Join(on="/", values=[root, ExecutionVariables.PIPELINE_EXECUTION_ID, step, output]),
            ),
        )

    def _cache(self) -> CacheConfig:
        return CacheConfig(enable_caching=True, expire_after=f"P{self.workload.execution.cache_days}D")

    def _tunable(self, field: str) -> Parameter:
        return self.tunables[parameter_name(field)]

    def _figure(self, path: str) -> JsonGet:
        return JsonGet(step_name="Evaluate", property_file=self.evaluation, json_path=path)

    def _text(self, path: str) -> Join:
        """A figure of evaluation.json where a text is wanted."""
        return Join(on="", values=[self._figure(path)])

    def _condition(self, gate: _Gate) -> ConditionGreaterThanOrEqualTo | ConditionLessThanOrEqualTo:
        condition = ConditionGreaterThanOrEqualTo if gate.at_least else ConditionLessThanOrEqualTo
        return condition(left=self._figure(gate.figure), right=self._tunable(gate.tunable))


def _parameter(name: str, value: Value) -> Parameter:
    kind = {int: ParameterInteger, float: ParameterFloat, str: ParameterString}[type(value)]
    return kind(name, default_value=value)


def _input(name: str, uri: str | PipelineVariable) -> ProcessingInput:
    return ProcessingInput(
        input_name=name,
        s3_input=ProcessingS3Input(
            s3_uri=uri, local_path=f"/opt/ml/processing/input/{name}", s3_data_type="S3Prefix", s3_input_mode="File"
        ),
    )


def _output_uri(step: Step, output: str) -> PipelineVariable:
    return step.properties.ProcessingOutputConfig.Outputs[output].S3Output.S3Uri


def _service_retry(retry: Retry) -> StepRetryPolicy:
    return StepRetryPolicy(
        exception_types=[StepExceptionTypeEnum.SERVICE_FAULT, StepExceptionTypeEnum.THROTTLING],
        interval_seconds=retry.interval_seconds,
        backoff_rate=retry.backoff_rate,
        max_attempts=retry.max_attempts,
    )


def _job_retries(retry: Retry) -> list[StepRetryPolicy | SageMakerJobStepRetryPolicy]:
    return [
        _service_retry(retry),
        SageMakerJobStepRetryPolicy(
            exception_types=[SageMakerJobExceptionTypeEnum.RESOURCE_LIMIT],
            failure_reason_types=[
                SageMakerJobExceptionTypeEnum.INTERNAL_ERROR,
                SageMakerJobExceptionTypeEnum.CAPACITY_ERROR,
            ],
            interval_seconds=retry.interval_seconds,
            backoff_rate=retry.backoff_rate,
            max_attempts=retry.max_attempts,
        ),
    ]
