"""A month's bill, line by line, from the configuration, the templates and the assumptions; no account is asked.

Each line is a quantity of something that has a price. Where scaling decides, `most` is the quantity at its upper bound.
List prices, without free tiers, discounts and tax. Left out, because they come to cents: requests to KMS, SNS, SQS,
Athena, Scheduler and Parameter Store, and transfers within the region.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines import names as n
from pipelines.config import Configuration, Job, Stage, Workloads
from pipelines.cost import price_list
from pipelines.cost.assumptions import Assumptions, Measured
from pipelines.cost.budget import use_of
from pipelines.cost.price_list import Price, PriceList, PriceMissing
from pipelines.names import LocalPaths
from pipelines.reference import templates

__all__ = ["Estimate", "Line", "Priced", "by_part", "estimate", "lines", "machines", "title_of"]

_KB, _MILLION = 1 / 1_000_000, 1 / 1_000_000  # in GB; of requests
_STREAM, _API, _PROJECT = "stream", "api", "project"
# Of a workload's stages: what trains it, and what watches it.
_BUILD, _MONITOR = "build", "monitor"
_STEPS_OF_MONITOR = ("monitor", "drift_report")
_LOG_MONTHS = 3
_FLINK_STORAGE_GB = 50
# Where machines have no disk of their own, an endpoint's get this.
_ENDPOINT_GB = 30
# A GB of the archive is two thirds smaller than what came, and each record is billed as 5 KB on its way there.
_ARCHIVED_KB, _DELIVERED_KB = 0.3, 5
_FUNCTION_GB = 0.5
_STREAM_FUNCTION_GB = 0.25
_COMPUTE = {"BUILD_GENERAL1_SMALL": "small", "BUILD_GENERAL1_MEDIUM": "medium", "BUILD_GENERAL1_LARGE": "large"}


@dataclass(frozen=True)
class Line:
    """One line of the bill.

    Attributes:
        part: a workload, or `stream`, `api`, `project`.
        stage: of a workload `build`, `monitor`, `staging` or `prod`; else empty.
        resource: what it is.
        price: the key of its price.
        quantity: units of that price in a month.
        most: the same where scaling has reached its upper bound.
        how: how the quantity comes about.
    """

    part: str
    stage: str
    resource: str
    price: str
    quantity: float
    how: str
    most: float | None = None


@dataclass(frozen=True)
class Priced:
    """A line with its price: US dollars a month, and at most."""

    line: Line
    price: Price

    @property
    def dollars(self) -> float:
        return self.line.quantity * self.price.dollars

    @property
    def at_most(self) -> float:
        return self.dollars if self.line.most is None else self.line.most * self.price.dollars


@dataclass(frozen=True)
class Estimate:
    """A month's bill.

    Attributes:
        priced: the lines that have a price.
        unpriced: the lines that have none, which the totals lack.
    """

    region: str
    date: str
    priced: tuple[Priced, ...]
    unpriced: tuple[Line, ...]

    def subtotals(self) -> dict[tuple[str, str], tuple[float, float]]:
        """US dollars, and at most, by part and stage, in the lines' order."""
        sums: dict[tuple[str, str], tuple[float, float]] = {}
        for each in self.priced:
            key = (each.line.part, each.line.stage)
            low, high = sums.get(key, (0.0, 0.0))
            sums[key] = (low + each.dollars, high + each.at_most)
        return sums

    @property
    def dollars(self) -> float:
        return sum(each.dollars for each in self.priced)

    @property
    def at_most(self) -> float:
        return sum(each.at_most for each in self.priced)

    @property
    def unconfirmed(self) -> list[str]:
        """The keys of prices that the Pricing API has not confirmed."""
        return sorted({each.line.price for each in self.priced if not each.price.confirmed})


def estimate(
    configuration: Configuration, root: Path, prices: PriceList, assumed: Assumptions, measured: Measured | None = None
) -> Estimate:
    """The bill. root: the working copy, for its templates. measured: minutes of steps that an account has told of."""
    priced: list[Priced] = []
    unpriced: list[Line] = []
    for line in lines(configuration, root, assumed, measured or {}):
        try:
            priced.append(Priced(line, prices[line.price]))
        except PriceMissing:
            unpriced.append(line)
    return Estimate(prices.region, prices.date, tuple(priced), tuple(unpriced))


def machines(configuration: Configuration) -> set[tuple[str, str]]:
    """Every machine of SageMaker's that the configuration names: (use, instance type)."""
    found: set[tuple[str, str]] = set()
    for name in Workloads.model_fields:
        steps = getattr(configuration.workloads, name).steps
        for step in type(steps).model_fields:
            found.add((use_of(step), getattr(steps, step).instance_type))
    for name in n.STAGES:
        stage: Stage = getattr(configuration.stages, name)
        if stage.endpoint.instance_type is not None:
            found.add(("hosting", stage.endpoint.instance_type))
    return found


def lines(configuration: Configuration, root: Path, assumed: Assumptions, measured: Measured) -> Iterator[Line]:
    """The lines that come to anything, by part: workloads, stream, api, project."""
    read = _Templates(root)
    for workload in Workloads.model_fields:
        bill = _Workload(configuration, workload, assumed, measured, read)
        yield from _some(bill.build())
        yield from _some(bill.monitoring())
        for stage in n.STAGES:
            yield from _some(bill.endpoint(stage))
    if configuration.ingestion.running:
        yield from _some(_stream(configuration, assumed))
    yield from _some(_api(configuration, assumed, read))
    yield from _some(_project(configuration, assumed, read))


def _some(found: Iterable[Line]) -> Iterator[Line]:
    return (line for line in found if line.quantity > 0 or (line.most or 0) > 0)


class _Templates:
    """What is counted in the templates."""

    def __init__(self, root: Path) -> None:
        folder = LocalPaths(root).template.parent
        self._read = {name: templates.read(folder, name) for name in ("project", "api", "ingestion")}

    def of(self, name: str, kind: str) -> list[dict[str, Any]]:
        return [properties for _, properties in templates.resources(self._read[name], kind)]

    def count(self, kind: str, *names: str) -> int:
        return sum(len(self.of(name, kind)) for name in names)

    def compute(self) -> str:
        """The size of the machines of CodeBuild."""
        sizes = {found["Environment"].get("ComputeType") for found in self.of("project", "AWS::CodeBuild::Project")}
        known = [size for name, size in _COMPUTE.items() if name in sizes]
        return known[-1] if known else "small"


class _Workload:
    """The lines of one workload."""

    def __init__(
        self, configuration: Configuration, name: str, assumed: Assumptions, measured: Measured, read: _Templates
    ) -> None:
        self.configuration, self.name, self.assumed, self.measured = configuration, name, assumed, measured
        self.compute = read.compute()
        self.steps = getattr(configuration.workloads, name).steps

    def build(self) -> Iterator[Line]:
        """The jobs of the build pipeline, and what starts and awaits it."""
        runs, minutes = self.assumed.builds, 0.0
        for step in self._fields():
            if step not in _STEPS_OF_MONITOR:
                minutes += self._minutes(step)
                yield from self._job(_BUILD, step, runs)
        awaited = self.assumed.codebuild_minutes + minutes
        deployed = self.assumed.deployments * self.assumed.deployment_minutes
        total = runs * awaited + deployed
        how = f"{runs:g} pushes x {awaited:g} min, {self.assumed.deployments:g} deployments x "
        how += f"{self.assumed.deployment_minutes:g} min"
        yield self._line(_BUILD, f"CodeBuild, {self.compute}", f"codebuild/{self.compute}", total, how)
        yield self._line(_BUILD, "CodePipeline V2", "codepipeline/action", total, how)

    def monitoring(self) -> Iterator[Line]:
        """The evaluations of every hour, and the reports."""
        stages = n.MONITORED.get(self.name, ())
        yield from self._job(
            _MONITOR,
            "monitor",
            self.assumed.hours * len(stages),
            f" x {len(stages)} {'stage' if len(stages) == 1 else 'stages'}",
        )
        yield from self._job(_MONITOR, "drift_report", self.assumed.drift_reports)

    def endpoint(self, stage: str) -> Iterator[Line]:
        """What serves a stage."""
        configured: Stage = getattr(self.configuration.stages, stage)
        assumed, endpoint = self.assumed, configured.endpoint
        requests = assumed.requests if stage == "prod" else assumed.staging_requests
        if endpoint.instance_type is not None and endpoint.instance_count is not None:
            scaling = configured.scaling
            count = endpoint.instance_count if scaling is None else scaling.min_instances
            most = None if scaling is None else scaling.max_instances
            bounds = f"{count}" if most is None else f"{count} to {most}"
            yield self._line(
                stage,
                f"endpoint, {bounds} x {endpoint.instance_type}",
                price_list.instance("hosting", endpoint.instance_type),
                count * assumed.hours,
                f"{assumed.hours:g} h",
                None if most is None else most * assumed.hours,
            )
            gb = None if most is None else float(most * _ENDPOINT_GB)
            key = price_list.volume("hosting")
            yield self._line(stage, "its disks", key, count * _ENDPOINT_GB, f"{_ENDPOINT_GB} GB each", gb)
        else:
            seconds = requests * assumed.request_seconds
            how = f"{requests:g} requests x {assumed.request_seconds:g} s"
            key = f"sagemaker/serverless/{endpoint.memory_mb}"
            yield self._line(stage, f"endpoint, serverless, {endpoint.memory_mb} MB", key, seconds, how)
        gb_moved, how = requests * assumed.request_kb * _KB, f"{requests:g} requests x {assumed.request_kb:g} KB"
        yield self._line(stage, "requests", "sagemaker/data-in", gb_moved, how)
        yield self._line(stage, "answers", "sagemaker/data-out", gb_moved, how)

    def _job(self, stage: str, step: str, runs: float, note: str = "") -> Iterator[Line]:
        """A step's machines, and their disks."""
        job, use = getattr(self.steps, step), use_of(step)
        hours = runs * self._minutes(step) / 60 * job.instance_count
        times = f"{runs:g}" if not note else f"{self.assumed.hours:g}{note}"
        how = f"{times} x {self._minutes(step):g} min" + (f" x {job.instance_count}" if job.instance_count > 1 else "")
        title = title_of(step)
        yield self._line(
            stage, f"{title}, {job.instance_type}", price_list.instance(use, job.instance_type), hours, how
        )
        if isinstance(job, Job):
            gb = job.volume_gb * hours / self.assumed.hours if self.assumed.hours else 0.0
            yield self._line(stage, f"{title}, disk", price_list.volume(use), gb, f"{job.volume_gb} GB")

    def _minutes(self, step: str) -> float:
        if f"{step}_minutes" in self.assumed.given:
            return self.assumed.minutes(step)
        return self.measured.get((self.name, step), self.assumed.minutes(step))

    def _fields(self) -> list[str]:
        return list(type(self.steps).model_fields)

    def _line(
        self, stage: str, resource: str, price: str, quantity: float, how: str, most: float | None = None
    ) -> Line:
        return Line(self.name, stage, resource, price, quantity, how, most)


def title_of(step: str) -> str:
    """The name of a step in its pipeline: `train_clusters` is TrainClusters, `monitor` its pipeline's Evaluate."""
    return "Evaluate" if step == "monitor" else "".join(word.capitalize() for word in step.split("_"))


def _stream(configuration: Configuration, assumed: Assumptions) -> Iterator[Line]:
    ingestion, hours = configuration.ingestion, assumed.hours
    transactions = assumed.transactions_per_second * assumed.seconds
    events = assumed.events_per_second * assumed.seconds
    minutes = assumed.hours * 60

    def line(resource: str, price: str, quantity: float, how: str) -> Line:
        return Line(_STREAM, "", resource, price, quantity, how)

    each = f"{assumed.transactions_per_second:g} transactions a second"
    yield line("Kinesis, two streams", "kinesis/stream", 2 * hours, "on demand")
    yield line("Kinesis, in", "kinesis/in", transactions * _KB, f"{each}, 1 KB")
    yield line("Kinesis, out", "kinesis/out", 2 * transactions * _KB, "to the archive and to the minutes")
    yield line("Firehose", "firehose/in", transactions * _DELIVERED_KB * _KB, f"{each}, billed as 5 KB")
    yield line("Firehose, by day and hour", "firehose/partitioning", transactions * _KB, f"{each}, 1 KB")
    yield line("Firehose, files", "firehose/objects", minutes / 1000, "one a minute")
    months = ingestion.archive.days / 30
    archived = transactions * _ARCHIVED_KB * _KB * months
    yield line("archive in S3", "s3/storage", archived, f"{ingestion.archive.days} days, compressed")
    yield line("archive, writes", "s3/writes", minutes / 1000, "one a minute")
    yield line("EventBridge", "events/custom", events * _MILLION, f"{assumed.events_per_second:g} a second")
    yield line("DynamoDB, transactions that are known", "dynamodb/writes", transactions * _MILLION, each)
    calls = events + minutes
    yield line("Lambda, calls", "lambda/requests", calls * _MILLION, "an event, a minute")
    seconds = calls * 0.1 * _STREAM_FUNCTION_GB
    yield line("Lambda, time", "lambda/duration", seconds, f"0.1 s of {_STREAM_FUNCTION_GB:g} GB each")
    yield line("Feature Store, minutes", "sagemaker/features-write", minutes * _MILLION, "a record a minute")
    yield from _containers(configuration, hours, line)
    yield line("KMS key", "kms/key", 1, "of the stream")


def _containers(configuration: Configuration, hours: float, line: Any) -> Iterator[Line]:
    ingestion = configuration.ingestion
    tasks = [("poller", ingestion.poller.container, ingestion.poller.spot)]
    if ingestion.aggregate.by == "operator":
        tasks.append(("operator", ingestion.aggregate.container, False))
    else:
        yield line("Flink, one unit and its manager", "flink/unit", 2 * hours, f"{hours:g} h")
        yield line("Flink, storage", "flink/storage", _FLINK_STORAGE_GB, f"{_FLINK_STORAGE_GB} GB a unit")
    for task, container, spot in tasks:
        kind, shown = ("spot-", ", Spot") if spot else ("", "")
        cpus, gb = container.cpu / 1024, container.memory_mb / 1024
        yield line(f"Fargate, {task}{shown}, CPU", f"fargate/{kind}vcpu", cpus * hours, f"{cpus:g} vCPU x {hours:g} h")
        yield line(f"Fargate, {task}{shown}, memory", f"fargate/{kind}memory", gb * hours, f"{gb:g} GB x {hours:g} h")
    if ingestion.network.public_addresses:
        how = f"{len(tasks)} tasks x {hours:g} h"
        yield line("public IPv4 addresses", "network/address", len(tasks) * hours, how)


def _api(configuration: Configuration, assumed: Assumptions, read: _Templates) -> Iterator[Line]:
    settings = configuration.project.api
    requests = assumed.requests * len(Workloads.model_fields)
    how = f"{assumed.requests:g} for each workload"
    rules = sum(len(found.get("Rules", [])) for found in read.of("api", "AWS::WAFv2::WebACL"))

    def line(resource: str, price: str, quantity: float, how: str) -> Line:
        return Line(_API, "", resource, price, quantity, how)

    yield line("API Gateway, requests", "apigateway/requests", requests * _MILLION, how)
    if settings.cache_gb != "0":
        key = f"apigateway/cache/{settings.cache_gb}"
        yield line(f"API Gateway, cache of {settings.cache_gb} GB", key, assumed.hours, f"{assumed.hours:g} h")
    yield line("WAF", "waf/acl", read.count("AWS::WAFv2::WebACL", "api"), "one for the API")
    yield line("WAF, rules", "waf/rule", rules, f"{rules} rules")
    yield line("WAF, requests", "waf/requests", requests * _MILLION, how)
    yield line("Lambda, calls", "lambda/requests", requests * _MILLION, how)
    seconds = requests * assumed.request_seconds * _FUNCTION_GB
    yield line("Lambda, time", "lambda/duration", seconds, f"{assumed.request_seconds:g} s of {_FUNCTION_GB:g} GB each")
    yield line("Cognito", "cognito/user", assumed.api_users, f"{assumed.api_users:g} users")


def _project(configuration: Configuration, assumed: Assumptions, read: _Templates) -> Iterator[Line]:
    stacks = ("project", "api", *(("ingestion",) if configuration.ingestion.running else ()))
    alarms = read.count("AWS::CloudWatch::Alarm", *stacks)
    dashboards = read.count("AWS::CloudWatch::Dashboard", *stacks)
    keys = read.count("AWS::KMS::Key", "project")
    holders = assumed.holders * assumed.builds
    groups = read.count("AWS::SageMaker::FeatureGroup", "project", "ingestion")

    def line(resource: str, price: str, quantity: float, how: str) -> Line:
        return Line(_PROJECT, "", resource, price, quantity, how)

    yield line("MLflow tracking server", "sagemaker/mlflow", assumed.mlflow_hours, f"{assumed.mlflow_hours:g} h")
    yield line("CloudWatch alarms", "cloudwatch/alarm", alarms, "in the templates")
    yield line("CloudWatch dashboards", "cloudwatch/dashboard", dashboards, "in the templates")
    yield line("CloudWatch metrics", "cloudwatch/metric", assumed.metrics, "of its own")
    yield line("logs", "cloudwatch/logs", assumed.logs_gb, f"{assumed.logs_gb:g} GB")
    kept = assumed.logs_gb * _LOG_MONTHS
    yield line("logs, kept", "cloudwatch/log-storage", kept, f"{_LOG_MONTHS} months")
    yield line("Feature Store, cardholders", "sagemaker/features-write", holders * _MILLION, "written once a build")
    reads = assumed.requests * len(Workloads.model_fields)
    yield line("Feature Store, reads", "sagemaker/features-read", reads * _MILLION, "one a request")
    stored = assumed.holders * _KB + assumed.hours * 60 * _KB
    yield line("Feature Store, online", "sagemaker/features-storage", stored, f"{groups} groups, 1 KB a record")
    yield line("S3", "s3/storage", assumed.storage_gb, f"{assumed.storage_gb:g} GB")
    yield line("S3, writes", "s3/writes", (reads + holders / 100) / 1000, "captured requests, offline store")
    yield line("S3, reads", "s3/reads", reads / 1000, "of the same")
    yield line("ECR", "ecr/storage", assumed.images_gb, f"{assumed.images_gb:g} GB")
    yield line("KMS keys", "kms/key", keys, "in the templates")


def by_part(found: Estimate) -> Mapping[tuple[str, str], list[Priced]]:
    """The priced lines by part and stage, in their order."""
    groups: dict[tuple[str, str], list[Priced]] = {}
    for each in found.priced:
        groups.setdefault((each.line.part, each.line.stage), []).append(each)
    return groups
