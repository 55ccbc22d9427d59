"""The build pipeline of the forecaster, from the feature store to a model package that waits for approval.

    Prepare ── Train ── AlreadyRegistered ── CreateModel ── Transform ── Evaluate ── QualityGate
    QualityGate ─┬─ Register ── LinkMlflow
                 └─ QualityTooLow (Fail)

`definition` is a pure function of the configuration and the image's URI: it calls nothing, and gives the same bytes
every time. What its steps share with other workloads' is in `pipelines.build.steps`.

Train and the model that comes of it keep the contract of SageMaker's DeepAR, whether they run the workload's own image
or the built-in one (`network.image`); all else runs the workload's own.

What Prepare reads is a store that goes on changing, which no cache key would show: the starter passes the moment of the
newest record (`SnapshotTime`), and Prepare reads nothing that came later. So an execution can be repeated, and the
cache holds exactly while nothing was written. From CreateModel on nothing is ever taken from the cache (SageMaker gives
every model a name of its own), hence the condition before it: see `judged_once`.

Imports the SageMaker SDK: to be imported inside `pipelines.session.sdk_environment`, as `pipelines.definitions` does.
"""

from __future__ import annotations

import json

from sagemaker.core import image_uris
from sagemaker.core.helper.pipeline_variable import PipelineVariable
from sagemaker.core.transformer import Transformer
from sagemaker.core.workflow.conditions import ConditionEquals
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.model_step import ModelStep
from sagemaker.mlops.workflow.steps import ProcessingStep, TrainingStep, TransformStep
from sagemaker.serve.model_builder import ModelBuilder

from pipelines import names as n
from pipelines.build.steps import Build, Gate
from pipelines.config import Configuration
from pipelines.session import offline_session
from pipelines.steps import output_uri

WORKLOAD = "forecaster"
JSON_LINES = "application/jsonlines"
# Megabytes of requests that Transform puts into one. The server forecasts a batch faster than its parts, and has a
# minute for it.
REQUEST_MB = 1

# Fields of the workload's tunables that are hyperparameters of DeepAR, under the same names.
HYPERPARAMETERS = (
    "context_length",
    "prediction_length",
    "epochs",
    "early_stopping_patience",
    "mini_batch_size",
    "learning_rate",
    "dropout_rate",
    "embedding_dimension",
    "num_cells",
    "num_layers",
)
# What SageMaker reads from a training job's log, in the built-in's terms; the built-in brings its own.
METRICS = {
    "train:final_loss": r"#quality_metric: host=\S+, train final_loss <loss>=(\S+)",
    "train:loss": r"#quality_metric: host=\S+, epoch=\S+, train loss <loss>=(\S+)",
    "train:loss:batch": r"#quality_metric: host=\S+, epoch=\S+, batch=\S+ train loss <loss>=(\S+)",
    "train:progress": r"#progress_metric: host=\S+, completed (\S+) %",
    "train:throughput": r"#throughput_metric: host=\S+, train throughput=(\S+) records/second",
    "test:RMSE": r"#quality_metric: host=\S+, test RMSE <loss>=(\S+)",
    "test:mean_wQuantileLoss": r"#quality_metric: host=\S+, test mean_wQuantileLoss <loss>=(\S+)",
}
# The figures that a model package carries as customer metadata: name there, place in evaluation.json.
FIGURES = {
    "mean_wql": "metrics.mean_wql",
    "wql_lower": "interval.lower",
    "wql_upper": "interval.upper",
    "wql_hour_upper": "hour.upper",
    "coverage": "metrics.coverage",
    "rmse": "metrics.rmse",
    "seasonal_naive_wql": "baselines.seasonal_naive.mean_wql",
}
_GATES = (
    Gate("metrics.mean_wql", "max_wql", False, "mean weighted quantile loss"),
    # On the same windows, the newest that there are; 0 where there is no champion.
    Gate("champion_comparison.mean_wql_difference", "max_champion_difference", False, "the same less the champion's"),
)


def definition(configuration: Configuration, image_uri: str) -> str:
    """The pipeline's definition as JSON text.

    image_uri: the workload's own image (`names.image_uri`).
    """
    return _Forecaster(configuration, image_uri).definition()


class _Forecaster:
    """The steps, each a method."""

    def __init__(self, configuration: Configuration, image_uri: str) -> None:
        self.workload = configuration.workloads.forecaster
        self.names = configuration.names
        self.build = Build(WORKLOAD, self.workload, configuration, image_uri)
        self.deepar_uri = (
            image_uri
            if self.workload.network.image == "own"
            else str(image_uris.retrieve("forecasting-deepar", self.names.region))
        )
        # No default: an execution without its times would take some clock's.
        self.build.input(n.EVALUATION_TIME)
        self.build.input(n.SNAPSHOT_TIME)
        self.build.input(n.GIT_COMMIT, "unknown")
        self.build.input(n.CHAMPION_MODEL_URI, n.NO_CHAMPION)
        self.build.input(n.REGISTERED_MODEL_URI, n.NO_MODEL)
        self.build.input(n.MLFLOW_TRACKING_URI)

    def definition(self) -> str:
        prepare = self.prepare()
        train = self.train(prepare)
        create_model = self.create_model(train)
        transform = self.transform(prepare, create_model)
        evaluate = self.evaluate(prepare, train, transform)
        register = self.register(train, evaluate)
        gate = ConditionStep(
            name="QualityGate",
            display_name="Quality gate",
            conditions=[self.build.condition(gate) for gate in _GATES],
            if_steps=[register, self.build.link_mlflow(self.workload.steps.link_mlflow, register, ("forecast",))],
            else_steps=[self.build.quality_too_low(_GATES, "the test windows")],
        )
        judged = self.judged_once(train, [create_model, transform, evaluate, gate])
        return str(self.build.pipeline([prepare, train, judged]).definition())

    def prepare(self) -> ProcessingStep:
        data, windows = self.workload.data, self.workload.windows
        return self.build.processing(
            "Prepare",
            self.workload.steps.prepare,
            "prepare",
            inputs={},
            outputs=("train", "test", "requests", "windows", "report"),
            arguments=[
                *("--feature-group", self.names.feature_group(*n.MINUTES)),
                *("--target", data.target),
                *("--frequency", data.frequency),
                *("--context-length", self.build.tunable("context_length").to_string()),
                *("--prediction-length", self.build.tunable("prediction_length").to_string()),
                *("--seasonal-lags", self.workload.network.seasonal_lags),
                *("--history-days", str(data.history_days)),
                *("--test-windows", str(windows.test_windows)),
                *("--window-spacing", str(windows.spacing)),
                *("--evaluation-time", self.build.input(n.EVALUATION_TIME)),
                *("--snapshot-time", self.build.input(n.SNAPSHOT_TIME)),
                *("--query-output", self.names.queries_uri),
            ],
        )

    def train(self, prepare: ProcessingStep) -> TrainingStep:
        network, forecast = self.workload.network, self.workload.forecast
        # CreateTrainingJob takes texts only, so that a number's parameter is converted where the pipeline runs.
        hyperparameters: dict[str, str | PipelineVariable] = {
            "time_freq": self.workload.data.frequency,
            **{field: self.build.tunable(field).to_string() for field in HYPERPARAMETERS},
            "likelihood": network.likelihood,
            "num_eval_samples": str(forecast.num_samples),
            "test_quantiles": f"[{', '.join(forecast.quantiles)}]",
        }
        if network.seasonal_lags != "none":
            hyperparameters["seasonal_lags"] = network.seasonal_lags
        return self.build.training(
            "Train",
            self.workload.steps.train,
            image_uri=self.deepar_uri,
            hyperparameters=hyperparameters,
            channels={channel: output_uri(prepare, channel) for channel in ("train", "test")},
            metrics=METRICS if network.image == "own" else None,
        )

    def judged_once(
        self, train: TrainingStep, steps: list[ModelStep | TransformStep | ProcessingStep]
    ) -> ConditionStep:
        """Judge the model and register it, unless the newest package is this very model: nothing would be found that
        is not known, and every unchanged execution would leave another package for somebody to judge.
        """
        return ConditionStep(
            name=n.ALREADY_REGISTERED,
            display_name="Already registered",
            conditions=[
                ConditionEquals(
                    left=train.properties.ModelArtifacts.S3ModelArtifacts,
                    right=self.build.input(n.REGISTERED_MODEL_URI),
                )
            ],
            if_steps=[],
            else_steps=steps,
        )

    def create_model(self, train: TrainingStep) -> ModelStep:
        # `ModelBuilder.build` would look at this process and at the hour; the session's own call takes what is said
        # here. A session of its own, since one keeps the arguments of one model step.
        session = offline_session(self.names)
        session.init_model_step_arguments(
            ModelBuilder(
                image_uri=self.deepar_uri, role_arn=self.names.role_arn, sagemaker_session=session, log_level=30
            )
        )
        session.create_model(
            name=f"{self.names.project}-{WORKLOAD}",
            role=self.names.role_arn,
            container_defs={
                "Image": self.deepar_uri,
                "ModelDataUrl": train.properties.ModelArtifacts.S3ModelArtifacts,
            },
        )
        return ModelStep(name="CreateModel", step_args=session.context, retry_policies=[self.build.service_retry()])

    def transform(self, prepare: ProcessingStep, create_model: ModelStep) -> TransformStep:
        job, forecast = self.workload.steps.transform, self.workload.forecast
        answer = {
            "num_samples": forecast.num_samples,
            "output_types": ["mean", "quantiles"],
            "quantiles": list(forecast.quantiles),
        }
        transformer = Transformer(
            model_name=create_model.properties.ModelName,
            instance_type=job.instance_type,
            instance_count=job.instance_count,
            strategy="MultiRecord",
            max_payload=REQUEST_MB,
            accept=JSON_LINES,
            assemble_with="Line",
            output_path=self.build.output_folder("Transform", "forecasts"),
            env={"DEEPAR_INFERENCE_CONFIG": json.dumps(answer)},
            base_transform_job_name="Transform",
            sagemaker_session=self.build.session,
        )
        return TransformStep(
            name="Transform",
            step_args=transformer.transform(
                data=output_uri(prepare, "requests"), content_type=JSON_LINES, split_type="Line"
            ),
            retry_policies=self.build.job_retries(),
        )

    def evaluate(self, prepare: ProcessingStep, train: TrainingStep, transform: TransformStep) -> ProcessingStep:
        return self.build.processing(
            "Evaluate",
            self.workload.steps.evaluate,
            "evaluate",
            inputs={
                "forecasts": transform.properties.TransformOutput.S3OutputPath,
                "windows": output_uri(prepare, "windows"),
                "report": output_uri(prepare, "report"),
                "model": train.properties.ModelArtifacts.S3ModelArtifacts,
            },
            outputs=("evaluation",),
            arguments=[
                *("--confidence", str(self.workload.forecast.confidence)),
                *("--num-samples", str(self.workload.forecast.num_samples)),
                *("--champion", self.build.input(n.CHAMPION_MODEL_URI)),
                *("--experiment", self.names.experiment(WORKLOAD)),
            ],
            property_files=[self.build.evaluation],
            mlflow=True,
            cached=False,
        )

    def register(self, train: TrainingStep, evaluate: ProcessingStep) -> ModelStep:
        return self.build.register(
            train.properties.ModelArtifacts.S3ModelArtifacts,
            evaluate,
            image_uri=self.deepar_uri,
            content_types=["application/json", JSON_LINES],
            metadata={
                **{name: self.build.figure_text(place) for name, place in FIGURES.items()},
                "snapshot_time": self.build.input(n.SNAPSHOT_TIME),
            },
        )
