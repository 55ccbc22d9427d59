"""Transform jobs: an image's server is started, records are sent, and what it answers is written.

    model.tar.gz ──> /opt/ml/model
    serve, /ping until it is ready, GET /execution-parameters for what the request leaves open
    s3://input/…/data.jsonl ──split──> records ──batched──> POST /invocations ──assembled──> s3://output/…/data.jsonl.out

An input file whose records all went well is written, also when another one fails; then the job fails.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcloud.errors import ServiceError, validation
from localcloud.jobs import transfer
from localcloud.jobs.connections import Answer, NoAnswer, NoAnswerInTime
from localcloud.jobs.process import Control
from localcloud.jobs.server import PORT_VARIABLE, Server, ServerError, free_port
from localcloud.sagemaker.contract import resource_config, unpack_model, write_json
from localcloud.sagemaker.crud import Document, Kind
from localcloud.sagemaker.jobs import Job, Outcome, Runtime, cut, unsupported
from localcloud.sagemaker.models import Container, Models
from localcloud.sagemaker.transform_records import Payload, RecordError, assembled, check_join, media_type, payloads

KIND = Kind(
    noun="TransformJob",
    resource="transform-job",
    status="TransformJobStatus",
    missing=lambda name, arn: validation(f"Could not find requested job with name: {name}"),
    duplicate=lambda name, arn: ServiceError(
        "ResourceInUse",
        f"Job name must be unique within an AWS account and region, and a job with this name already exists ({arn})",
    ),
    defaults={"TransformJobStatus": "InProgress"},
)
_MEGABYTE = 1024 * 1024
_MOST = 100
_READY_LIMIT_SECONDS = 480.0
_PARAMETERS_SECONDS = 5.0
_RETRY_SECONDS = 0.1
_SHOWN = 500
_STRATEGIES = {"MULTI_RECORD": "MultiRecord", "SINGLE_RECORD": "SingleRecord"}


@dataclass(frozen=True)
class Settings:
    """How records are sent: as the request says, and where it does not, as the server or else the service says."""

    concurrent: int
    several: bool
    most_bytes: int | None
    timeout_seconds: int
    retries: int


class Failed(Exception):
    """One file cannot be transformed. `kind` says whose fault that is, as a job's reason begins with."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Transform:
    """What is particular to transform jobs."""

    kind = KIND
    log_group = "/aws/sagemaker/TransformJobs"

    def __init__(self, models: Models) -> None:
        self._models = models

    def check(self, params: Mapping[str, Any]) -> None:
        """Raise ValidationException for a job that there cannot be, or that localcloud does not run."""
        unsupported(params, ("DataCaptureConfig",), "transform job")
        count = params["TransformResources"]["InstanceCount"]
        if count != 1:
            raise validation(f"localcloud transforms on one instance; got InstanceCount {count}, expected 1")
        source = params["TransformInput"]
        data = source["DataSource"]["S3DataSource"]
        if data["S3DataType"] != "S3Prefix":
            raise validation(f'localcloud reads S3DataType "S3Prefix" only; got "{data["S3DataType"]}"')
        split = source.get("SplitType", "None")
        if split not in ("None", "Line"):
            raise validation(f'localcloud splits by SplitType "Line" or "None" only; got "{split}"')
        strategy = params.get("BatchStrategy")
        if strategy and split == "None" and strategy == "MultiRecord":
            raise validation("BatchStrategy MultiRecord needs a SplitType; got None")
        payload, concurrent = params.get("MaxPayloadInMB", 6), params.get("MaxConcurrentTransforms", 0)
        if payload > _MOST or payload * concurrent > _MOST:
            raise validation(
                f"MaxPayloadInMB, and MaxPayloadInMB times MaxConcurrentTransforms, must be at most {_MOST}; got"
                f" {payload} and {concurrent}"
            )
        self._check_processing(params, split)
        for uri in (data["S3Uri"], params["TransformOutput"]["S3OutputPath"]):
            try:
                transfer.parse_uri(uri)
            except transfer.TransferError as error:
                raise validation(str(error)) from error
        self._models.container(params["ModelName"])

    def document(self, params: Mapping[str, Any], work: Runtime) -> Document:
        """Nothing beyond the request's members."""
        return {}

    def role(self, document: Document) -> str:
        """The model's. Raises ServiceError if that is gone."""
        return self._models.container(document["ModelName"]).role_arn

    def metrics(self, document: Document) -> list[tuple[str, str]]:
        """None: transform jobs define no metrics."""
        return []

    def execute(self, job: Job) -> Outcome:
        """Download, serve, send, upload."""
        document = job.document
        job.change(TransformStartTime=job.runtime.context.clock.now())
        try:
            container = self._models.container(document["ModelName"])
        except ServiceError as error:
            return Outcome("Failed", f"ClientError: {error.message}")
        self._prepare(job, container)
        folder = job.root.path / "input"
        folder.mkdir()
        try:
            transfer.download(job.s3, document["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"], folder)
        except transfer.TransferError as error:
            raise transfer.TransferError(f"Data download failed:{error}") from error
        if job.stopped:
            return Outcome("Stopped")
        server = self._serve(job, container)
        try:
            if not server.wait_until_ready(_READY_LIMIT_SECONDS):
                return Outcome("Stopped")
            reasons = self._transform(job, server, _settings(document, server), folder)
        except ServerError as error:
            return Outcome("Failed", f"AlgorithmError: {error}. See job logs for more information")
        finally:
            server.stop()
        if job.control.stopping.is_set():
            return Outcome("Stopped")
        return Outcome("Failed", "; ".join(reasons)) if reasons else Outcome("Completed")

    def ended(self, document: Document, outcome: Outcome, work: Runtime) -> Document:
        """The end's members."""
        document["TransformJobStatus"] = outcome.status
        document["TransformEndTime"] = work.context.clock.now()
        if outcome.reason is not None:
            document["FailureReason"] = cut(outcome.reason)
        return document

    def _check_processing(self, params: Mapping[str, Any], split: str) -> None:
        processing = params.get("DataProcessing") or {}
        for name in ("InputFilter", "OutputFilter"):
            if processing.get(name, "$") != "$":
                raise validation(
                    f'localcloud evaluates no JSONPath: {name} must be "$" or left out; got "{processing[name]}"'
                )
        if processing.get("JoinSource", "None") == "Input":
            output = params["TransformOutput"]
            problems = check_join(
                params["TransformInput"].get("ContentType"),
                output.get("Accept"),
                split,
                output.get("AssembleWith", "None"),
            )
            if problems:
                raise validation(f"JoinSource Input: {'; '.join(problems)}")

    def _prepare(self, job: Job, container: Container) -> None:
        model = job.root.base / "model"
        model.mkdir(parents=True)
        instance = job.document["TransformResources"]["InstanceType"]
        write_json(job.root.base / "input" / "config" / "resourceconfig.json", resource_config(instance))
        if container.model_uri is not None:
            unpack_model(job.s3, container.model_uri, model)

    def _serve(self, job: Job, container: Container) -> Server:
        document = job.document
        image = job.image(container.image)
        port = free_port()
        strategy = document.get("BatchStrategy", "MultiRecord")
        program = job.program(
            image,
            list(image.entrypoint),
            ["serve"],
            {
                **container.environment,
                "SAGEMAKER_BATCH": "true",
                "SAGEMAKER_MAX_PAYLOAD_IN_MB": str(document.get("MaxPayloadInMB", 6)),
                "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": str(document.get("MaxConcurrentTransforms") or 1),
                "SAGEMAKER_BATCH_STRATEGY": next(name for name, value in _STRATEGIES.items() if value == strategy),
                **document.get("Environment", {}),
                PORT_VARIABLE: str(port),
            },
        )
        return Server(job.runtime.launcher, program, port, job.control, job.log.write, job.log.idle)

    def _transform(self, job: Job, server: Server, settings: Settings, folder: Path) -> list[str]:
        """Transform file by file; gives the reasons of those that failed."""
        output = job.document["TransformOutput"]["S3OutputPath"].rstrip("/")
        bucket, prefix = transfer.parse_uri(output)
        reasons: list[str] = []
        with ThreadPoolExecutor(settings.concurrent, thread_name_prefix="transform") as threads:
            for path in transfer.files(folder):
                name = path.relative_to(folder).as_posix()
                result = job.root.path / "result.out"
                try:
                    self._transform_file(job, server, settings, path, result, threads)
                except Failed as error:
                    if job.stopped:
                        break
                    reasons.append(f"{error.kind}: {name}: {error}")
                    continue
                except (RecordError, OSError, EOFError) as error:
                    reasons.append(f"ClientError: {name}: {error}")
                    continue
                key = "/".join(part for part in (prefix, f"{name}.out") if part)
                transfer.upload_file(job.s3, result, bucket, key)
        return reasons

    def _transform_file(
        self, job: Job, server: Server, settings: Settings, path: Path, result: Path, threads: ThreadPoolExecutor
    ) -> None:
        document = job.document
        source, target = document["TransformInput"], document["TransformOutput"]
        headers = {}
        if source.get("ContentType"):
            headers["Content-Type"] = source["ContentType"]
        if target.get("Accept"):
            headers["Accept"] = target["Accept"]
        sent = payloads(
            path,
            split=source.get("SplitType", "None") == "Line",
            several=settings.several,
            most_bytes=settings.most_bytes,
            compressed=source.get("CompressionType", "None") == "Gzip",
        )
        with result.open("wb") as stream:
            for payload, answer in _in_order(
                threads,
                settings.concurrent,
                sent,
                lambda payload: _invoke(server, payload.body, headers, settings, job.control),
            ):
                stream.write(
                    assembled(
                        payload,
                        answer.body,
                        by_line=target.get("AssembleWith", "None") == "Line",
                        join=(document.get("DataProcessing") or {}).get("JoinSource", "None") == "Input",
                        content_type=media_type(source.get("ContentType")),
                    )
                )


def _settings(document: Document, server: Server) -> Settings:
    """The request's own, then what GET /execution-parameters says (it is optional), then the service's defaults.

    Raises ServerError for an answer that cannot be meant.
    """
    offered = _offered(server)
    client = document.get("ModelClientConfig") or {}
    split = document["TransformInput"].get("SplitType", "None") == "Line"
    strategy = document.get("BatchStrategy") or _STRATEGIES.get(str(offered.get("BatchStrategy")), "MultiRecord")
    megabytes = _whole_number(document, offered, "MaxPayloadInMB", 6)
    return Settings(
        concurrent=_whole_number(document, offered, "MaxConcurrentTransforms", 1) or 1,
        several=split and strategy == "MultiRecord",
        # None: a payload of any size.
        most_bytes=megabytes * _MEGABYTE or None,
        timeout_seconds=client.get("InvocationsTimeoutInSeconds", 600),
        retries=client.get("InvocationsMaxRetries", 3),
    )


def _offered(server: Server) -> Mapping[str, Any]:
    try:
        answer = server.get("/execution-parameters", _PARAMETERS_SECONDS)
        found = json.loads(answer.body) if answer.status == 200 else {}
    except (NoAnswer, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _whole_number(document: Document, offered: Mapping[str, Any], name: str, default: int) -> int:
    value = document.get(name, offered.get(name, default))
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        raise ServerError(f"GET /execution-parameters says {name} {value!r}, expected a whole number from 0 to {_MOST}")
    return value


def _in_order(
    threads: ThreadPoolExecutor, width: int, sent: Iterable[Payload], call: Callable[[Payload], Answer]
) -> Iterator[tuple[Payload, Answer]]:
    """Call for every payload, up to `width` at a time; the answers come in the payloads' order."""
    under_way: deque[tuple[Payload, Future[Answer]]] = deque()
    try:
        for payload in sent:
            if len(under_way) >= width:
                first, answer = under_way.popleft()
                yield first, answer.result()
            under_way.append((payload, threads.submit(call, payload)))
        while under_way:
            first, answer = under_way.popleft()
            yield first, answer.result()
    finally:
        for _, answer in under_way:
            answer.cancel()


def _invoke(server: Server, body: bytes, headers: Mapping[str, str], settings: Settings, job: Control) -> Answer:
    """One request, repeated where that may help. Raises Failed, or ServerError when the server is gone."""
    failure = Failed("AlgorithmError", "the job was stopped")
    for attempt in range(settings.retries + 1):
        if job.stopping.is_set():
            break
        try:
            answer = server.call(body, headers, settings.timeout_seconds)
        except NoAnswerInTime:
            failure = Failed("AlgorithmError", f"no answer to /invocations in {settings.timeout_seconds} s")
        except NoAnswer as error:
            failure = Failed("AlgorithmError", f"the call of /invocations broke: {error}")
        else:
            if answer.status == 200:
                return answer
            said = answer.body[:_SHOWN].decode("utf-8", "replace").strip()
            failure = Failed(
                "ClientError" if answer.status < 500 else "AlgorithmError",
                f"Bad HTTP status received from algorithm: {answer.status}. Message: {said}",
            )
            if answer.status < 500 and answer.status != 429:
                break
        if attempt < settings.retries:
            # Given up early when the job is stopped.
            job.stopping.wait(_RETRY_SECONDS * 2**attempt)
        if not server.running and not job.stopping.is_set():
            raise ServerError(f"the server ended while it was called: {server.end()}")
    raise failure
