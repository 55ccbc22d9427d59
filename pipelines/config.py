"""The configuration of a project: a frozen, typed view of the files in `configs/`.

Files hold values only; what they mean, their types and their limits are the classes here. Unknown keys are refused, and
the mistakes of all files are reported together, each with its file, line, key, the value found and what was expected.

Precedence, lowest first:

    1. configs/project.yml, configs/ingestion.yml, configs/workloads/*.yml, configs/stages/*.yml
    2. the overrides file that the environment variable MLOPS_OVERRIDES names (`mlops up` names configs/local.yml):
       the same keys below `project`, `ingestion`, `workloads.<name>` and `stages.<name>`; a mapping is merged key by
       key, any other value, lists included, replaces the one below it
    3. AWS's variables, for what says which project this is: AWS_REGION, or where that is unset AWS_DEFAULT_REGION;
       SAGEMAKER_PROJECT_NAME and AWS_ACCOUNT_ID, which the project's own builds set
    4. MLOPS_SOURCE_URL, for where the stream's transactions come from alone (`mlops up` names its simulator)

and nothing else. For example, with `region: eu-west-1` in configs/project.yml and

    # laptop.yml
    workloads:
      cardholders:
        tunables:
          max_iterations: 20

the command `MLOPS_OVERRIDES=laptop.yml AWS_REGION=us-east-1 mlops definition cardholders build` renders the pipeline
for us-east-1, with 20 as the default of MaxIterations and all else from the files.

`tunables` are different in kind: they are parameters of the pipelines, whose values live in SSM Parameter Store. The
files give the value that a parameter is created with, and the classes its type and range (`pipelines/parameters.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, ValidationError, model_validator

from pipelines import names, yaml_files
from pipelines.errors import ConfigurationError, UsageError, suggestion
from pipelines.ingestion.settings import Ingestion
from pipelines.schema import expectation, property_names, schema_at, words
from pipelines.sections import Section, Share
from pipelines.yaml_files import Document, KeyPath, Mistake, dotted, kind

# What the environment says of configs/project.yml: by key, the variables, the first that is set.
PROJECT_VARIABLES = {
    "name": (names.PROJECT_NAME_VARIABLE,),
    "account_id": (names.ACCOUNT_VARIABLE,),
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
}


def _project_name(value: str) -> str:
    names.Names(value, "0" * 12, "eu-west-1")
    return value


# The seed of a project's repository leaves them open (pipelines/identity.py).
_FOUND_OUT = {
    "name": f"is empty, {names.PROJECT_NAME_VARIABLE} is not set, and the remote `origin` is no repository of "
    "CodeCommit; expected the project's name in one of them",
    "account_id": f"is empty, {names.ACCOUNT_VARIABLE} is not set, and STS does not tell whose the credentials are; "
    "give those of an AWS account, or start localcloud with `mlops up`",
}
InstanceType = Annotated[
    str,
    Field(pattern=r"^ml\.[a-z0-9-]+\.[0-9]*[a-z]+$", json_schema_extra=words("an instance type such as ml.m5.large")),
]
# YAML has lists only; strict mode would insist on Python's own tuple.
InstanceTypes = Annotated[tuple[InstanceType, ...], Field(strict=False, min_length=1)]
# The limits keep `--column role=header` and `--date-format` within the 256 characters of a container argument.
Header = Annotated[str, Field(min_length=1, max_length=200)]
DateFormat = Annotated[str, Field(min_length=2, max_length=200)]


# --- configs/project.yml ----------------------------------------------------------------------------------------------


class Api(Section):
    """The REST API (template/api.yml)."""

    allowed_origin: Annotated[
        str,
        Field(
            pattern=r"^(\*|https?://[A-Za-z0-9.:-]+)$",
            json_schema_extra=words("an origin such as https://app.example.com, or * for all"),
        ),
    ]
    """The web pages that may ask from a browser."""
    requests_per_second: Annotated[int, Field(ge=1, le=10_000)]
    """All callers together; above it they are told to wait (429)."""
    burst: Annotated[int, Field(ge=1, le=5_000)]
    """Requests that may come at once beyond that."""
    requests_per_address: Annotated[int, Field(ge=10, le=2_000_000_000)]
    """Requests from one address in five minutes; above it the firewall answers (429)."""
    cache_gb: Annotated[
        Literal["0", "0.5", "1.6", "6.1"], Field(json_schema_extra=words('"0", "0.5", "1.6" or "6.1", in quotes'))
    ]
    """Size of the cache for forecasts, in GB and in quotes; it costs by the hour. 0 is none."""


class Notices(Section):
    """What people have to know: alarms, and retrainings that were given up."""

    email: Annotated[
        str, Field(pattern=r"^$|^[^@\s]+@[^@\s]+$", json_schema_extra=words('an e-mail address, or "" for nobody'))
    ]
    """Who gets them by mail; SNS asks the address first. Nobody when empty."""


class Images(Section):
    """The images that Docker builds, on AWS."""

    signing_profile_arn: Annotated[
        str,
        Field(
            pattern=r"^(arn:aws[a-z-]*:signer:[a-z0-9-]+:[0-9]{12}:/signing-profiles/\w+)?$",
            json_schema_extra=words('the ARN of a signing profile of AWS Signer, or "" for none'),
        ),
    ]
    """The profile, of the platform Notation-OCI-SHA384-ECDSA, that they are signed with. Not signed when empty."""


class Budget(Section):
    """What the project may cost, in US dollars."""

    monthly_dollars: Annotated[float, Field(ge=0.0, le=100_000.0)]
    """A month; at 80 % of it, and when the month is forecast to exceed it, the notices' address hears of it. 0 is none.
    """
    execution_dollars: Annotated[float, Field(ge=0.0, le=100_000.0)]
    """The jobs of one execution of a pipeline; it is stopped before it exceeds that. 0 is no cap."""


class Project(Section):
    """The project and where it lives."""

    name: Annotated[
        str,
        AfterValidator(_project_name),
        Field(json_schema_extra=words("at most 32 lower-case letters, digits and single hyphens, a letter first")),
    ]
    """Carried by every name, path and bucket of the project."""
    account_id: Annotated[str, Field(pattern=names.ACCOUNT_PATTERN, json_schema_extra=words("text of 12 digits"))]
    """The AWS account, in quotes: YAML would read digits as a number."""
    region: Annotated[str, Field(pattern=names.REGION_PATTERN, json_schema_extra=words("a region such as eu-west-1"))]
    """The AWS region; the standard variables AWS_REGION and AWS_DEFAULT_REGION go before it."""
    api: Api
    """The limits of its REST API."""
    notices: Notices
    """Whom the project tells when something needs a person."""
    budget: Budget
    """What it may cost."""
    images: Images
    """How its images are made on AWS."""


# --- parts that workloads share ---------------------------------------------------------------------------------------


class Job(Section):
    """The machine and the time limit of one step's job."""

    instance_type: InstanceType
    """SageMaker's name of the machine, e.g. `ml.m5.large`."""
    instance_count: Annotated[int, Field(ge=1, le=100)]
    """How many machines. The programs here use one."""
    volume_gb: Annotated[int, Field(ge=1, le=16384)]
    """Size of the disk, in GB."""
    max_runtime_seconds: Annotated[int, Field(ge=60, le=432_000)]
    """The job is stopped after so many seconds."""


class TransformJob(Section):
    """The machine of a batch transform, which has no time limit and no disk of its own."""

    instance_type: InstanceType
    """SageMaker's name of the machine, e.g. `ml.m5.large`."""
    instance_count: Annotated[int, Field(ge=1, le=100)]
    """How many machines."""


class Retry(Section):
    """How faults of the service (throttling, lack of capacity, internal errors) are tried again. A failing program is
    not.
    """

    interval_seconds: Annotated[int, Field(ge=1, le=3600)]
    """Seconds before the first new try."""
    backoff_rate: Annotated[float, Field(ge=1.0, le=10.0)]
    """What the interval is multiplied by before each further try."""
    max_attempts: Annotated[int, Field(ge=1, le=20)]
    """Tries beyond the first."""


class Execution(Section):
    """How a pipeline's steps are run."""

    cache_days: Annotated[int, Field(ge=1, le=365)]
    """For how many days a step whose inputs did not change takes its earlier result."""
    parallel_steps: Annotated[int, Field(ge=1, le=50)]
    """Steps that may run at the same time."""
    retry: Retry
    """Retries of service faults."""


class Serving(Section):
    """What a model package says about the machines it may run on."""

    realtime_instance_types: InstanceTypes
    """Machines for endpoints."""
    transform_instance_types: InstanceTypes
    """Machines for batch transform."""


class Tunables(Section):
    """Base of a workload's runtime values. Each field is a pipeline parameter, named by `parameter_name`."""


def parameter_name(field: str) -> str:
    """The pipeline parameter of a tunable: `min_roc_auc` is `MinRocAuc`."""
    return "".join(word.capitalize() for word in field.split("_"))


class Retraining(Section):
    """When an alarm of production, of its quality or of drift, starts the build pipeline.

    Never while the build pipeline runs, while data are missing, or while a newer model package waits for a decision.
    """

    enabled: bool
    """Whether alarms start it at all."""
    cooldown_hours: Annotated[int, Field(ge=1, le=720)]
    """How long after a retraining no other cause starts one."""
    backoff_hours: Annotated[int, Field(ge=1, le=720)]
    """How long after a retraining that failed, or did not better the model, it is tried again; doubled every time."""
    min_improvement: Annotated[float, Field(ge=0.0, le=1.0)]
    """By how much its model must beat the champion on the newest data, in the loss (cardholders: in the ROC-AUC)."""
    max_attempts: Annotated[int, Field(ge=1, le=20)]
    """Retrainings for one cause, after which a person is notified."""
    daily_limit: Annotated[int, Field(ge=1, le=24)]
    """Retrainings of the workload in one day (UTC), whatever their causes."""
    approve_for_staging: bool
    """Whether a model that a retraining registered is approved for staging by itself. Production waits for a person."""


class QualityAlarm(Section):
    """M of N: a single bad hour is noise."""

    hours: Annotated[int, Field(ge=1, le=24)]
    """N: the newest hours that are looked at."""
    breaches: Annotated[int, Field(ge=1, le=24)]
    """M: how many of them must be worse than the threshold."""

    @model_validator(mode="after")
    def _some_of_all(self) -> Self:
        if self.breaches > self.hours:
            raise ValueError(f"breaches is {self.breaches}, expected at most hours, which is {self.hours}")
        return self


class PageHinkley(Section):
    """The test of Page and Hinkley, by river: the sum of what lies above the mean so far."""

    delta: Annotated[float, Field(ge=0.0, le=100.0)]
    """What a value may lie above the mean without counting."""
    threshold: Annotated[float, Field(gt=0.0, le=100_000.0)]
    """The sum from which it is drift."""
    min_instances: Annotated[int, Field(ge=1, le=100_000)]
    """Values before which nothing is."""


class Adwin(Section):
    """Adaptive windowing (ADWIN), by river: whether the older and the newer values have different means."""

    delta: Annotated[float, Field(gt=0.0, lt=1.0)]
    """The chance of a false alarm that is put up with."""


class Drift(Section):
    """The detectors of drift in the stream of losses or errors."""

    page_hinkley: PageHinkley
    """The test of Page and Hinkley."""
    adwin: Adwin
    """ADWIN."""


# --- configs/workloads/cardholders.yml --------------------------------------------------------------------------------


class Columns(Section):
    """Where the data's fields stand: the header of each in the CSV files."""

    last_name: Header | None = None
    """The cardholder's last name."""
    first_initial: Header | None = None
    """The cardholder's first initial."""
    holder: Header | None = None
    """One column that names the cardholder; goes before the two above."""
    amount: Header
    """The amount; negative for a refund."""
    vendor: Header
    """The merchant."""
    date: Header
    """The day of the purchase."""

    @model_validator(mode="after")
    def _a_holder(self) -> Self:
        if self.holder is None and (self.last_name is None or self.first_initial is None):
            raise ValueError("nothing names the cardholder: expected `holder`, or both `last_name` and `first_initial`")
        return self


class CardholdersData(Section):
    """The card transactions."""

    columns: Columns
    """The header of each field, for other banks' files."""
    date_formats: Annotated[tuple[DateFormat, ...], Field(strict=False, min_length=1)]
    """Formats of dates in `strptime`'s notation, tried in turn."""
    encoding: Annotated[str, Field(min_length=1, max_length=40)]
    """The files' encoding."""
    delimiter: Annotated[str, Field(pattern=r"^([^\"\r\n]|tab)$", json_schema_extra=words("one character, or `tab`"))]
    """What stands between fields."""
    decimal: Literal[".", ","]
    """The decimal sign of amounts."""
    keep_duplicates: bool
    """Whether equal lines are purchases of their own."""
    max_bad_share: Share
    """Share of unreadable lines from which the data is refused."""


class CardholdersWindows(Section):
    """The periods that examples are cut from."""

    behaviour_days: Annotated[int, Field(ge=1, le=3650)]
    """Days that `usage_freq`, `amount_spend` and `uniq_merchant` count over."""
    max_horizon_days: Annotated[int, Field(ge=1, le=90)]
    """The largest k of "a purchase in the next k days"."""
    spacing_days: Annotated[int, Field(ge=1, le=365)]
    """Days between a holder's reference dates."""
    max_examples: Annotated[int, Field(ge=100, le=50_000_000)]
    """Largest number of examples that are kept for training; validation and holdout get up to a quarter of that each.
    """


class CardholdersTunables(Tunables):
    """Runtime values of the cardholders pipelines."""

    min_clusters: Annotated[int, Field(ge=2, le=50)]
    """Smallest number of clusters that is tried."""
    max_clusters: Annotated[int, Field(ge=2, le=50)]
    """Largest number of clusters that is tried."""
    outlier_quantile: Annotated[float, Field(ge=0.0, le=0.2)]
    """Share of holders at each end of a field whose value counts as an outlier."""
    silhouette_sample: Annotated[int, Field(ge=10, le=20_000)]
    """Holders that the silhouette is computed on; its cost is quadratic."""
    max_iterations: Annotated[int, Field(ge=1, le=2000)]
    """Largest number of trees of the purchase model; the time of an answer grows with it."""
    learning_rate: Annotated[float, Field(ge=0.001, le=1.0)]
    """Weight of each tree of the purchase model."""
    max_leaf_nodes: Annotated[int, Field(ge=2, le=1024)]
    """Largest number of leaves of a tree of the purchase model."""
    min_samples_leaf: Annotated[int, Field(ge=1, le=100_000)]
    """Smallest number of rows in a leaf of the purchase model."""
    l2_regularization: Annotated[float, Field(ge=0.0, le=1e6)]
    """Penalty on the leaves' values of the purchase model."""
    days_per_example: Annotated[int, Field(ge=1, le=365)]
    """Values of k that each example is trained on."""
    max_examples: Annotated[int, Field(ge=100, le=50_000_000)]
    """Largest number of training rows of the purchase model, over all k."""
    mask_share: Annotated[float, Field(ge=0.01, le=0.9)]
    """Share of training rows without stored features, so that the model answers without them too."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)]
    """Seed of every random choice in training."""
    decision_threshold: Share
    """Probability from which `will_spend` is true."""
    min_roc_auc: Share
    """ROC-AUC on the holdout below which a model is refused."""
    max_calibration_error: Share
    """Expected calibration error on the holdout above which a model is refused."""
    min_silhouette: Annotated[float, Field(ge=-1.0, le=1.0)]
    """Silhouette on the holdout below which a model is refused."""
    min_champion_difference: Annotated[float, Field(ge=-1.0, le=1.0)]
    """ROC-AUC less the champion's on the same holdout, below which a model is refused."""
    update_rate: Share
    """How far a deployed model pulls the monitoring threshold down: 0 not at all, 1 to its own Brier score."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_clusters < self.min_clusters:
            raise ValueError(
                f"max_clusters is {self.max_clusters}, expected at least min_clusters, which is {self.min_clusters}"
            )
        return self


class CardholdersSteps(Section):
    """The job of each step."""

    prepare: Job
    """Prepare: reads the transactions, writes the examples."""
    train_clusters: Job
    """TrainClusters."""
    train_purchase: Job
    """TrainPurchase."""
    package: Job
    """Package: makes one model.tar.gz of the two."""
    evaluate: Job
    """Evaluate: judges the packaged model through its own server."""
    link_mlflow: Job
    """LinkMlflow: makes the MLflow versions of the registered package."""
    monitor: Job
    """Evaluate of the monitor pipeline: judges what the endpoint answered."""
    drift_report: Job
    """DriftReport: makes Evidently's report."""


class CardholdersMonitoring(Section):
    """The hourly evaluation of what the model answered, and what is done about it."""

    quality_alarm: QualityAlarm
    """The alarm on the Brier score."""
    window_hours: Annotated[int, Field(ge=1, le=720)]
    """Hours of feedback, by when it came due, that the quality is judged on."""
    min_feedback: Annotated[int, Field(ge=10, le=1_000_000)]
    """Answers with feedback below which there is no verdict."""
    min_requests: Annotated[int, Field(ge=10, le=1_000_000)]
    """Requests below which there is no verdict on their drift."""
    max_psi: Annotated[float, Field(gt=0.0, le=10.0)]
    """Population stability index of a field above which its distribution counts as another than in training."""
    drift: Drift
    """Detectors on the stream of errors."""
    retraining: Retraining
    """What alarms lead to."""


class Cardholders(Section):
    """The workload `cardholders`."""

    data: CardholdersData
    """Its data."""
    windows: CardholdersWindows
    """Its periods."""
    tunables: CardholdersTunables
    """Its runtime values, kept in Parameter Store."""
    steps: CardholdersSteps
    """Its jobs."""
    execution: Execution
    """How its pipelines run."""
    serving: Serving
    """Where its models may be served."""
    monitoring: CardholdersMonitoring
    """How it is watched, and retrained."""


# --- configs/workloads/forecaster.yml ---------------------------------------------------------------------------------


class ForecasterData(Section):
    """The series."""

    frequency: Annotated[
        str,
        Field(
            pattern=r"^([1-9][0-9]*)?(M|W|D|H|min)$",
            json_schema_extra=words("a multiple of M, W, D, H or min such as 5min"),
        ),
    ]
    """The distance of two points, as DeepAR's `time_freq`."""
    target: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", json_schema_extra=words("a feature's name"))]
    """The feature that is forecast."""
    history_days: Annotated[int, Field(ge=1, le=3650)]
    """Days that are read, counted back from the newest minute."""


class ForecasterNetwork(Section):
    """What the network is, beside its runtime values."""

    image: Literal["own", "built-in"]
    """`own` trains and serves with seed_code/forecaster, `built-in` with SageMaker's DeepAR; both keep its contract."""
    likelihood: Literal["student-T", "gaussian", "beta", "negative-binomial", "deterministic-L1"]
    """The distribution of a point."""
    seasonal_lags: Literal["none", "daily", "weekly"]
    """Whether the network also looks at the same time a day, or a day and a week, before. Of the own image only."""

    @model_validator(mode="after")
    def _lags_are_ours(self) -> Self:
        if self.image == "built-in" and self.seasonal_lags != "none":
            raise ValueError(
                f"seasonal_lags is {self.seasonal_lags}, expected none with `image: built-in`: SageMaker's DeepAR has "
                "no such hyperparameter"
            )
        return self


class ForecasterForecast(Section):
    """What is asked of a model in its evaluation."""

    confidence: Annotated[int, Field(ge=50, le=99)]
    """Width of the forecast's band, in per cent: 90 is from quantile 0.05 to 0.95."""
    num_samples: Annotated[int, Field(ge=20, le=10_000)]
    """Sample paths that quantiles are read from."""

    @property
    def quantiles(self) -> tuple[str, ...]:
        """Lower edge, median and upper edge of the band, as texts: exact decimals."""
        below = Decimal(100 - self.confidence) / 200
        return str(below), "0.5", str(1 - below)


class ForecasterWindows(Section):
    """The windows that a model is judged on."""

    test_windows: Annotated[int, Field(ge=20, le=10_000)]
    """Rolling test windows; fewer than 20 say too little."""
    spacing: Annotated[int, Field(ge=1, le=10_000)]
    """Points between the beginnings of two of them."""


class ForecasterTunables(Tunables):
    """Runtime values of the forecaster pipelines. Ranges are those of the built-in DeepAR."""

    context_length: Annotated[int, Field(ge=1, le=200)]
    """Points that the network sees before it forecasts."""
    prediction_length: Annotated[int, Field(ge=1, le=400)]
    """Points that are forecast."""
    epochs: Annotated[int, Field(ge=1, le=1000)]
    """Passes of training."""
    early_stopping_patience: Annotated[int, Field(ge=1, le=1000)]
    """Epochs without progress after which training ends."""
    mini_batch_size: Annotated[int, Field(ge=1, le=1028)]
    """Windows in a batch."""
    learning_rate: Annotated[float, Field(ge=1e-5, le=1e-1)]
    """Learning rate."""
    dropout_rate: Annotated[float, Field(ge=0.0, le=0.2)]
    """Dropout of the network's outputs."""
    embedding_dimension: Annotated[int, Field(ge=1, le=50)]
    """Size of the embedding of categories."""
    num_cells: Annotated[int, Field(ge=30, le=200)]
    """Cells in each layer."""
    num_layers: Annotated[int, Field(ge=1, le=8)]
    """Layers."""
    max_wql: Annotated[float, Field(gt=0.0, le=100.0)]
    """Weighted quantile loss above which a model is refused."""
    max_champion_difference: Annotated[float, Field(ge=-1.0, le=1.0)]
    """Weighted quantile loss less the champion's on the same windows, above which a model is refused."""
    update_rate: Share
    """How far a deployed model pulls that threshold down: 0 not at all, 1 to its own loss."""


class ForecasterSteps(Section):
    """The job of each step."""

    prepare: Job
    """Prepare: reads the feature store, cuts the windows."""
    train: Job
    """Train."""
    transform: TransformJob
    """Transform: forecasts every window."""
    evaluate: Job
    """Evaluate: scores the forecasts."""
    link_mlflow: Job
    """LinkMlflow: makes the MLflow version of the registered package."""
    monitor: Job
    """Evaluate of the monitor pipeline: asks the endpoint and scores what it answers."""
    drift_report: Job
    """DriftReport: makes Evidently's report."""


class ForecasterDrift(Drift):
    """The detectors of drift: in the stream of losses, and in the fees themselves."""

    fee_page_hinkley: PageHinkley
    """On the logarithm of the hour's mean fee over that of the same hour on the days before."""


class ForecasterMonitoring(Section):
    """The hourly evaluation of the endpoint's forecasts, and what is done about it."""

    quality_alarm: QualityAlarm
    """The alarm on the weighted quantile loss."""
    max_freshness_minutes: Annotated[int, Field(ge=1, le=1440)]
    """Age of the newest minute at the time of the evaluation above which data count as missing."""
    min_observed_share: Share
    """Share of an hour's minutes that must be there for a verdict."""
    drift: ForecasterDrift
    """Detectors of drift."""
    retraining: Retraining
    """What alarms lead to."""


class Forecaster(Section):
    """The workload `forecaster`."""

    data: ForecasterData
    """Its data."""
    network: ForecasterNetwork
    """Its network."""
    forecast: ForecasterForecast
    """Its forecasts."""
    windows: ForecasterWindows
    """Its windows."""
    tunables: ForecasterTunables
    """Its runtime values, kept in Parameter Store."""
    steps: ForecasterSteps
    """Its jobs."""
    execution: Execution
    """How its pipelines run."""
    serving: Serving
    """Where its models may be served."""
    monitoring: ForecasterMonitoring
    """How it is watched, and retrained."""


# --- configs/stages/*.yml ---------------------------------------------------------------------------------------------


_MODES = Literal["real-time", "serverless"]
_SERVERLESS_MEMORY = Literal[1024, 2048, 3072, 4096, 5120, 6144]


class Endpoint(Section):
    """What a stage's endpoint runs on: machines of its own (real-time), or such as SageMaker lends per request
    (serverless).
    """

    mode: _MODES
    """`real-time` or `serverless`."""
    instance_type: InstanceType | None = None
    """SageMaker's name of the machine; real-time only."""
    instance_count: Annotated[int, Field(ge=1, le=100)] | None = None
    """How many at the start; real-time only."""
    memory_mb: _SERVERLESS_MEMORY | None = None
    """Memory of a request's machine, in MB; serverless only."""
    max_concurrency: Annotated[int, Field(ge=1, le=200)] | None = None
    """Requests at the same time beyond which callers are turned away; serverless only."""

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        wanted = {"real-time": ("instance_type", "instance_count"), "serverless": ("memory_mb", "max_concurrency")}
        for mode, fields in wanted.items():
            for field in fields:
                if (getattr(self, field) is not None) != (mode == self.mode):
                    expected = f"{field} goes with `mode: {mode}`: expected both or neither"
                    raise ValueError(f"mode is {self.mode}; {expected}")
        return self


class Deployment(Section):
    """How an update reaches the endpoint (blue/green). Limits are those of SageMaker's deployment guardrails."""

    traffic: Literal["ALL_AT_ONCE", "CANARY", "LINEAR"]
    """ALL_AT_ONCE shifts all traffic, CANARY a share first, LINEAR share by share."""
    step_percent: Annotated[int, Field(ge=1, le=50)] | None = None
    """Share of the capacity that the canary gets, or that each step of LINEAR shifts."""
    wait_seconds: Annotated[int, Field(ge=0, le=3600)]
    """How long the alarms watch the new machines before the next shift."""
    termination_wait_seconds: Annotated[int, Field(ge=0, le=3600)]
    """How long the old machines stay after the last shift."""
    timeout_seconds: Annotated[int, Field(ge=600, le=28_800)]
    """The deployment is rolled back when it takes longer."""

    @model_validator(mode="after")
    def _steps(self) -> Self:
        if (self.traffic == "ALL_AT_ONCE") != (self.step_percent is None):
            raise ValueError("step_percent goes with `traffic: CANARY` and `traffic: LINEAR`: expected both or neither")
        if self.traffic == "LINEAR" and self.step_percent is not None and self.step_percent < 10:
            raise ValueError(f"step_percent is {self.step_percent}, expected at least 10 with `traffic: LINEAR`")
        shifts = 1 if self.step_percent is None else 2 if self.traffic == "CANARY" else -(-100 // self.step_percent)
        longest = shifts * self.wait_seconds + self.termination_wait_seconds
        if self.timeout_seconds < longest:
            raise ValueError(
                f"timeout_seconds is {self.timeout_seconds}, expected at least {longest}: wait_seconds for each of the "
                f"{shifts} shifts, and termination_wait_seconds"
            )
        return self


class Scaling(Section):
    """How the number of machines follows the requests."""

    min_instances: Annotated[int, Field(ge=1, le=100)]
    """Machines that always run."""
    max_instances: Annotated[int, Field(ge=1, le=100)]
    """Machines that may run at most."""
    invocations_per_instance: Annotated[int, Field(ge=1, le=1_000_000)]
    """Requests per machine and minute that are aimed at."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_instances <= self.min_instances:
            raise ValueError(
                f"max_instances is {self.max_instances}, expected more than min_instances, which is "
                f"{self.min_instances}; leave `scaling` away for a fixed number"
            )
        return self


class Capture(Section):
    """Which requests and answers are kept for the monitoring."""

    percent: Annotated[int, Field(ge=0, le=100)]
    """Share of the requests; 0 keeps none."""


class Stage(Section):
    """One stage of a deployment."""

    endpoint: Endpoint
    """Its endpoint."""
    capture: Capture
    """What is kept of its traffic."""
    deployment: Deployment
    """How updates reach it."""
    scaling: Scaling | None = None
    """How it grows and shrinks; a fixed number of machines without it."""

    @model_validator(mode="after")
    def _as_aws_has_it(self) -> Self:
        if self.endpoint.mode == "serverless":
            self._serverless()
        elif self.deployment.traffic != "ALL_AT_ONCE" and (self.endpoint.instance_count or 0) < 2:
            raise ValueError(
                f"endpoint.instance_count is {self.endpoint.instance_count}, expected at least 2 with "
                f"`traffic: {self.deployment.traffic}`: the first share is at most half of the machines"
            )
        count = self.endpoint.instance_count
        if self.scaling is not None and count is not None:
            low, high = self.scaling.min_instances, self.scaling.max_instances
            if not low <= count <= high:
                raise ValueError(f"endpoint.instance_count is {count}, expected {low} to {high}, the bounds of scaling")
        return self

    def _serverless(self) -> None:
        refused = "SageMaker refuses it for a serverless endpoint"
        if self.capture.percent:
            raise ValueError(f"capture.percent is {self.capture.percent}, expected 0: {refused}")
        if self.deployment.traffic != "ALL_AT_ONCE" or self.deployment.wait_seconds:
            raise ValueError(
                f"deployment.traffic is {self.deployment.traffic} with wait_seconds {self.deployment.wait_seconds}, "
                f"expected ALL_AT_ONCE and 0: {refused}"
            )
        if self.scaling is not None:
            raise ValueError(f"scaling is given, expected none: {refused}")


# --- the whole --------------------------------------------------------------------------------------------------------


class Workloads(Section):
    """The files of `configs/workloads/`."""

    cardholders: Cardholders
    """configs/workloads/cardholders.yml"""
    forecaster: Forecaster
    """configs/workloads/forecaster.yml"""


class Stages(Section):
    """The files of `configs/stages/`."""

    staging: Stage
    """configs/stages/staging.yml"""
    prod: Stage
    """configs/stages/prod.yml"""


class Configuration(Section):
    """Everything that is configured. Made by `load`."""

    project: Project
    """configs/project.yml"""
    workloads: Workloads
    """configs/workloads/"""
    stages: Stages
    """configs/stages/"""
    ingestion: Ingestion
    """configs/ingestion.yml"""

    @property
    def names(self) -> names.Names:
        return names.Names(self.project.name, self.project.account_id, self.project.region)

    def tunables(self, workload: str) -> Tunables:
        """A workload's runtime values as the files give them. Raises UsageError for an unknown workload."""
        if workload not in Workloads.model_fields:
            raise UsageError(
                f"workload `{workload}` does not exist{suggestion(workload, Workloads.model_fields)}; "
                f"expected one of {', '.join(Workloads.model_fields)}"
            )
        found = getattr(self.workloads, workload).tunables
        assert isinstance(found, Tunables)
        return found


FILES: Mapping[KeyPath, tuple[str, type[Section]]] = {
    ("project",): ("configs/project.yml", Project),
    ("workloads", "cardholders"): ("configs/workloads/cardholders.yml", Cardholders),
    ("workloads", "forecaster"): ("configs/workloads/forecaster.yml", Forecaster),
    ("stages", "staging"): ("configs/stages/staging.yml", Stage),
    ("stages", "prod"): ("configs/stages/prod.yml", Stage),
    ("ingestion",): ("configs/ingestion.yml", Ingestion),
}
"""Where each file's values stand in the whole, and their class."""


def find_root(start: Path) -> Path:
    """The root of the working copy that a folder belongs to: the nearest one above it with configs/project.yml.

    Raises UsageError when there is none.
    """
    for folder in (start, *start.parents):
        if (folder / "configs" / "project.yml").is_file():
            return folder
    raise UsageError(
        f"no `configs/project.yml` in `{start}` or above it; run `mlops` inside a working copy of the project"
    )


def overrides_from(environ: Mapping[str, str]) -> Path | None:
    """The overrides file that the environment names; a relative name counts from the working directory."""
    name = environ.get(names.OVERRIDES_VARIABLE)
    return Path(name) if name else None


def load(root: Path, overrides: Path | None = None, environ: Mapping[str, str] | None = None) -> Configuration:
    """The configuration of a working copy.

    root: the folder that holds `configs/`.
    overrides: a file that goes before those of `configs/` (see the module's precedence), or None.
    environ: where the project's variables are read; the process's environment unless given.

    Raises ConfigurationError, which lists the mistakes of all files.
    """
    environ = os.environ if environ is None else environ
    override = None if overrides is None else yaml_files.read(overrides, _shown(overrides, root))
    mistakes: list[Mistake] = []
    if override is not None:
        mistakes += override.mistakes
        mistakes += _unknown_sections(override)
    values: dict[KeyPath, Section] = {}
    for place, (file, model) in FILES.items():
        document = yaml_files.read(root / file, file)
        mistakes += document.mistakes
        if document.values is None:
            continue
        merged = _overridden(document, override, place)
        if place == ("project",):
            _lay_over(merged, environ)
        section, wrong = _validated(model, merged)
        mistakes += wrong
        if section is not None:
            values[place] = section
    if mistakes:
        listed = "\n".join(f"  {mistake}" for mistake in mistakes)
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise ConfigurationError(
            f"the configuration has {count}:\n{listed}\nEvery key: docs/reference/configuration.md"
        )
    return Configuration.model_validate(
        {
            "project": values["project",],
            "workloads": {name: values["workloads", name] for name in Workloads.model_fields},
            "stages": {name: values["stages", name] for name in Stages.model_fields},
            "ingestion": values["ingestion",],
        }
    )


def _shown(path: Path, root: Path) -> str:
    absolute = path.absolute()
    return absolute.relative_to(root).as_posix() if absolute.is_relative_to(root) else str(path)


def _unknown_sections(override: Document) -> Iterator[Mistake]:
    """Keys of the overrides file that name no file of `configs/`."""
    groups: dict[str, list[str]] = {}
    for place in FILES:
        groups.setdefault(str(place[0]), []).extend(str(part) for part in place[1:])
    for group, below in (override.values or {}).items():
        group_path: KeyPath = (str(group),)
        if group not in groups:
            known = ", ".join(groups)
            hint = suggestion(str(group), groups)
            yield Mistake(override.position(group_path), str(group), f"unknown key{hint or f'; expected {known}'}")
        elif not isinstance(below, dict):
            expected = "a mapping of keys to values"
            yield Mistake(override.position(group_path), group, f"found {kind(below)}, expected {expected}")
        elif groups[group]:
            for name, content in below.items():
                path: KeyPath = (group, str(name))
                if name not in groups[group]:
                    hint = suggestion(str(name), groups[group]) or f"; expected {', '.join(groups[group])}"
                    yield Mistake(override.position(path), dotted(path), f"unknown key{hint}")
                elif not isinstance(content, dict):
                    yield Mistake(
                        override.position(path),
                        dotted(path),
                        f"found {kind(content)}, expected a mapping of keys to values",
                    )


class _Merged:
    """The values of one file with the overrides laid over them, and where each came from."""

    def __init__(self, document: Document, override: Document | None, place: KeyPath) -> None:
        self.document, self.override, self.place = document, override, place
        self.overridden: set[KeyPath] = set()
        self.values: dict[str, Any] = dict(document.values or {})

    def position(self, path: KeyPath) -> yaml_files.Position:
        if self.override is not None and any(path[: len(above)] == above for above in self.overridden):
            return self.override.position(self.place + path)
        return self.document.position(path)

    def shown_key(self, path: KeyPath) -> str:
        in_override = any(path[: len(above)] == above for above in self.overridden)
        return dotted(self.place + path if in_override else path)


def _overridden(document: Document, override: Document | None, place: KeyPath) -> _Merged:
    merged = _Merged(document, override, place)
    above: Any = None if override is None else override.values
    for part in place:
        above = above.get(part) if isinstance(above, dict) else None
    if isinstance(above, dict):
        merged.values = _merge(merged.values, above, (), merged.overridden)
    return merged


def _merge(base: dict[str, Any], above: dict[str, Any], path: KeyPath, overridden: set[KeyPath]) -> dict[str, Any]:
    result = dict(base)
    for key, value in above.items():
        below = (*path, str(key))
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            result[key] = _merge(base[key], value, below, overridden)
        else:
            result[key] = value
            overridden.add(below)
    return result


def _lay_over(merged: _Merged, environ: Mapping[str, str]) -> None:
    """Put what the environment says before what the files do."""
    for key, variables in PROJECT_VARIABLES.items():
        variable = next((one for one in variables if environ.get(one)), None)
        if variable is None:
            continue
        merged.values[key] = environ[variable]
        position = yaml_files.Position(f"environment variable {variable}")
        document = merged.document
        merged.document = Document(document.file, document.values, {**document.positions, (key,): position})
        merged.overridden.discard((key,))


S = TypeVar("S", bound=Section)


def _validated(model: type[S], merged: _Merged) -> tuple[S | None, list[Mistake]]:
    try:
        return model.model_validate(merged.values), []
    except ValidationError as error:
        return None, [_mistake(model, merged, details) for details in error.errors(include_url=False)]


def _mistake(model: type[Section], merged: _Merged, details: Any) -> Mistake:
    """Pydantic's error in the words of someone who edits the file."""
    path: KeyPath = tuple(part for part in details["loc"] if part != "[key]")
    schema = schema_at(model, path)
    found = details["input"]
    if model is Project and found in ("", None) and (open_key := str(path[0])) in _FOUND_OUT:
        problem = _FOUND_OUT[open_key]
    elif details["type"] == "missing":
        problem = f"missing, expected {expectation(schema)}"
    elif details["type"] in ("extra_forbidden", "invalid_key"):
        known = property_names(model, path[:-1])
        problem = f"unknown key{suggestion(str(path[-1]), known) or '; expected one of ' + ', '.join(known)}"
    elif details["type"] == "value_error":
        problem = str(details["ctx"]["error"])
    else:
        shown = kind(found) if isinstance(found, dict | list) or found is None else f"{found!r} ({kind(found)})"
        problem = f"found {shown}, expected {expectation(schema)}{_yaml_hint(found, schema)}"
    return Mistake(merged.position(path), merged.shown_key(path), problem)


def _yaml_hint(found: object, schema: dict[str, Any]) -> str:
    """YAML 1.1 reads `1e-5` as text, and an account number without quotes as an integer."""
    if isinstance(found, str) and schema.get("type") in ("integer", "number"):
        try:
            float(found)
        except ValueError:
            return ""
        return "; write it without quotes, and with a point before an exponent (1.0e-5)"
    if isinstance(found, int) and schema.get("type") == "string":
        return "; put it in quotes"
    return ""
