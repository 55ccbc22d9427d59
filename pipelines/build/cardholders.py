"""The build pipeline of cardholders, from transactions to a model package that waits for approval.

    Prepare ─┬─ TrainClusters ─┬─ Package ── Evaluate ── QualityGate ─┬─ AlreadyRegistered ── Register ── LinkMlflow
             └─ TrainPurchase ─┘                                      └─ QualityTooLow (Fail)

`definition` is a pure function of the configuration and the image's URI: it calls nothing, and gives the same bytes
every time. What its steps share with other workloads' is in `pipelines.build.steps`. An execution that evaluated
nothing new registers nothing: see `registered_once`.

Imports the SageMaker SDK: to be imported inside `pipelines.session.sdk_environment`, as `pipelines.definitions` does.
"""

from __future__ import annotations

from sagemaker.core.helper.pipeline_variable import PipelineVariable
from sagemaker.core.workflow.conditions import ConditionEquals
from sagemaker.core.workflow.functions import Join
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.model_step import ModelStep
from sagemaker.mlops.workflow.steps import ProcessingStep, TrainingStep

from pipelines import names as n
from pipelines.build.steps import Build, Gate
from pipelines.config import Configuration, Job
from pipelines.steps import output_uri

WORKLOAD = "cardholders"

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
# The figures of evaluation.json that a model package carries as customer metadata, and where they stand there.
FIGURES = {
    "roc_auc": "metrics.roc_auc",
    "pr_auc": "metrics.pr_auc",
    "log_loss": "metrics.log_loss",
    "brier": "metrics.brier",
    "brier_upper": "brier_bound.upper",
    "calibration_error": "metrics.calibration_error",
    "silhouette": "metrics.silhouette",
    "davies_bouldin": "metrics.davies_bouldin",
    "calinski_harabasz": "metrics.calinski_harabasz",
}


_GATES = (
    Gate("metrics.roc_auc", "min_roc_auc", True, "ROC-AUC"),
    Gate("metrics.calibration_error", "max_calibration_error", False, "calibration error"),
    Gate("metrics.silhouette", "min_silhouette", True, "silhouette"),
    # 0 where there is no champion. The limit is a difference too, since a condition cannot negate a parameter.
    Gate("champion_comparison.roc_auc_difference", "min_champion_difference", True, "ROC-AUC less the champion's"),
)


def definition(configuration: Configuration, image_uri: str) -> str:
    """The pipeline's definition as JSON text.

    image_uri: the image that every step runs and the model package serves with (`names.image_uri`).
    """
    return _Cardholders(configuration, image_uri).definition()


class _Cardholders:
    """The steps, each a method."""

    def __init__(self, configuration: Configuration, image_uri: str) -> None:
        self.workload = configuration.workloads.cardholders
        self.build = Build(WORKLOAD, self.workload, configuration, image_uri)
        names = configuration.names
        self.names = names
        self.build.input(n.INPUT_DATA_URI, names.data_uri(WORKLOAD))
        # No default: an execution without its time would take some clock's.
        self.build.input(n.EVALUATION_TIME)
        self.build.input(n.GIT_COMMIT, "unknown")
        self.build.input(n.CHAMPION_MODEL_URI, n.NO_CHAMPION)
        self.build.input(n.REGISTERED_RUN_ID, n.NO_RUN)
        self.build.input(n.MLFLOW_TRACKING_URI)

    def definition(self) -> str:
        prepare = self.prepare()
        clusters = self.train("TrainClusters", self.workload.steps.train_clusters, "clusters", prepare)
        purchase = self.train("TrainPurchase", self.workload.steps.train_purchase, "purchase", prepare)
        package = self.package(prepare, clusters, purchase)
        evaluate = self.evaluate(prepare, package)
        register = self.register(package, evaluate)
        gate = ConditionStep(
            name="QualityGate",
            display_name="Quality gate",
            conditions=[self.build.condition(gate) for gate in _GATES],
            if_steps=[self.registered_once(register)],
            else_steps=[self.build.quality_too_low(_GATES, "the holdout")],
        )
        return str(self.build.pipeline([prepare, clusters, purchase, package, evaluate, gate]).definition())

    def prepare(self) -> ProcessingStep:
        data, windows = self.workload.data, self.workload.windows
        columns = [(role, header) for role, header in data.columns if header is not None]
        return self.build.processing(
            "Prepare",
            self.workload.steps.prepare,
            "prepare",
            inputs={"transactions": self.build.input(n.INPUT_DATA_URI)},
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
                *("--feature-group", self.names.feature_group(*n.HOLDERS)),
                *("--window-days", str(windows.behaviour_days)),
                *("--max-horizon", str(windows.max_horizon_days)),
                *("--step-days", str(windows.spacing_days)),
                *("--max-examples", str(windows.max_examples)),
                *("--evaluation-time", self.build.input(n.EVALUATION_TIME)),
            ],
        )

    def train(self, name: str, job: Job, part: str, prepare: ProcessingStep) -> TrainingStep:
        channels = {"clusters": ("holders",), "purchase": ("train", "validation")}[part]
        fields = {"clusters": CLUSTERS_HYPERPARAMETERS, "purchase": PURCHASE_HYPERPARAMETERS}[part]
        hyperparameters: dict[str, str | PipelineVariable] = {"part": part}
        # CreateTrainingJob takes texts only, so that a number's parameter is converted where the pipeline runs.
        hyperparameters |= {field: self.build.tunable(field).to_string() for field in fields}
        if part == "purchase":
            hyperparameters["max_horizon_days"] = str(self.workload.windows.max_horizon_days)
        return self.build.training(
            name,
            job,
            image_uri=self.build.image_uri,
            hyperparameters=hyperparameters,
            channels={channel: output_uri(prepare, channel) for channel in channels},
        )

    def package(self, prepare: ProcessingStep, clusters: TrainingStep, purchase: TrainingStep) -> ProcessingStep:
        return self.build.processing(
            "Package",
            self.workload.steps.package,
            "package",
            inputs={
                "clusters": clusters.properties.ModelArtifacts.S3ModelArtifacts,
                "purchase": purchase.properties.ModelArtifacts.S3ModelArtifacts,
                "holdout": output_uri(prepare, "holdout"),
            },
            outputs=("package",),
            arguments=["--decision-threshold", self.build.tunable("decision_threshold").to_string()],
        )

    def evaluate(self, prepare: ProcessingStep, package: ProcessingStep) -> ProcessingStep:
        return self.build.processing(
            "Evaluate",
            self.workload.steps.evaluate,
            "evaluate",
            inputs={
                "package": output_uri(package, "package"),
                "holdout": output_uri(prepare, "holdout"),
                "report": output_uri(prepare, "report"),
            },
            outputs=("evaluation",),
            arguments=[
                *("--champion", self.build.input(n.CHAMPION_MODEL_URI)),
                *("--experiment", self.names.experiment(WORKLOAD)),
                # How many answers the monitor judges at least: what it may find by chance hangs on their number.
                *("--min-feedback", str(self.workload.monitoring.min_feedback)),
            ],
            property_files=[self.build.evaluation],
            mlflow=True,
        )

    def register(self, package: ProcessingStep, evaluate: ProcessingStep) -> ModelStep:
        return self.build.register(
            Join(on="/", values=[output_uri(package, "package"), "model.tar.gz"]),
            evaluate,
            image_uri=self.build.image_uri,
            content_types=["application/json"],
            metadata={
                **{name: self.build.figure_text(place) for name, place in FIGURES.items()},
                "input_data_uri": self.build.input(n.INPUT_DATA_URI),
                # What the monitor holds requests against, without the model itself.
                "profile_uri": Join(on="/", values=[output_uri(package, "package"), "profile.json"]),
            },
        )

    def registered_once(self, register: ModelStep) -> ConditionStep:
        """Register, unless the newest package is this very model: SageMaker never takes RegisterModel from the cache,
        and every unchanged execution would leave another package of the same model for somebody to judge.
        """
        return ConditionStep(
            name=n.ALREADY_REGISTERED,
            display_name="Already registered",
            conditions=[
                ConditionEquals(left=self.build.figure("mlflow.run_id"), right=self.build.input(n.REGISTERED_RUN_ID)),
            ],
            if_steps=[],
            else_steps=[
                register,
                self.build.link_mlflow(self.workload.steps.link_mlflow, register, ("clusters", "purchase")),
            ],
        )
