"""Functions as they are described: made, changed, listed and deleted. What runs them is `invocation`."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.functions import packages
from localcloud.functions.packages import Package, refused
from localcloud.functions.pool import Pool, folder_of_code
from localcloud.functions.process import Spec
from localcloud.protocols import models
from localcloud.sagemaker.crud import paginate

_PRINCIPAL = "lambda.amazonaws.com"
FUNCTION, CONFIGURED, POLICY = "lambda/function", "lambda/event-invoke-config", "lambda/policy"
Document = dict[str, Any]

_NAME = re.compile(
    r"(?:arn:aws[a-zA-Z-]*:lambda:(?P<region>[a-z0-9-]+):)?(?:(?P<account>\d{12}):)?(?:function:)?(?P<name>[a-zA-Z0-9-_]+)"
    r"(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9-_]+))?"
)
_RUNTIME = re.compile(r"python3\.(\d+)")
_OLDEST_RUNTIME = 11
# Members of a request that ask for what is not here, and the values that ask for nothing.
_NOT_HERE: Mapping[str, tuple[Any, ...]] = {
    "PackageType": ("Zip",),
    "VpcConfig": ({}, {"SubnetIds": [], "SecurityGroupIds": []}),
    "Layers": ([],),
    "FileSystemConfigs": ([],),
    "ImageConfig": ({},),
    "CodeSigningConfigArn": ("",),
    "KMSKeyArn": ("",),
    "SnapStart": ({}, {"ApplyOn": "None"}),
    "TenancyConfig": (),
    "CapacityProviderConfig": (),
    "DurableConfig": (),
    "Publish": (False,),
    "PublishTo": (),
}
_RESERVED = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
    }
)
_MOST_ENVIRONMENT_BYTES = 4096
_LONGEST_SECONDS, _MOST_MEMORY_MB, _MOST_STORAGE_MB = 900, 10_240, 10_240
_CHANGED_BY_UPDATE = (
    "Role",
    "Handler",
    "Description",
    "Timeout",
    "MemorySize",
    "Runtime",
    "DeadLetterConfig",
    "TracingConfig",
    "EphemeralStorage",
    "LoggingConfig",
    "Environment",
)


class Functions:
    """The operations on functions."""

    def __init__(self, context: Context, pool: Pool) -> None:
        self._context, self._pool = context, pool
        self._code = folder_of_code(context.state_dir)

    def recover(self) -> None:
        """Remove what was unpacked for functions that are gone."""
        packages.remove_others(self._code, {document["Folder"] for _, document in self._context.store.list(FUNCTION)})

    def arn(self, name: str) -> str:
        """The ARN of the function of that name, whether there is one or not."""
        return f"arn:aws:lambda:{self._context.region}:{self._context.account_id}:function:{name}"

    def named(self, name_or_arn: str, qualifier: str | None = None) -> Document:
        """The stored document of a function, by name, ARN or part of one. Raises ResourceNotFoundException."""
        name, found = name_of(name_or_arn)
        document = self._context.store.get(FUNCTION, name)
        version = qualifier or found or "$LATEST"
        # Another account's, or another region's, is not here.
        foreign = name_or_arn.startswith("arn:") and not name_or_arn.startswith(self.arn(name))
        if document is None or version != "$LATEST" or foreign:
            raise self.missing(name if version == "$LATEST" else f"{name}:{version}")
        return document

    def missing(self, name: str) -> ServiceError:
        """The error for a function that is not there."""
        return ServiceError("ResourceNotFoundException", f"Function not found: {self.arn(name)}", 404)

    def spec(self, document: Document) -> Spec:
        """What a process for this function runs."""
        return Spec(
            name=document["FunctionName"],
            arn=document["FunctionArn"],
            revision=document["RevisionId"],
            handler=document["Handler"],
            code=self._code / document["Folder"],
            environment=tuple(sorted(document.get("Environment", {}).get("Variables", {}).items())),
            timeout_seconds=document["Timeout"],
            memory_mb=document["MemorySize"],
            log_group=document["LoggingConfig"]["LogGroup"],
            runtime=document["Runtime"],
        )

    def create(self, request: Request) -> dict[str, Any]:
        """CreateFunction."""
        params = request.params
        name, _ = name_of(params["FunctionName"])
        self._check(params)
        for member in ("Runtime", "Handler"):
            if not params.get(member):
                raise refused(
                    "Runtime and Handler are mandatory parameters for functions created with deployment packages."
                )
        if self._context.store.get(FUNCTION, name) is not None:
            raise _exists(name)
        self._check_role(params["Role"], name)
        package = packages.unpack(packages.read(params["Code"], self._s3(request)), self._code)
        document: Document = {
            "Description": "",
            "Timeout": 3,
            "MemorySize": 128,
            "TracingConfig": {"Mode": "PassThrough"},
            "EphemeralStorage": {"Size": 512},
            "Architectures": ["x86_64"],
            **{
                member: value
                for member, value in params.items()
                if member not in _NOT_HERE and member not in ("Code", "FunctionName", "Tags")
            },
            "FunctionName": name,
            "FunctionArn": self.arn(name),
            "Version": "$LATEST",
            "PackageType": "Zip",
            "State": "Active",
            "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
            "Tags": params.get("Tags", {}),
        }
        document["LoggingConfig"] = _logging(name, params.get("LoggingConfig"))
        document = {**document, **_packaged(package), **self._modified()}
        if not self._context.store.put(FUNCTION, name, document, if_absent=True):
            raise _exists(name)
        self._pool.warm(self.spec(document), document["Role"])
        return described(document)

    def get(self, request: Request) -> dict[str, Any]:
        """GetFunction."""
        document = self.named(request.params["FunctionName"], request.params.get("Qualifier"))
        reserved = document.get("ReservedConcurrentExecutions")
        return {
            "Configuration": described(document),
            "Code": {"RepositoryType": "S3"},
            "Tags": document["Tags"] or None,
            "Concurrency": None if reserved is None else {"ReservedConcurrentExecutions": reserved},
        }

    def configuration(self, request: Request) -> dict[str, Any]:
        """GetFunctionConfiguration."""
        return described(self.named(request.params["FunctionName"], request.params.get("Qualifier")))

    def list(self, request: Request) -> dict[str, Any]:
        """ListFunctions."""
        documents = [document for _, document in self._context.store.list(FUNCTION)]
        page, marker = page_of(request, documents, "FunctionName")
        return {"Functions": [described(document) for document in page], "NextMarker": marker}

    def update_code(self, request: Request) -> dict[str, Any]:
        """UpdateFunctionCode."""
        params = request.params
        self._check(params)
        document = self.named(params["FunctionName"])
        _check_revision(document, params)
        package = packages.unpack(packages.read(params, self._s3(request)), self._code)
        members = {**_packaged(package), **self._modified()}
        if params.get("Architectures"):
            members["Architectures"] = params["Architectures"]
        if params.get("DryRun"):
            return described({**document, **members})
        return self._change(document["FunctionName"], members)

    def update_configuration(self, request: Request) -> dict[str, Any]:
        """UpdateFunctionConfiguration: what the request leaves out stays."""
        params = request.params
        self._check(params)
        document = self.named(params["FunctionName"])
        _check_revision(document, params)
        members = {member: params[member] for member in _CHANGED_BY_UPDATE if member in params}
        if "Role" in members:
            self._check_role(members["Role"], document["FunctionName"])
        if "LoggingConfig" in params:
            members["LoggingConfig"] = _logging(document["FunctionName"], params["LoggingConfig"])
        return self._change(document["FunctionName"], {**members, **self._modified()})

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteFunction, with its policy and its settings. Its event source mappings stay, as on AWS."""
        name = self.named(request.params["FunctionName"], request.params.get("Qualifier"))["FunctionName"]
        with self._context.store.transaction():
            self._context.store.delete(FUNCTION, name)
            self._context.store.delete(POLICY, name)
            self._context.store.delete(CONFIGURED, name)
        self._pool.retire(name)
        return {"StatusCode": 204}

    def put_concurrency(self, request: Request) -> dict[str, Any]:
        """PutFunctionConcurrency: 0 lets nothing run."""
        reserved = request.params["ReservedConcurrentExecutions"]
        self._set(request, ReservedConcurrentExecutions=reserved)
        return {"ReservedConcurrentExecutions": reserved}

    def get_concurrency(self, request: Request) -> dict[str, Any]:
        """GetFunctionConcurrency."""
        document = self.named(request.params["FunctionName"])
        return {"ReservedConcurrentExecutions": document.get("ReservedConcurrentExecutions")}

    def delete_concurrency(self, request: Request) -> dict[str, Any]:
        """DeleteFunctionConcurrency."""
        self._set(request, ReservedConcurrentExecutions=None)
        return {}

    def tag(self, arn: str, tags: Mapping[str, str]) -> None:
        """Set tags of a function."""
        name = self.named(arn)["FunctionName"]
        self._context.store.update(FUNCTION, name, lambda stored: {**stored, "Tags": {**stored["Tags"], **tags}})

    def untag(self, arn: str, keys: Sequence[str]) -> None:
        """Remove tags of a function; keys that are not there are no error."""
        name = self.named(arn)["FunctionName"]
        self._context.store.update(
            FUNCTION,
            name,
            lambda stored: {**stored, "Tags": {k: v for k, v in stored["Tags"].items() if k not in keys}},
        )

    def _set(self, request: Request, **members: Any) -> None:
        name = self.named(request.params["FunctionName"])["FunctionName"]
        self._update(name, members)

    def _change(self, name: str, members: Document) -> dict[str, Any]:
        document = self._update(name, members)
        self._pool.retire(name)
        self._pool.warm(self.spec(document), document["Role"])
        return described(document)

    def _update(self, name: str, members: Document) -> Document:
        try:
            return self._context.store.update(FUNCTION, name, lambda stored: {**stored, **members})
        except KeyError:
            raise self.missing(name) from None

    def _modified(self) -> Document:
        now = self._context.clock.now()
        return {
            "LastModified": f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03}+0000",
            "LastUpdateStatus": "Successful",
            "RevisionId": str(uuid.uuid4()),
        }

    def _check_role(self, role_arn: str, name: str) -> None:
        if not self._context.authority.may_assume(_PRINCIPAL, role_arn, self.arn(name)):
            raise refused(
                "The role defined for the function cannot be assumed by Lambda."
                f" {role_arn} must be a role whose trust policy lets {_PRINCIPAL} do sts:AssumeRole"
            )

    def _s3(self, request: Request) -> Any:
        """The package is read by whoever makes the call, as on AWS."""
        principal = self._context.principals.of(request.access_key)
        return self._context.clients.of("s3", principal if ":role/" in principal else None)

    def _check(self, params: Mapping[str, Any]) -> None:
        for member, nothing in _NOT_HERE.items():
            if member in params and params[member] not in nothing:
                raise refused(f"localcloud's functions have no {member}; got {params[member]!r}")
        runtime = params.get("Runtime")
        if runtime is not None:
            found = _RUNTIME.fullmatch(runtime)
            if found is None or int(found[1]) < _OLDEST_RUNTIME:
                raise refused(f"localcloud runs functions of python3.{_OLDEST_RUNTIME} and later; got {runtime!r}")
        _check_limit("timeout", params.get("Timeout"), _LONGEST_SECONDS)
        _check_limit("memorySize", params.get("MemorySize"), _MOST_MEMORY_MB)
        _check_limit("ephemeralStorage.size", params.get("EphemeralStorage", {}).get("Size"), _MOST_STORAGE_MB)
        _check_environment(params.get("Environment", {}).get("Variables", {}))
        target = params.get("DeadLetterConfig", {}).get("TargetArn")
        if target and not re.match(r"arn:aws[a-z-]*:(sqs|sns):", target):
            raise refused(
                f"The provided target arn is invalid: it must be of an SQS queue or an SNS topic; got {target!r}"
            )


def name_of(name_or_arn: str) -> tuple[str, str | None]:
    """The name, and the qualifier if there is one, in whatever a request's FunctionName holds."""
    found = _NAME.fullmatch(name_or_arn)
    if found is None:
        raise refused(f"{name_or_arn!r} is neither the name nor the ARN of a function")
    return found["name"], found["qualifier"]


def described(document: Document) -> dict[str, Any]:
    """A stored function as GetFunctionConfiguration gives it."""
    known = models.service_model("lambda").shape_for("FunctionConfiguration").members
    return {member: value for member, value in document.items() if member in known and value is not None}


def page_of(request: Request, documents: list[Document], key: str) -> tuple[list[Document], str | None]:
    """One page of a List operation, and the marker of the next one."""
    params = {"MaxResults": request.params.get("MaxItems", 50)}
    if request.params.get("Marker"):
        params["NextToken"] = request.params["Marker"]
    page, marker = paginate(request.operation, documents, params, lambda document: str(document[key]))
    return list(page), marker


def _packaged(package: Package) -> Document:
    return {"Folder": package.folder, "CodeSha256": package.sha256, "CodeSize": package.size}


def _exists(name: str) -> ServiceError:
    return ServiceError("ResourceConflictException", f"Function already exist: {name}", 409)


def _logging(name: str, given: Mapping[str, Any] | None) -> Document:
    config = {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}", **(given or {})}
    if config["LogFormat"] != "Text":
        raise refused(f"localcloud writes the logs of functions as Text; got LogFormat {config['LogFormat']!r}")
    for member in ("ApplicationLogLevel", "SystemLogLevel"):
        if member in config:
            raise refused(f"{member} needs the LogFormat JSON, which localcloud's functions do not have; leave it out")
    return config


def _check_limit(what: str, value: int | None, most: int) -> None:
    if value is not None and value > most:
        raise ServiceError(
            "ValidationException",
            f"1 validation error detected: Value '{value}' at '{what}' failed to satisfy constraint: Member must have"
            f" value less than or equal to {most}",
        )


def _check_environment(variables: Mapping[str, str]) -> None:
    if reserved := sorted(_RESERVED & variables.keys()):
        raise refused(
            "Lambda was unable to configure your environment variables because the environment variables you have"
            " provided contains reserved keys that are currently not supported for modification. Reserved keys used in"
            f" this request: {', '.join(reserved)}"
        )
    for key, value in variables.items():
        if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_]*", key) or "\0" in value:
            raise refused(f"The environment variable {key!r} has a name or a value that no variable can have")
    size = sum(len(key.encode()) + len(value.encode()) for key, value in variables.items())
    if size > _MOST_ENVIRONMENT_BYTES:
        raise refused(
            "Lambda was unable to configure your environment variables because the environment variables you have"
            f" provided exceeded the {_MOST_ENVIRONMENT_BYTES // 1024}KB limit: they have {size} bytes"
        )


def _check_revision(document: Document, params: Mapping[str, Any]) -> None:
    wanted = params.get("RevisionId")
    if wanted is not None and wanted != document["RevisionId"]:
        raise ServiceError(
            "PreconditionFailedException",
            "The RevisionId provided does not match the latest RevisionId. Call the GetFunction or the GetAlias API to"
            " retrieve the latest RevisionId for your resource.",
            412,
        )
