"""Lambda as a service: its parts put together, and its operations by name."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from localcloud.clients import credential_scope
from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.functions.asynchronous import Asynchronous
from localcloud.functions.functions import Functions
from localcloud.functions.invocation import Caller, Invoker, Outcome
from localcloud.functions.logs import Logs
from localcloud.functions.mappings import Mappings
from localcloud.functions.packages import refused
from localcloud.functions.permissions import Permissions
from localcloud.functions.poller import Poller
from localcloud.functions.pool import Pool
from localcloud.functions.sources import KinesisStreams, Queues
from localcloud.functions.streams import StreamPoller
from localcloud.kinesis.streams import Streams
from localcloud.principals import Principals
from localcloud.resource_policies import allows
from localcloud.service import Handler


class Lambda:
    """The service."""

    name = "lambda"

    def __init__(self, context: Context, streams: Streams) -> None:
        self._context = context
        self._logs = Logs(context)
        self._pool = Pool(context, self._logs)
        self._functions = Functions(context, self._pool)
        self._invoker = Invoker(context, self._functions, self._pool, self._logs)
        self._asynchronous = Asynchronous(context, self._functions, self._invoker)
        self._poller = Poller(context, self._functions, self._invoker)
        self._streams = StreamPoller(context, self._functions, self._invoker, streams)
        self._mappings = Mappings(
            context,
            self._functions,
            {"sqs": Queues(context), "kinesis": KinesisStreams(context, streams)},
            {"sqs": self._poller, "kinesis": self._streams},
        )
        self._invoker.on_end(self._poller.settle)
        self._permissions = permissions = Permissions(context, self._functions)
        functions, asynchronous, mappings = self._functions, self._asynchronous, self._mappings
        self._operations: dict[str, Handler] = {
            "CreateFunction": functions.create,
            "GetFunction": functions.get,
            "GetFunctionConfiguration": functions.configuration,
            "ListFunctions": functions.list,
            "UpdateFunctionCode": functions.update_code,
            "UpdateFunctionConfiguration": functions.update_configuration,
            "DeleteFunction": functions.delete,
            "Invoke": self.invoke,
            "AddPermission": permissions.add,
            "RemovePermission": permissions.remove,
            "GetPolicy": permissions.get,
            "PutFunctionConcurrency": functions.put_concurrency,
            "GetFunctionConcurrency": functions.get_concurrency,
            "DeleteFunctionConcurrency": functions.delete_concurrency,
            "PutFunctionEventInvokeConfig": asynchronous.put_config,
            "UpdateFunctionEventInvokeConfig": asynchronous.update_config,
            "GetFunctionEventInvokeConfig": asynchronous.get_config,
            "DeleteFunctionEventInvokeConfig": asynchronous.delete_config,
            "ListFunctionEventInvokeConfigs": asynchronous.list_configs,
            "CreateEventSourceMapping": mappings.create,
            "GetEventSourceMapping": mappings.get,
            "UpdateEventSourceMapping": mappings.update,
            "DeleteEventSourceMapping": mappings.delete,
            "ListEventSourceMappings": mappings.list,
            "TagResource": self.tag,
            "UntagResource": self.untag,
            "ListTags": self.tags,
        }

    @property
    def operations(self) -> Mapping[str, Handler]:
        """What is implemented, by name."""
        return self._operations

    def start(self) -> None:
        """Go on with the events, the queues and the streams of an earlier localcloud."""
        self._pool.start()
        self._functions.recover()
        self._asynchronous.recover()
        self._mappings.recover()

    def stop(self) -> None:
        """End every process; events that were not handled stay in the store, messages in their queues, and records in
        their streams."""
        self._poller.close()
        self._streams.close()
        self._asynchronous.close()
        self._invoker.close()
        self._pool.kill()
        self._poller.join()
        self._streams.join()
        self._asynchronous.join()
        self._pool.stop()
        self._logs.stop()

    def settle(self) -> None:
        """Take up the messages in functions' queues; who sends them calls this when its work ends."""
        self._poller.settle()

    def invoke(self, request: Request) -> dict[str, Any]:
        """Invoke: and wait (RequestResponse), or not (Event), or do nothing (DryRun)."""
        params = request.params
        for member in ("DurableExecutionName", "TenantId"):
            if params.get(member):
                raise refused(f"localcloud's functions have no {member}; got {params[member]!r}")
        document = self._functions.named(params["FunctionName"], params.get("Qualifier"))
        name, payload = document["FunctionName"], bytes(params.get("Payload", b""))
        kind = params.get("InvocationType", "RequestResponse")
        if kind == "DryRun":
            return {"StatusCode": 204}
        if kind == "Event":
            self._asynchronous.accept(name, payload)
            return {"StatusCode": 202}
        caller = caller_of(request, self._context.principals)
        outcome = self._invoker.invoke(name, payload, params.get("ClientContext"), caller=caller)
        tail = base64.b64encode(outcome.tail).decode() if params.get("LogType") == "Tail" else None
        return {
            "StatusCode": 200,
            "FunctionError": outcome.error,
            "LogResult": tail,
            "Payload": outcome.payload,
            "ExecutedVersion": "$LATEST",
        }

    def invoke_for(self, service: str, source_arn: str, function_arn: str, payload: bytes) -> Outcome:
        """Invoke a function for another service, and wait for its answer.

        service: who asks, as `apigateway.amazonaws.com`. source_arn: what of that service does. Raises ServiceError:
        AccessDeniedException where the function's own policy does not let it in, and what an Invoke raises.
        """
        name = self._functions.named(function_arn)["FunctionName"]
        policy = self._permissions.policy(name)
        account = self._context.account_id
        if not allows(policy, service=service, action="lambda:InvokeFunction", source_arn=source_arn, account=account):
            raise ServiceError(
                "AccessDeniedException",
                f"User: {service} is not authorized to perform: lambda:InvokeFunction on resource: {function_arn}"
                f" for {source_arn}: no statement of its resource policy allows it",
                403,
            )
        return self._invoker.invoke(name, payload, caller=Caller())

    def tag(self, request: Request) -> dict[str, Any]:
        """TagResource: of a function or an event source mapping."""
        self._taggable(request).tag(request.params["Resource"], request.params["Tags"])
        return {}

    def untag(self, request: Request) -> dict[str, Any]:
        """UntagResource."""
        self._taggable(request).untag(request.params["Resource"], request.params["TagKeys"])
        return {}

    def tags(self, request: Request) -> dict[str, Any]:
        """ListTags."""
        arn = request.params["Resource"]
        if ":event-source-mapping:" in arn:
            return {"Tags": self._mappings.named(arn.rpartition(":")[2])["Tags"]}
        return {"Tags": self._functions.named(arn)["Tags"]}

    def _taggable(self, request: Request) -> Functions | Mappings:
        return self._mappings if ":event-source-mapping:" in request.params["Resource"] else self._functions


def caller_of(request: Request, principals: Principals) -> Caller | None:
    """Who makes an Invoke; None for localcloud's own clients: a pipeline's step calls from a thread of its own."""
    within = credential_scope(request.access_key or "", request.region, "lambda")
    if request.headers.get("authorization") == within:
        return None
    return Caller(principals.of(request.access_key))
