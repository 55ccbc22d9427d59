"""Every name, path, ARN and S3 key of a project, in one place.

One `Names` is made from the project's name, its account and its region; nothing else in the repository puts such
strings together. Every name carries the project's, so that two projects share an account without touching. No import
but the standard library's: Lambda functions carry this file.

What a project is called is limited by the strictest service that carries it (`PROJECT_PATTERN`): S3 and ECR allow lower
case only, Parameter Store refuses paths that begin with `aws` or `ssm`, SageMaker ends project names at 32 characters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PROJECT_PATTERN = r"^(?!aws|ssm|xn--|sthree-|amzn-s3-demo-)[a-z](-?[a-z0-9])*$"
PROJECT_LENGTH = 32
WORKLOAD_PATTERN = r"^[a-z](-?[a-z0-9])*$"
WORKLOAD_LENGTH = 16
FEATURES_PATTERN = r"^[a-z](-?[a-z0-9])*$"
FEATURES_LENGTH = 14  # with the project's and the workload's: SageMaker ends feature group names at 64 characters
# At the end of an endpoint configuration's name, which SageMaker ends at 63 characters.
ENDPOINT_CONFIG_DIGITS = 10
# What the feature groups hold: one each for the workload that fills it.
MINUTES = ("forecaster", "minutes")
HOLDERS = ("cardholders", "holders")
ACCOUNT_PATTERN = r"^[0-9]{12}$"
REGION_PATTERN = r"^[a-z]{2,4}(-[a-z]+)+-[0-9]$"

# The environment variable that names a file of overrides (pipelines/config.py).
OVERRIDES_VARIABLE = "MLOPS_OVERRIDES"

STAGES = ("staging", "prod")
# A stage has a deploy pipeline of its own: its settings are that pipeline's defaults, and the two never wait for each
# other.
DEPLOY_KINDS = {stage: f"deploy-{stage}" for stage in STAGES}
KINDS = ("build", *DEPLOY_KINDS.values(), "monitor")
# The only variant of an endpoint. SageMaker wants the same name before and after an update.
VARIANT = "AllTraffic"

# The stages whose endpoint is judged every hour, by workload. Of cardholders only production is: whom nobody asks,
# nobody tells what became of the answers.
MONITORED: dict[str, tuple[str, ...]] = {"forecaster": STAGES, "cardholders": ("prod",)}
# The alarms of a monitored stage: a model that has become worse, data that are missing or late, and drift.
QUALITY, DATA, DRIFT = MONITOR_ALARMS = ("quality", "data", "drift")

# The Lambda functions of the project's stack.
FUNCTIONS = (
    "approvals",
    "deploy-steps",
    "waiting",
    "failures",
    "evaluations",
    "retraining",
    "changes",
    "guard",
    "spending",
)
# Who keeps a project's repository, and starts its work: CodeCommit or GitHub, each with CodePipeline; GitHub with its
# own Actions; or nobody, and a person runs the verbs.
CODECOMMIT, GITHUB, GITHUB_ACTIONS, NO_REPOSITORY = REPOSITORY_PROVIDERS = (
    "CodeCommit",
    "GitHub",
    "GitHubActions",
    "None",
)
# What CodePipeline does for each workload, and the CodeBuild projects that do it; each has a file in `buildspecs/`.
CODE_PIPELINES = BUILD, DEPLOY, MONITOR = ("build", "deploy", "monitor")
BUILD_PROJECTS = CHECKS, IMAGES, _, _, TESTS, _ = ("checks", "images", BUILD, DEPLOY, "tests", MONITOR)
# The variables of its pipelines: why one runs, and the package that is deployed.
REASON, PACKAGE_VERSION = "Reason", "Version"
# The branch that is built.
BRANCH = "main"
# What says which project a working copy is of, before configs/project.yml: CodeBuild projects set them.
PROJECT_NAME_VARIABLE, ACCOUNT_VARIABLE = "SAGEMAKER_PROJECT_NAME", "AWS_ACCOUNT_ID"
# Those of the API's stack.
API_FUNCTIONS = ("predictions", "forecasts")
# What the stream is made of (template/ingestion.yml): its image, Lambda functions, Kinesis streams, the services and
# tasks on ECS, queues for what cannot be used, and alarms.
INGESTION = "ingestion"
INGESTION_FUNCTIONS = DEDUPLICATE, WRITE_MINUTES = ("deduplicate", "write-minutes")
TRANSACTIONS_STREAM, MINUTES_STREAM = "transactions", "minutes"
POLLER, OPERATOR = "poller", "operator"
# One-off tasks: minutes computed again from the archive, and small files of the offline store made one.
REPLAY, COMPACT = "replay", "compact"
SET_ASIDE_QUEUE, INGESTION_DEAD_QUEUE = "set-aside", "ingestion-dead"
INGESTION_ALARMS = ("minute-age", "gaps", "poller-down", "iterator-age", "dead-letters")
INGESTION_METRICS = "MLOps/Ingestion"
# What the poller publishes: transactions as they came, and what it could not take for one.
TRANSACTIONS_DETAIL, SET_ASIDE_DETAIL = "Unconfirmed Transactions", "Transactions Set Aside"
INGESTION_SOURCE = "mlops.ingestion"
# Where the source of transactions is, before configs/ingestion.yml.
SOURCE_URL_VARIABLE = "MLOPS_SOURCE_URL"
# The stack that an account and region need once, for all projects (template/admin.yml). No project is called so: its
# name has single hyphens only, and its main stack has its name.
ADMIN_STACK = "mlops--admin"
# The stage of the API, which is the end of its address.
API_STAGE = "prod"

# The condition of the build pipelines that keeps a model from being registered twice.
ALREADY_REGISTERED = "AlreadyRegistered"

# What the starter passes to every execution; all other parameters of a pipeline are runtime values in Parameter Store.
INPUT_DATA_URI = "InputDataUri"
EVALUATION_TIME = "EvaluationTime"
GIT_COMMIT = "GitCommit"
CHAMPION_MODEL_URI = "ChampionModelUri"
MLFLOW_TRACKING_URI = "MlflowTrackingUri"
REGISTERED_RUN_ID = "RegisteredRunId"
REGISTERED_MODEL_URI = "RegisteredModelUri"
SNAPSHOT_TIME = "SnapshotTime"
EXECUTION_INPUTS = (
    INPUT_DATA_URI,
    EVALUATION_TIME,
    SNAPSHOT_TIME,
    GIT_COMMIT,
    CHAMPION_MODEL_URI,
    REGISTERED_RUN_ID,
    REGISTERED_MODEL_URI,
    MLFLOW_TRACKING_URI,
)
# What a deployment is about; the stage's settings are parameters beside these.
MODEL_PACKAGE_ARN = "ModelPackageArn"
STAGE = "Stage"
# What an evaluation is about, beside these: the endpoint configuration that makes one deployment differ from the next,
# the package's version, the loss that the hour's is held against, and whether people get a report of drift (and why).
ENDPOINT_CONFIG = "EndpointConfigName"
MODEL_VERSION = "ModelVersion"
THRESHOLD = "Threshold"
REPORT = "Report"
REPORT_REASON = "ReportReason"
YES, NO = "yes", "no"
# The runtime value that limits how a model does beside the champion on the same data, and which way is better: of a
# difference of losses -1, of scores 1.
CHAMPION_DIFFERENCE: dict[str, tuple[str, int]] = {
    "forecaster": ("MaxChampionDifference", -1),
    "cardholders": ("MinChampionDifference", 1),
}
# Where MLflow's clients look for their server.
MLFLOW_TRACKING_URI_VARIABLE = "MLFLOW_TRACKING_URI"

# A processing argument cannot be empty, so that the absence of a champion has a word; likewise that of a package.
NO_CHAMPION = "none"
NO_RUN = "none"
NO_MODEL = "none"
# Likewise the moment of the newest record of a feature group that has none.
NO_SNAPSHOT = "none"
# Where a model package's customer metadata names the MLflow run that its model comes from.
RUN_ID_KEY = "mlflow_run_id"
# Where it names the requests, with the model's answers, that a live endpoint is tested by.
GOLDEN_REQUESTS_KEY = "golden_requests_uri"
# Where it names the report of the tests that it passed in staging: without it, no package reaches production.
STAGING_REPORT_KEY = "staging_test_report_uri"


def partition(region: str) -> str:
    """The ARN partition that a region belongs to: `aws`, `aws-cn`, `aws-us-gov` …"""
    for prefix, name in (("cn-", "aws-cn"), ("us-gov-", "aws-us-gov"), ("eusc-", "aws-eusc")):
        if region.startswith(prefix):
            return name
    return "aws"


def dns_suffix(region: str) -> str:
    """What the hosts of a region's services end with."""
    return {"aws-cn": "amazonaws.com.cn", "aws-eusc": "amazonaws.eu"}.get(partition(region), "amazonaws.com")


@dataclass(frozen=True)
class Names:
    """The names of one project in one account and region.

    Raises ValueError when a part cannot be carried by the services' names.
    """

    project: str
    account_id: str
    region: str

    def __post_init__(self) -> None:
        if not re.fullmatch(PROJECT_PATTERN, self.project) or len(self.project) > PROJECT_LENGTH:
            raise ValueError(
                f"project name {self.project!r}: expected at most {PROJECT_LENGTH} lower-case letters, digits and "
                "single hyphens, a letter first, not beginning with `aws` or `ssm`"
            )
        if not re.fullmatch(ACCOUNT_PATTERN, self.account_id):
            raise ValueError(f"account id {self.account_id!r}: expected 12 digits")
        if not re.fullmatch(REGION_PATTERN, self.region):
            raise ValueError(f"region {self.region!r}: expected an AWS region such as eu-west-1")

    # --- account-wide ---------------------------------------------------------------------------------------------

    @property
    def bucket(self) -> str:
        return f"{self.project}-{self.account_id}-{self.region}"

    @property
    def role_name(self) -> str:
        """The role that pipelines and their jobs run as."""
        return f"{self.project}-execution"

    @property
    def role_arn(self) -> str:
        return f"arn:{partition(self.region)}:iam::{self.account_id}:role/{self.role_name}"

    @property
    def stack(self) -> str:
        """The CloudFormation stack of template/project.yml, where `mlops up` makes it; SageMaker calls it otherwise."""
        return self.project

    @property
    def stacks_role_arn(self) -> str:
        """The role by which CloudFormation makes the project's other stacks when CodePipeline asks it to."""
        return f"arn:{partition(self.region)}:iam::{self.account_id}:role/{self.project}-stacks"

    @property
    def template_bucket(self) -> str:
        """The account's bucket of what projects are made from (template/admin.yml), by version."""
        return f"mlops-templates-{self.account_id}-{self.region}"

    @property
    def launch_role_arn(self) -> str:
        """The role by which SageMaker makes projects (template/admin.yml)."""
        return f"arn:{partition(self.region)}:iam::{self.account_id}:role/mlops-launch"

    @property
    def boundary_arn(self) -> str:
        """The permissions boundary of every role of a project (template/admin.yml)."""
        return f"arn:{partition(self.region)}:iam::{self.account_id}:policy/mlops-boundary"

    @property
    def repository(self) -> str:
        """The CodeCommit repository."""
        return self.project

    @property
    def artifacts_bucket(self) -> str:
        """What CodePipeline's actions hand to each other lies here."""
        return f"{self.project}-cd-{self.account_id}-{self.region}"

    def code_pipeline(self, workload: str, kind: str) -> str:
        """The CodePipeline of a workload, e.g. `fraud-cardholders-build`."""
        if kind not in CODE_PIPELINES:
            raise ValueError(f"CodePipeline {kind!r}: expected one of {', '.join(CODE_PIPELINES)}")
        return f"{self.project}-{_workload(workload)}-{kind}"

    def build_project(self, project: str) -> str:
        """A CodeBuild project, e.g. `fraud-images`."""
        if project not in BUILD_PROJECTS:
            raise ValueError(f"CodeBuild project {project!r}: expected one of {', '.join(BUILD_PROJECTS)}")
        return f"{self.project}-{project}"

    @property
    def api_stack(self) -> str:
        """The CloudFormation stack of template/api.yml. Two hyphens, for a project may be called `fraud-api`."""
        return f"{self.project}--api"

    @property
    def ingestion_stack(self) -> str:
        """The CloudFormation stack of template/ingestion.yml. Two hyphens, for a project may be called `fraud-…`."""
        return f"{self.project}--{INGESTION}"

    @property
    def code_bucket(self) -> str:
        """Where the code of the Lambda functions lies before the stack exists that has the project's own bucket."""
        return f"{self.project}-fn-{self.account_id}-{self.region}"

    def function(self, function: str) -> str:
        """A Lambda function of the project, e.g. `fraud-approvals`."""
        return f"{self.project}-{function}"

    def function_arn(self, function: str) -> str:
        return f"arn:{partition(self.region)}:lambda:{self.region}:{self.account_id}:function:{self.function(function)}"

    def queue(self, queue: str) -> str:
        return f"{self.project}-{queue}"

    def queue_url(self, queue: str) -> str:
        return f"https://sqs.{self.region}.{dns_suffix(self.region)}/{self.account_id}/{self.queue(queue)}"

    @property
    def retraining_table(self) -> str:
        """The DynamoDB table that holds which alarms led to a retraining, and what came of it."""
        return f"{self.project}-retraining"

    @property
    def notices_topic(self) -> str:
        """The SNS topic of what people have to know."""
        return f"{self.project}-notices"

    @property
    def notices_topic_arn(self) -> str:
        return f"arn:{partition(self.region)}:sns:{self.region}:{self.account_id}:{self.notices_topic}"

    def dashboard(self, workload: str) -> str:
        """The CloudWatch dashboard of a workload."""
        return f"{self.project}-{_workload(workload)}"

    def monitor_alarm(self, workload: str, stage: str, alarm: str) -> str:
        """One of the alarms of a monitored stage, e.g. `fraud-forecaster-prod-quality`."""
        if alarm not in MONITOR_ALARMS:
            raise ValueError(f"alarm {alarm!r}: expected one of {', '.join(MONITOR_ALARMS)}")
        return f"{self.endpoint(workload, stage)}-{alarm}"

    def monitored_by(self, name: str) -> tuple[str, str, str] | None:
        """(workload, stage, alarm) of which `monitor_alarm` gives a name; None for the name of any other alarm."""
        for workload, stages in MONITORED.items():
            for stage in stages:
                for alarm in MONITOR_ALARMS:
                    if self.monitor_alarm(workload, stage, alarm) == name:
                        return workload, stage, alarm
        return None

    def schedule(self, workload: str, stage: str) -> str:
        """The schedule of a stage's hourly evaluation."""
        return f"{self.endpoint(workload, stage)}-hourly"

    @property
    def deployments_table(self) -> str:
        """The DynamoDB table that holds what is being deployed, and which decisions were acted on."""
        return f"{self.project}-deployments"

    # --- the stream -----------------------------------------------------------------------------------------------

    @property
    def ingestion_bus(self) -> str:
        """The EventBridge bus that transactions are published on."""
        return f"{self.project}-{INGESTION}"

    def stream(self, stream: str) -> str:
        """A Kinesis data stream, e.g. `fraud-transactions`."""
        return f"{self.project}-{stream}"

    @property
    def archive_delivery(self) -> str:
        """The Firehose stream that writes transactions to S3."""
        return f"{self.project}-archive"

    @property
    def seen_table(self) -> str:
        """The DynamoDB table of the transactions that have been passed on."""
        return f"{self.project}-seen"

    @property
    def ingestion_cluster(self) -> str:
        """The ECS cluster of the stream's containers."""
        return f"{self.project}-{INGESTION}"

    def task_family(self, program: str) -> str:
        """The ECS task definition of one of the stream's programs, and the name of its service."""
        return f"{self.project}-{program}"

    @property
    def flink_application(self) -> str:
        """The application of Managed Service for Apache Flink."""
        return f"{self.project}-minutes"

    def ingestion_alarm(self, alarm: str) -> str:
        """One of the stream's alarms, e.g. `fraud-ingestion-gaps`."""
        if alarm not in INGESTION_ALARMS:
            raise ValueError(f"alarm {alarm!r}: expected one of {', '.join(INGESTION_ALARMS)}")
        return f"{self.project}-{INGESTION}-{alarm}"

    @property
    def archive_uri(self) -> str:
        """Where Firehose writes: `{this}/day=2026-11-22/hour=14/….gz`, by the transactions' own time."""
        return f"s3://{self.bucket}/{INGESTION}/raw"

    @property
    def operator_uri(self) -> str:
        """Where the operator keeps how far it is."""
        return f"s3://{self.bucket}/{INGESTION}/operator"

    @property
    def replays_uri(self) -> str:
        """Where replays and compactions say what they did: `{this}/{task id}.json`."""
        return f"s3://{self.bucket}/{INGESTION}/replays"

    # --- Parameter Store ------------------------------------------------------------------------------------------

    def ssm_path(self, workload: str) -> str:
        """The path below which a workload's runtime values lie, with its trailing slash: `/project/cardholders/`."""
        return f"/{self.project}/{_workload(workload)}/"

    def ssm_parameter(self, workload: str, name: str) -> str:
        return self.ssm_path(workload) + name

    def serving_parameter(self, workload: str, stage: str) -> str:
        """The parameter that says, as JSON, what a stage serves: package, since when, by which execution."""
        return f"{self.ssm_path(workload)}{_stage(stage)}/serving"

    def monitoring_threshold(self, workload: str) -> str:
        """The parameter of the loss above which the model in production is taken for degraded."""
        return f"{self.ssm_path(workload)}monitoring/threshold"

    # --- SageMaker ------------------------------------------------------------------------------------------------

    def pipeline(self, workload: str, kind: str) -> str:
        """The pipeline's name, e.g. `fraud-cardholders-build`."""
        if kind not in KINDS:
            raise ValueError(f"pipeline kind {kind!r}: expected one of {', '.join(KINDS)}")
        return f"{self.project}-{_workload(workload)}-{kind}"

    def pipeline_arn(self, workload: str, kind: str) -> str:
        return self._sagemaker_arn(f"pipeline/{self.pipeline(workload, kind)}")

    def package_group(self, workload: str) -> str:
        return f"{self.project}-{_workload(workload)}"

    def feature_group(self, workload: str, features: str) -> str:
        """The feature group of one kind of features of a workload, e.g. `fraud-cardholders-holders`."""
        if not re.fullmatch(FEATURES_PATTERN, features) or len(features) > FEATURES_LENGTH:
            raise ValueError(
                f"features {features!r}: expected at most {FEATURES_LENGTH} lower-case letters, digits and single "
                "hyphens, a letter first"
            )
        return f"{self.project}-{_workload(workload)}-{features}"

    def endpoint(self, workload: str, stage: str) -> str:
        return f"{self.project}-{_workload(workload)}-{_stage(stage)}"

    def endpoint_config(self, workload: str, stage: str, digest: str) -> str:
        """The configuration that a deployment gives an endpoint. digest: of its execution, in hexadecimal digits."""
        return f"{self.endpoint(workload, stage)}-{digest[:ENDPOINT_CONFIG_DIGITS]}"

    def rollback_alarms(self, workload: str, stage: str) -> tuple[str, str]:
        """The alarms that roll an update of an endpoint back: its errors, and its latency."""
        endpoint = self.endpoint(workload, stage)
        return f"{endpoint}-errors", f"{endpoint}-latency"

    def _sagemaker_arn(self, resource: str) -> str:
        return f"arn:{partition(self.region)}:sagemaker:{self.region}:{self.account_id}:{resource}"

    # --- MLflow ---------------------------------------------------------------------------------------------------

    def experiment(self, workload: str) -> str:
        return f"{self.project}-{_workload(workload)}"

    def mlflow_model(self, workload: str, part: str) -> str:
        """The registered model of one part of a workload, e.g. `fraud-cardholders-clusters`."""
        return f"{self.project}-{_workload(workload)}-{part}"

    # --- images ---------------------------------------------------------------------------------------------------

    def image_repository(self, workload: str) -> str:
        """The ECR repository of a workload's image. A slash keeps a project's repositories together in the console."""
        return f"{self.project}/{_workload(workload)}"

    def image_tag(self, digest: str) -> str:
        """The tag of the image with this content digest (64 hexadecimal characters): `sha-` and its first 32."""
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise ValueError(f"image digest {digest!r}: expected 64 hexadecimal characters")
        return f"sha-{digest[:32]}"

    def image_uri(self, workload: str, digest: str) -> str:
        registry = f"{self.account_id}.dkr.ecr.{self.region}.{dns_suffix(self.region)}"
        return f"{registry}/{self.image_repository(workload)}:{self.image_tag(digest)}"

    def image_layer_key(self, workload: str, digest: str) -> str:
        return f"{_workload(workload)}/images/{self.image_tag(digest)}/layer.tar.gz"

    # --- S3 -------------------------------------------------------------------------------------------------------

    def data_prefix(self, workload: str) -> str:
        """The S3 key prefix of a workload's input data."""
        return f"{_workload(workload)}/data"

    def uploads_prefix(self, workload: str) -> str:
        """Where files that a person brings lie, each in a folder named by its content.

        Apart from the workload's own data, of which every file is read.
        """
        return f"{_workload(workload)}/uploads"

    def data_uri(self, workload: str) -> str:
        return f"s3://{self.bucket}/{self.data_prefix(workload)}"

    def outputs_uri(self, workload: str, kind: str) -> str:
        """Where the executions of a pipeline write; each below its own id: `{this}/{execution id}/{step}/`."""
        if kind not in KINDS:
            raise ValueError(f"pipeline kind {kind!r}: expected one of {', '.join(KINDS)}")
        return f"s3://{self.bucket}/{_workload(workload)}/{kind}"

    def monitor_uri(self, workload: str, stage: str) -> str:
        """Where what the monitoring finds of a stage lies; the file docs/concepts/monitoring.md says what is there."""
        return f"{self.outputs_uri(workload, 'monitor')}/{_stage(stage)}"

    def capture_uri(self, workload: str) -> str:
        """Where endpoints capture requests and answers; SageMaker adds `/{endpoint}/{variant}/{year}/…`."""
        return f"s3://{self.bucket}/{_workload(workload)}/capture"

    @property
    def feature_store_uri(self) -> str:
        """Where the feature groups' offline stores lie; SageMaker adds account, region and table."""
        return f"s3://{self.bucket}/feature-store"

    @property
    def queries_uri(self) -> str:
        """Where Athena writes the results of queries."""
        return f"s3://{self.bucket}/athena"

    def ground_truth_uri(self, workload: str) -> str:
        """Where what really happened lies: `{this}/yyyy/mm/dd/hh/{inference id}.jsonl`, by the inference's hour."""
        return f"s3://{self.bucket}/{_workload(workload)}/ground-truth"

    def models_uri(self, workload: str) -> str:
        """Where training jobs write their model.tar.gz; SageMaker adds `/{job name}/output/model.tar.gz`."""
        return f"s3://{self.bucket}/{_workload(workload)}/models"


@dataclass(frozen=True)
class LocalPaths:
    """The files of a working copy, from its root folder. None of them need exist."""

    root: Path

    @property
    def configs(self) -> Path:
        return self.root / "configs"

    @property
    def template(self) -> Path:
        return self.root / "template" / "project.yml"

    @property
    def api_template(self) -> Path:
        return self.root / "template" / "api.yml"

    @property
    def ingestion_template(self) -> Path:
        return self.root / "template" / "ingestion.yml"

    @property
    def flink_job(self) -> Path:
        """The folder of the Flink application's code."""
        return self.images / INGESTION / "flink"

    @property
    def flink_connector(self) -> Path:
        """Where a build puts the connector's jar, in `lib/`: neither the repository nor the image has it."""
        return self.state / "flink"

    @property
    def admin_template(self) -> Path:
        return self.root / "template" / "admin.yml"

    @property
    def seed_manifest(self) -> Path:
        """What a new repository gets of this one."""
        return self.root / "template" / "seed.yml"

    @property
    def packaged(self) -> Path:
        """What `mlops package` writes: a template and its parameters for each stack that CodePipeline makes."""
        return self.state / "packaged"

    @property
    def api_document(self) -> Path:
        return self.images / "api" / "openapi.yml"

    @property
    def api_page(self) -> Path:
        """The page that shows the API's document, written by `mlops api`."""
        return self.state / "api.html"

    @property
    def local_overrides(self) -> Path:
        """What a laptop overrides; `mlops up` names it in MLOPS_OVERRIDES."""
        return self.configs / "local.yml"

    @property
    def images(self) -> Path:
        return self.root / "seed_code"

    def dockerfile(self, workload: str) -> Path:
        return self.images / _workload(workload) / "Dockerfile"

    @property
    def state(self) -> Path:
        """The folder of everything that is made here and can be deleted; never committed."""
        return self.root / ".mlops"

    @property
    def environment(self) -> Path:
        """The variables of the running localcloud (dotenv), written by `mlops up`, removed by `mlops down`."""
        return self.state / "env"

    @property
    def definitions_cache(self) -> Path:
        return self.state / "cache" / "definitions"

    @property
    def lint_cache(self) -> Path:
        """Which templates cfn-lint found nothing in, by their content."""
        return self.state / "cache" / "cfn-lint"

    @property
    def account(self) -> Path:
        """Which accounts credentials are of, as STS told (JSON)."""
        return self.state / "account"


def _stage(stage: str) -> str:
    if stage not in STAGES:
        raise ValueError(f"stage {stage!r}: expected one of {', '.join(STAGES)}")
    return stage


def _workload(workload: str) -> str:
    if not re.fullmatch(WORKLOAD_PATTERN, workload) or len(workload) > WORKLOAD_LENGTH:
        raise ValueError(
            f"workload {workload!r}: expected at most {WORKLOAD_LENGTH} lower-case letters, digits and single hyphens, "
            "a letter first"
        )
    return workload
