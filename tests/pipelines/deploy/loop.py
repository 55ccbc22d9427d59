"""The whole loop from an approval to an endpoint, to be driven by tests: a localcloud of its own, the project's stack
in it, a model server that does what its model says, and a stand-in for MLflow.

Nothing is called that AWS would not have: decisions are UpdateModelPackage, and what comes of them comes by events.
What the tests wait for they ask for until it is so. They let time pass by localcloud's `advance`, for which it is
theirs alone.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from localcloud import instance
from pipelines import definitions, deployment, executions, images, provision
from pipelines import names as n
from pipelines.config import Workloads
from pipelines.session import client
from tests.conftest import Localcloud
from tests.contract.sagemaker_account import until
from tests.model_server import program
from tests.pipelines.conftest import ROOT, Project
from tests.records import leave

ENDED = ("Succeeded", "Failed", "Stopped")
CARDHOLDERS, FORECASTER = Workloads.model_fields

SERVER = program("""
# A model that multiplies: its model.json says by what, and how it misbehaves.
model = json.loads((Path(os.environ["SAGEMAKER_BASE_DIR"]) / "model" / "model.json").read_text())
time.sleep(model["slow_seconds"])
if model["crashes"]:
    print("there is no such layer", flush=True)
    sys.exit(3)


def respond(document):
    x = document.get("x")
    if x is None:
        return 400, {"error": "x is missing"}
    if x in model["dies_of"]:
        os._exit(9)
    if x in model["fails_at"]:
        return 500, {"error": "a bug"}
    return 200, {"y": model["factor"] * x + (x in model["wrong_at"])}
""")
DOCKERFILE = """\
FROM python:3.11-slim
ENV PATH=/opt/program/bin:/usr/local/bin:/usr/bin:/bin
WORKDIR /opt/program
COPY --chmod=755 seed_code/{workload}/serve /opt/program/bin/serve
"""
# The requests that every package is tested by.
TESTED = (1, 2, 3)

STAGES = {
    "staging": """\
endpoint: {mode: real-time, instance_type: ml.t2.medium, instance_count: 1}
capture: {percent: 100}
deployment: {traffic: ALL_AT_ONCE, wait_seconds: 0, termination_wait_seconds: 0, timeout_seconds: 600}
""",
    # Its wait is long enough for a canary to meet a request, and nobody sits through it but who looks at the canary.
    "prod": """\
endpoint: {mode: real-time, instance_type: ml.m5.large, instance_count: 2}
capture: {percent: 100}
deployment:
  traffic: CANARY
  step_percent: 50
  wait_seconds: 1
  termination_wait_seconds: 0
  timeout_seconds: 600
scaling: {min_instances: 2, max_instances: 4, invocations_per_instance: 3000}
""",
}


@contextmanager
def started() -> Iterator[Localcloud]:
    """A localcloud for one's own use, with temporary state."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MLOPS_", "MLFLOW_"))}
    command = [sys.executable, "-m", "localcloud", "up", "--port", "0"]
    with subprocess.Popen(
        command, cwd=ROOT, env={**clean, "AWS_DEFAULT_REGION": "eu-west-1"}, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "http://127.0.0.1:" in line, f"localcloud did not start: {line!r}; its messages are above"
            endpoint = f"http://127.0.0.1:{line.partition('http://127.0.0.1:')[2].split()[0]}"
            keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}
            region = {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_REGION": "eu-west-1"}
            yield Localcloud(endpoint, {"AWS_ENDPOINT_URL": endpoint, **keys, **region})
            leave(endpoint)
        finally:
            process.terminate()


@dataclass
class Mlflow:
    """What stands in for MLflow: it takes aliases, and keeps the requests. `status` is what it answers."""

    url: str = ""
    status: int = 200
    aliases: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def mlflow_server() -> Iterator[Mlflow]:
    """MLflow's stand-in, while the block lasts."""
    found = Mlflow()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/api/2.0/mlflow/registered-models/alias"
            found.aliases.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(found.status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        found.url = f"http://127.0.0.1:{server.server_port}"
        yield found
        server.shutdown()
        thread.join()


@dataclass(frozen=True)
class Package:
    """A model package, and what its model multiplies by."""

    arn: str
    version: int
    workload: str
    factor: int
    model_key: str


class Loop:
    """A project with its stack, its images and its deploy pipelines. Names below: `stage` is `staging` or `prod`."""

    def __init__(self, project: Project, mlflow: Mlflow, localcloud: Localcloud) -> None:
        self.project, self.mlflow, self.localcloud = project, mlflow, localcloud
        self._port = int(localcloud.endpoint.rpartition(":")[2])
        self._clients: dict[str, Any] = {}
        self._factors = itertools.count(2)
        self._images: dict[str, str] = {}
        self._packages: dict[str, Package] = {}
        self.tested: set[str] = set()
        """The tests that have run, by their names: what they called is in localcloud's record."""

    @property
    def names(self) -> n.Names:
        return self.project.names

    def client(self, service: str) -> Any:
        """The boto3 client of a service, made once."""
        if service not in self._clients:
            self._clients[service] = client(self.project.session, service)
        return self._clients[service]

    @property
    def sagemaker(self) -> Any:
        return self.client("sagemaker")

    # --- making it ------------------------------------------------------------------------------------------------

    def deploy_stack(self) -> None:
        """The stack, and the images."""
        root, session = self.project.root, self.project.session
        provision.provision(session, self.project.configuration, root, tracking_uri=self.mlflow.url, poll_seconds=0.05)
        for image in images.register_all(session, self.names, root):
            self._images[image.workload] = image.uri

    def bring_pipelines(self, workloads: Iterable[str] = (CARDHOLDERS, FORECASTER)) -> None:
        """The deploy pipelines, as `mlops approve` brings them."""
        for workload in workloads:
            for kind in n.DEPLOY_KINDS.values():
                request = definitions.request(workload, kind, self.project.configuration, self.project.root)
                deployment.upsert(self.project.session, request)

    # --- packages and decisions -----------------------------------------------------------------------------------

    def package(
        self,
        workload: str = CARDHOLDERS,
        *,
        golden: bool = True,
        image: str | None = None,
        metadata: Mapping[str, str] | None = None,
        **model: Any,
    ) -> Package:
        """Register a package. model: how its server misbehaves, see SERVER."""
        factor = next(self._factors)
        folder = f"{workload}/models/{factor}"
        self._put_model(f"{folder}/model.tar.gz", factor, **model)
        lines = [
            {"name": f"x is {x}", "body": {"x": x}, "status": 200, "answer": {"y": factor * x}} for x in TESTED
        ] + [{"name": "no x", "body": {}, "status": 400, "answer": {"error": "x is missing"}}]
        text = "\n".join(json.dumps({"content_type": "application/json", "tolerance": 1e-6, **line}) for line in lines)
        self.put_object(f"{folder}/golden.jsonl", text.encode())
        kept = dict(metadata or {})
        if golden:
            kept[n.GOLDEN_REQUESTS_KEY] = self.uri(f"{folder}/golden.jsonl")
        arn = self.sagemaker.create_model_package(
            ModelPackageGroupName=self.names.package_group(workload),
            ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification={
                "Containers": [
                    {
                        "Image": image or self._images[workload],
                        "ModelDataUrl": self.uri(f"{folder}/model.tar.gz"),
                    }
                ],
                "SupportedContentTypes": ["application/json"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
            **({"CustomerMetadataProperties": kept} if kept else {}),
        )["ModelPackageArn"]
        made = Package(arn, int(arn.rpartition("/")[2]), workload, factor, f"{folder}/model.tar.gz")
        self._packages[arn] = made
        return made

    def _put_model(
        self,
        key: str,
        factor: int,
        *,
        wrong_at: Sequence[int] = (),
        fails_at: Sequence[int] = (),
        dies_of: Sequence[int] = (),
        crashes: bool = False,
        slow_seconds: float = 0,
    ) -> None:
        model = {
            "factor": factor,
            "wrong_at": wrong_at,
            "fails_at": fails_at,
            "dies_of": dies_of,
            "crashes": crashes,
            "slow_seconds": slow_seconds,
        }
        text, content = json.dumps(model).encode(), io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz", compresslevel=1) as archive:
            entry = tarfile.TarInfo("model.json")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
        self.put_object(key, content.getvalue())

    def approved(self, workload: str = CARDHOLDERS, **given: Any) -> Package:
        """A package that is approved, of which nothing comes: its event is lost."""
        package = self.package(workload, **given)
        with self.without_events("decisions"):
            self.decide(package, "staging")
        return package

    def tag_image(self, tag: str, *, change: bool = False) -> tuple[str, str]:
        """Give the cardholders' image another tag, or give that tag to another image; URI and digest."""
        ecr, uri = self.client("ecr"), self._images[CARDHOLDERS]
        repository = self.names.image_repository(CARDHOLDERS)
        [found] = ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": uri.rpartition(":")[2]}])[
            "images"
        ]
        manifest = json.loads(found["imageManifest"])
        if change:
            manifest["layers"][0]["digest"] = f"sha256:{'0' * 64}"
            # A tag of the project's repositories does not move; whoever may delete it can give it again.
            ecr.batch_delete_image(repositoryName=repository, imageIds=[{"imageTag": tag}])
        put = ecr.put_image(repositoryName=repository, imageManifest=json.dumps(manifest), imageTag=tag)["image"]
        return f"{uri.rpartition(':')[0]}:{tag}", str(put["imageId"]["imageDigest"])

    def uri(self, key: str) -> str:
        """Of an object in the project's bucket."""
        return f"s3://{self.names.bucket}/{key}"

    def put_object(self, key: str, content: bytes) -> None:
        self.client("s3").put_object(Bucket=self.names.bucket, Key=key, Body=content)

    def decide(self, package: Package, stage: str, word: str = "Approved") -> None:
        """Write a decision on a package, as `mlops approve` and `mlops reject` do."""
        decided: dict[str, Any] = {"ModelApprovalStatus": word}
        if stage == "prod":
            decided = {"ModelLifeCycle": {"Stage": "prod", "StageStatus": word, "StageDescription": "a test"}}
        self.sagemaker.update_model_package(ModelPackageArn=package.arn, **decided)

    def reject_all_but(self, package: Package) -> None:
        """Let one package be the only one of its workload that is approved; nothing comes of the rejections."""
        pages = self.sagemaker.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=self.names.package_group(package.workload), ModelApprovalStatus="Approved"
        )
        with self.without_events("decisions"):
            for summary in [summary for page in pages for summary in page["ModelPackageSummaryList"]]:
                if summary["ModelPackageArn"] != package.arn:
                    self.decide(self._packages[summary["ModelPackageArn"]], "staging", "Rejected")

    def metadata(self, package: Package) -> dict[str, str]:
        described = self.sagemaker.describe_model_package(ModelPackageName=package.arn)
        found: dict[str, str] = described.get("CustomerMetadataProperties", {})
        return found

    # --- deployments ----------------------------------------------------------------------------------------------

    def deployments(self, package: Package, stage: str) -> list[dict[str, Any]]:
        """The executions that have deployed a package to a stage, in their order."""
        pipeline = self.names.pipeline(package.workload, n.DEPLOY_KINDS[stage])
        pages = self.sagemaker.get_paginator("list_pipeline_executions").paginate(
            PipelineName=pipeline, SortBy="CreationTime", SortOrder="Ascending"
        )
        return [
            execution
            for page in pages
            for execution in page["PipelineExecutionSummaries"]
            if execution.get("PipelineExecutionDisplayName") == f"version-{package.version}"
        ]

    def started(self, package: Package, stage: str, number: int = 1) -> str:
        """The ARN of the n-th execution that deploys a package to a stage, once it is there."""

        def there() -> str | None:
            found = self.deployments(package, stage)
            return str(found[number - 1]["PipelineExecutionArn"]) if len(found) >= number else None

        return str(until(there, f"version {package.version} is being deployed to {stage}"))

    def ended(self, package: Package, stage: str, number: int = 1) -> executions.Execution:
        """That execution, once it has ended and given its stage back."""
        return self.end_of(self.started(package, stage, number), package.workload, stage)

    def removed(self, package: Package, stage: str) -> executions.Execution:
        """The execution that deploys a package to a stage, once it has removed the endpoint that it made, and ended.

        SageMaker tells nobody when an endpoint is gone: the message of the step that waits comes again after a minute.
        """
        arn = self.started(package, stage)

        def gone() -> bool:
            waits = executions.read(self.sagemaker, arn).step("WaitForRollBack")
            return waits is not None and waits.started is not None and self.endpoint(package.workload, stage) is None

        until(gone, f"the endpoint of {stage} is removed")
        self.advance(61)
        return self.end_of(arn, package.workload, stage)

    def end_of(self, arn: str, workload: str, stage: str) -> executions.Execution:
        def there() -> bool:
            described = self.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
            held = self.held(workload, stage)
            return described["PipelineExecutionStatus"] in ENDED and (held is None or held["Execution"] != arn)

        until(there, f"{arn} has ended")
        return executions.read(self.sagemaker, arn)

    def deploy(self, package: Package, stage: str) -> None:
        """Approve a package and see it served; for prod by way of staging."""
        for each in ("staging", "prod") if stage == "prod" else ("staging",):
            self.decide(package, each)
            ended = self.ended(package, each)
            assert ended.status == "Succeeded", reason(ended)

    def good(self, stage: str, workload: str = CARDHOLDERS) -> Package:
        """An approved package that a stage serves; one is deployed where there is none."""
        now = self.serving(workload, stage)
        if now is None or self.endpoint(workload, stage) is None or not self._is_approved(now["model_package_arn"]):
            self.deploy(self.package(workload), stage)
            now = self.serving(workload, stage)
            assert now is not None
        found = self._packages[now["model_package_arn"]]
        assert self.answers(found, stage)
        return found

    def _is_approved(self, arn: str) -> bool:
        described = self.sagemaker.describe_model_package(ModelPackageName=arn)
        return bool(described["ModelApprovalStatus"] == "Approved")

    def start(self, package: Package, stage: str, workload: str | None = None, **settings: Any) -> str:
        """Start the pipeline by hand, with other settings than the stage's; gives the execution's ARN."""
        given = {n.MODEL_PACKAGE_ARN: package.arn, n.MLFLOW_TRACKING_URI: self.mlflow.url, **settings}
        return str(
            self.sagemaker.start_pipeline_execution(
                PipelineName=self.names.pipeline(workload or package.workload, n.DEPLOY_KINDS[stage]),
                PipelineExecutionDisplayName=f"version-{package.version}",
                PipelineParameters=[{"Name": name, "Value": str(value)} for name, value in given.items()],
            )["PipelineExecutionArn"]
        )

    def waiting(self, workload: str, stage: str) -> None:
        """Wait until an execution waits for the stage's endpoint."""
        until(lambda: (self.held(workload, stage) or {}).get("Token"), f"a deployment to {stage} waits")

    def settled(self, workload: str, stage: str) -> None:
        """Wait until the stage's endpoint is in service, and no update of it is under way."""
        until(lambda: (self.endpoint(workload, stage) or {})["EndpointStatus"] == "InService", f"{stage} is InService")

    def held(self, workload: str, stage: str) -> dict[str, str] | None:
        """The item of the table that says who deploys to a stage."""
        return self._item(f"stage#{self.names.endpoint(workload, stage)}")

    def _item(self, key: str) -> dict[str, str] | None:
        answer = self.client("dynamodb").get_item(
            TableName=self.names.deployments_table, Key={"Key": {"S": key}}, ConsistentRead=True
        )
        return {name: value["S"] for name, value in answer["Item"].items()} if "Item" in answer else None

    # --- what is served -------------------------------------------------------------------------------------------

    def serving(self, workload: str, stage: str) -> dict[str, Any] | None:
        """What Parameter Store says of a stage."""
        ssm = self.client("ssm")
        try:
            value = ssm.get_parameter(Name=self.names.serving_parameter(workload, stage))["Parameter"]["Value"]
        except ssm.exceptions.ParameterNotFound:
            return None
        found: dict[str, Any] = json.loads(value)
        return found

    def served(self, workload: str, stage: str) -> int | None:
        """The version that it names."""
        found = self.serving(workload, stage)
        return found["version"] if found else None

    def endpoint(self, workload: str, stage: str) -> dict[str, Any] | None:
        """A stage's endpoint, described; None if there is none."""
        try:
            found: dict[str, Any] = self.sagemaker.describe_endpoint(EndpointName=self.names.endpoint(workload, stage))
        except ClientError as error:
            if "Could not find" in str(error):
                return None
            raise
        return found

    def ask(self, workload: str, stage: str, x: int = 1) -> tuple[int, Any]:
        """Status and answer of an endpoint."""
        runtime = self.client("sagemaker-runtime")
        try:
            answer = runtime.invoke_endpoint(
                EndpointName=self.names.endpoint(workload, stage),
                ContentType="application/json",
                Body=json.dumps({"x": x}).encode(),
            )
        except runtime.exceptions.ModelError as error:
            return int(error.response["OriginalStatusCode"]), json.loads(error.response["OriginalMessage"])
        return 200, json.loads(answer["Body"].read())

    def answers(self, package: Package, stage: str) -> bool:
        """Whether it is this package's model that answers."""
        return self.ask(package.workload, stage, 10) == (200, {"y": package.factor * 10})

    def clear(self, workload: str, stage: str) -> None:
        """Make a stage one that nothing was ever deployed to."""
        if self.endpoint(workload, stage) is not None:
            self.delete_endpoint(workload, stage)
        ssm = self.client("ssm")
        ssm.delete_parameters(Names=[self.names.serving_parameter(workload, stage)])

    def delete_endpoint(self, workload: str, stage: str) -> None:
        self.sagemaker.delete_endpoint(EndpointName=self.names.endpoint(workload, stage))
        until(lambda: self.endpoint(workload, stage) is None, "the endpoint is gone")

    # --- queues, logs and time ------------------------------------------------------------------------------------

    def queue_url(self, queue: str) -> str:
        return str(self.client("sqs").get_queue_url(QueueName=self.names.queue(queue))["QueueUrl"])

    def event(self, package: Package, *, at: str, **detail: Any) -> str:
        """The text of an event of a package, as EventBridge sends it to the queue `approvals`. at: when, ISO 8601."""
        about = {
            "ModelPackageGroupName": self.names.package_group(package.workload),
            "ModelPackageArn": package.arn,
            "ModelPackageVersion": package.version,
            "ModelPackageStatus": "Completed",
            "ModelApprovalStatus": "Approved",
        }
        return json.dumps(
            {
                "version": "0",
                "id": "8d3e5e2a-0000-4000-8000-000000000000",
                "source": "aws.sagemaker",
                "detail-type": "SageMaker Model Package State Change",
                "account": self.names.account_id,
                "region": self.names.region,
                "time": at,
                "resources": [package.arn],
                "detail": {**about, **detail},
            }
        )

    def decided(self, package: Package, stage: str) -> dict[str, str]:
        """The item of the table that says which decision on a package was acted on."""
        return self._item(f"decision#{package.arn}#{stage}") or {}

    @contextmanager
    def without_events(self, rule: str) -> Iterator[None]:
        """Let the events of a rule be lost while the block lasts."""
        events, name = self.client("events"), f"{self.names.project}-{rule}"
        events.disable_rule(Name=name)
        try:
            yield
        finally:
            events.enable_rule(Name=name)

    def emptied(self, queue: str) -> None:
        """Wait until all messages of a queue were acted on, and what came of it is over, too."""
        until(lambda: self.waiting_in(queue) == 0, f"the queue {queue} is empty")
        self.advance(0)

    def send(self, queue: str, body: str) -> None:
        self.client("sqs").send_message(QueueUrl=self.queue_url(queue), MessageBody=body)

    @contextmanager
    def visible_again_after(self, seconds: int, queue: str) -> Iterator[None]:
        """Let the messages of a queue come again sooner: minutes that pass would end the functions' processes."""
        sqs, url = self.client("sqs"), self.queue_url(queue)
        before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": str(seconds)})
        try:
            yield
        finally:
            sqs.set_queue_attributes(QueueUrl=url, Attributes=before)

    def waiting_in(self, queue: str) -> int:
        """How many messages a queue has, whether they can be seen or not."""
        return self.visible_in(queue) + self.delayed_in(queue) + self._count(queue, "NotVisible")

    def visible_in(self, queue: str) -> int:
        """How many messages of a queue can be received."""
        return self._count(queue, "")

    def delayed_in(self, queue: str) -> int:
        """How many messages of a queue were put back for later."""
        return self._count(queue, "Delayed")

    def _count(self, queue: str, which: str) -> int:
        name = f"ApproximateNumberOfMessages{which}"
        found = self.client("sqs").get_queue_attributes(QueueUrl=self.queue_url(queue), AttributeNames=[name])
        return int(found["Attributes"][name])

    def dead_letters(self) -> list[str]:
        """The messages that nobody could act on; they are taken out."""
        sqs, url = self.client("sqs"), self.queue_url("dead-letters")
        found: list[str] = []
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                found.append(message["Body"])
        return found

    def said(self, function: str, level: str) -> list[dict[str, Any]]:
        """What a function has logged at a level: its own lines, as documents."""
        lines = executions.group_lines(self.client("logs"), f"/aws/lambda/{self.names.function(function)}", 10_000)
        documents = [json.loads(line) for line in lines if line.startswith("{")]
        return [document for document in documents if document.get("level") == level]

    def advance(self, seconds: float) -> None:
        """Let time pass; 0 waits for what is under way."""
        instance.advance(self._port, seconds)

    def now(self) -> datetime:
        """localcloud's time. It stands still while time is let pass: it is not this machine's plus what passed."""
        return datetime.fromisoformat(instance.query(self._port)["now"])

    def calls(self, role: str) -> list[dict[str, Any]]:
        """localcloud's record of what a role of the project has called."""
        arn = f"arn:aws:iam::{self.names.account_id}:role/{self.names.project}-{role}"
        return instance.calls(self._port, arn)


@dataclass
class Traffic:
    """Requests to an endpoint as long as the block lasts: how many were answered how, by status and model."""

    loop: Loop
    workload: str
    stage: str
    x: int
    seen: Counter[tuple[int, Any]] = field(default_factory=Counter)

    def __enter__(self) -> Traffic:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._over.wait(0.02):
            status, answer = self.loop.ask(self.workload, self.stage, self.x)
            self.seen[status, answer.get("y")] += 1


def reason(execution: executions.Execution) -> str:
    """Why an execution has failed."""
    return "; ".join(step.failure_reason for step in execution.steps if step.failure_reason) or execution.status


def furnish(root: Path) -> None:
    """Give a working copy the sources of a stack, the images above and the stages above."""
    for folder in ("pipelines", "template", "seed_code/common", "seed_code/ingestion"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "seed_code" / "__init__.py", root / "seed_code")
    for workload in (CARDHOLDERS, FORECASTER):
        folder = root / "seed_code" / workload
        folder.mkdir(exist_ok=True, parents=True)
        (folder / "serve").write_text(SERVER)
        (folder / "Dockerfile").write_text(DOCKERFILE.format(workload=workload))
    for stage, text in STAGES.items():
        (root / "configs" / "stages" / f"{stage}.yml").write_text(text)
