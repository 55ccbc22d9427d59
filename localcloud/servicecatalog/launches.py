"""What users see and launch: a product on a path (a portfolio that has it) becomes a provisioned product, a stack
`SC-{account}-{provisioned product}`, which the launch constraint's role makes, or else who launches it.

A provisioned product follows what CloudFormation tells of its stack:

    UNDER_CHANGE -> AVAILABLE                   the stack is what it was asked to be
                 -> ERROR                       it could not be made
                 -> TAINTED                     it is there, but what was asked of it last failed
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.servicecatalog.names import invalid, missing, new_id, page, refuse, tag_list, tag_map
from localcloud.servicecatalog.portfolios import Portfolios
from localcloud.servicecatalog.products import Products, searched, summary
from localcloud.signals import Event
from localcloud.store import Document

_PROVISIONED, _RECORD = "servicecatalog/provisioned", "servicecatalog/record"
_KIND = "CFN_STACK"
_STACK = re.compile(r":stack/SC-\d+-(?P<id>pp-[a-z0-9]+)/")
_UNCHANGED = "No updates are to be performed."
_CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
_CUT_OFF = "localcloud stopped before CloudFormation was asked for it: ask again, or terminate what is there."
_DONE = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_COMPLETE"}
_FAILED = {
    "CREATE_FAILED": "ERROR",
    "ROLLBACK_COMPLETE": "ERROR",
    "ROLLBACK_FAILED": "ERROR",
    "UPDATE_ROLLBACK_COMPLETE": "TAINTED",
    "UPDATE_ROLLBACK_FAILED": "TAINTED",
    "DELETE_FAILED": "TAINTED",
}
_RECORDED = (
    "CreatedTime", "LaunchRoleArn", "PathId", "ProductId", "ProvisionedProductId", "ProvisionedProductName",
    "ProvisionedProductType", "ProvisioningArtifactId", "RecordErrors", "RecordId", "RecordTags", "RecordType",
    "Status", "UpdatedTime",
)  # fmt: skip
_SHOWN = (
    "Arn", "CreatedTime", "Id", "IdempotencyToken", "LastProvisioningRecordId", "LastRecordId",
    "LastSuccessfulProvisioningRecordId", "Name", "ProductId", "ProvisioningArtifactId", "Status", "StatusMessage",
    "Type",
)  # fmt: skip


class Launches:
    """The operations of users."""

    def __init__(self, context: Context, products: Products, portfolios: Portfolios) -> None:
        self._context, self._store = context, context.store
        self._products, self._portfolios = products, portfolios
        context.signals.on_event(self._on_event)

    def recover(self) -> None:
        """Take up what an earlier process left under way: its stack may have settled without anybody listening, or not
        have been asked for."""
        for _, product in self._store.list(_PROVISIONED):
            if product["Status"] == "UNDER_CHANGE":
                self._take_up(product)

    def _take_up(self, product: Document) -> None:
        stacks = self._context.clients.of("cloudformation")
        name = product.get("StackId") or f"SC-{self._context.account_id}-{product['Id']}"
        try:
            (stack,) = stacks.describe_stacks(StackName=name)["Stacks"]
            latest = stacks.describe_stack_events(StackName=stack["StackId"])["StackEvents"][0]
        except ClientError:
            self._settle(product["Id"], "ERROR", _CUT_OFF)
            return
        if latest.get("ClientRequestToken") != product["LastRecordId"]:
            self._settle(product["Id"], "TAINTED", _CUT_OFF)
            return
        self._change(product["Id"], StackId=stack["StackId"])
        self._follow(product["Id"], stack["StackStatus"], stack.get("StackStatusReason"))

    # --- what there is to launch --------------------------------------------------------------------------------------

    def search(self, request: Request) -> dict[str, Any]:
        """SearchProducts: those that the caller may launch."""
        caller = self._caller(request)
        products = [one for one in self._products.everything() if self._paths(one["Id"], caller)]
        found, token = searched(products, request.params)
        shown = [summary(one, has_path=len(self._paths(one["Id"], caller)) == 1) for one in found]
        return {"ProductViewSummaries": shown, "ProductViewAggregations": {}, "NextPageToken": token}

    def describe_product(self, request: Request) -> dict[str, Any]:
        """DescribeProduct: with the versions that may be launched."""
        product = self._products.named(request.params)
        paths = self._required_paths(product["Id"], self._caller(request))
        members = ("Id", "Name", "Description", "CreatedTime", "Guidance")
        return {
            "ProductViewSummary": summary(product, has_path=len(paths) == 1),
            "ProvisioningArtifacts": [
                {member: one.get(member) for member in members} for one in product["Artifacts"] if one["Active"]
            ],
            "LaunchPaths": [{"Id": path, "Name": portfolio["DisplayName"]} for path, portfolio in paths.items()],
        }

    def list_paths(self, request: Request) -> dict[str, Any]:
        """ListLaunchPaths."""
        product = self._products.get(request.params["ProductId"])
        paths = self._paths(product["Id"], self._caller(request))
        shown = [
            {
                "Id": path,
                "Name": portfolio["DisplayName"],
                "ConstraintSummaries": self._portfolios.constraint_summaries(portfolio["Id"], product["Id"]),
                "Tags": tag_list({**portfolio["Tags"], **product["Tags"]}),
            }
            for path, portfolio in paths.items()
        ]
        found, token = page(shown, request.params)
        return {"LaunchPathSummaries": found, "NextPageToken": token}

    def describe_parameters(self, request: Request) -> dict[str, Any]:
        """DescribeProvisioningParameters."""
        params = request.params
        product = self._products.named(params, "ProductId", "ProductName")
        _, portfolio = self._path(product["Id"], params, self._caller(request))
        artifact = self._products.artifact(product, params)
        return {
            "ProvisioningArtifactParameters": self._products.parameters(artifact),
            "ConstraintSummaries": self._portfolios.constraint_summaries(portfolio["Id"], product["Id"]),
            "UsageInstructions": [],
            "TagOptions": [],
        }

    # --- launches -----------------------------------------------------------------------------------------------------

    def provision(self, request: Request) -> dict[str, Any]:
        """ProvisionProduct. What is wrong with the stack fails the provisioned product."""
        params = request.params
        refuse(params, "ProvisioningPreferences", "NotificationArns")
        caller = self._caller(request)
        for _, known in self._store.list(_PROVISIONED):
            if known["IdempotencyToken"] == params["ProvisionToken"]:
                return self._answer(self._record(known["LastProvisioningRecordId"]))
            if known["Name"] == params["ProvisionedProductName"]:
                raise ServiceError(
                    "DuplicateResourceException", f"A provisioned product named {known['Name']} already exists"
                )
        product = self._products.named(params, "ProductId", "ProductName")
        path, portfolio = self._path(product["Id"], params, caller)
        artifact = self._launchable(product, params)
        product_id = new_id("pp")
        now = self._context.clock.now()
        region, account = self._context.region, self._context.account_id
        document: Document = {
            "Id": product_id,
            "Arn": f"arn:aws:servicecatalog:{region}:{account}:stack/{params['ProvisionedProductName']}/{product_id}",
            "Name": params["ProvisionedProductName"],
            "Type": _KIND,
            "Status": "UNDER_CHANGE",
            "CreatedTime": now,
            "IdempotencyToken": params["ProvisionToken"],
            "ProductId": product["Id"],
            "PathId": path,
            "ProvisioningArtifactId": artifact["Id"],
            "LaunchRoleArn": self._portfolios.launch_role(portfolio["Id"], product["Id"]),
            "UserArn": caller,
            "Parameters": {one["Key"]: one.get("Value", "") for one in params.get("ProvisioningParameters") or ()},
            "Tags": {**portfolio["Tags"], **product["Tags"], **tag_map(params.get("Tags"))},
        }
        record = self._begun(document, "PROVISION_PRODUCT")
        try:
            answer = self._client(document, caller).create_stack(
                StackName=f"SC-{account}-{product_id}", **self._asked(document, artifact), Capabilities=_CAPABILITIES
            )
        except (ClientError, BotoCoreError) as error:
            self._settle(product_id, "ERROR", _said(error))
        else:
            self._change(product_id, StackId=answer["StackId"])
        return self._answer(self._record(record["RecordId"]))

    def update(self, request: Request) -> dict[str, Any]:
        """UpdateProvisionedProduct. A parameter that is not given, or whose previous value is asked for, stays."""
        params = request.params
        refuse(params, "ProvisioningPreferences")
        # AWS takes tags where the product has a constraint that allows it, which localcloud has not.
        refuse(params, "Tags")
        caller, document = self._caller(request), self._named(params)
        if document["Status"] not in ("AVAILABLE", "TAINTED"):
            raise invalid(f"The provisioned product {document['Id']} is {document['Status']}: it cannot be updated")
        product_id = params.get("ProductId") or document["ProductId"]
        if product_id != document["ProductId"]:
            raise invalid(f"{document['Id']} is of the product {document['ProductId']}; it cannot become {product_id}")
        product = self._products.get(product_id)
        path, portfolio = self._path(product_id, {"PathId": document["PathId"], **params}, caller)
        named = {"ProvisioningArtifactId": document["ProvisioningArtifactId"]}
        if params.get("ProvisioningArtifactName"):
            named = {}
        artifact = self._launchable(product, {**named, **params})
        given = {
            one["Key"]: one.get("Value", "")
            for one in params.get("ProvisioningParameters") or ()
            if not one.get("UsePreviousValue")
        }
        before = {member: document.get(member) for member in ("Parameters", "ProvisioningArtifactId")}
        document |= {
            "Status": "UNDER_CHANGE",
            "StatusMessage": None,
            "Reason": None,
            "PathId": path,
            "Before": before,
            "ProvisioningArtifactId": artifact["Id"],
            "Parameters": self._declared({**document["Parameters"], **given}, artifact, given),
            "LaunchRoleArn": self._portfolios.launch_role(portfolio["Id"], product_id),
        }
        record = self._begun(document, "UPDATE_PROVISIONED_PRODUCT")
        try:
            self._client(document, caller).update_stack(
                StackName=document["StackId"], **self._asked(document, artifact), Capabilities=_CAPABILITIES
            )
        except (ClientError, BotoCoreError) as error:
            unchanged = _said(error) == _UNCHANGED
            self._settle(document["Id"], "AVAILABLE" if unchanged else "TAINTED", None if unchanged else _said(error))
        return self._answer(self._record(record["RecordId"]))

    def terminate(self, request: Request) -> dict[str, Any]:
        """TerminateProvisionedProduct. With IgnoreErrors, or RetainPhysicalResources, its stack may stay."""
        params = request.params
        caller, document = self._caller(request), self._named(params)
        if document["Status"] == "UNDER_CHANGE":
            raise invalid(f"The provisioned product {document['Id']} is UNDER_CHANGE: it cannot be terminated yet")
        document |= {"Status": "UNDER_CHANGE", "StatusMessage": None, "Reason": None}
        document["IgnoreErrors"] = bool(params.get("IgnoreErrors"))
        record = self._begun(document, "TERMINATE_PROVISIONED_PRODUCT")
        if not document.get("StackId") or params.get("RetainPhysicalResources"):
            self._gone(document["Id"])
        else:
            try:
                self._client(document, caller).delete_stack(
                    StackName=document["StackId"], ClientRequestToken=record["RecordId"]
                )
            except (ClientError, BotoCoreError) as error:
                self._settle(document["Id"], "TAINTED", _said(error))
        return self._answer(self._record(record["RecordId"]))

    # --- what was launched --------------------------------------------------------------------------------------------

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribeProvisionedProduct."""
        document = self._named(request.params, "Id", "Name")
        shown = {member: document.get(member) for member in (*_SHOWN, "LaunchRoleArn")}
        return {"ProvisionedProductDetail": shown, "CloudWatchDashboards": []}

    def search_provisioned(self, request: Request) -> dict[str, Any]:
        """SearchProvisionedProducts: the caller's own, or all of the account."""
        params = request.params
        level = params.get("AccessLevelFilter") or {"Key": "User", "Value": "self"}
        if level["Value"] != "self":
            raise invalid(f"AccessLevelFilter: expected the Value self; got {level['Value']!r}")
        filters: Mapping[str, list[str]] = params.get("Filters") or {}
        if unknown := sorted(filters.keys() - {"SearchQuery"}):
            raise invalid(f"Filters: expected SearchQuery; got {', '.join(unknown)}")
        words = [word.lower() for word in filters.get("SearchQuery") or ()]
        caller = self._caller(request)
        found = []
        for _, one in self._store.list(_PROVISIONED):
            texts = [str(one.get(member, "")).lower() for member in ("Name", "Id", "ProductId", "Status")]
            if level["Key"] != "Account" and one["UserArn"] != caller:
                continue
            if not all(any(word.rpartition(":")[2] in text for text in texts) for word in words):
                continue
            found.append(self._summary(one))
        if params.get("SortOrder") == "DESCENDING":
            found.reverse()
        shown, token = page(found, params)
        return {"ProvisionedProducts": shown, "TotalResultsCount": len(found), "NextPageToken": token}

    def describe_record(self, request: Request) -> dict[str, Any]:
        """DescribeRecord, with the stack's outputs when it has succeeded."""
        record = self._record(request.params["Id"])
        return {**self._answer(record), "RecordOutputs": record.get("Outputs") or []}

    def outputs(self, request: Request) -> dict[str, Any]:
        """GetProvisionedProductOutputs."""
        params = request.params
        document = self._named(params)
        stacks = self._context.clients.of("cloudformation")
        found = stacks.describe_stacks(StackName=document["StackId"])["Stacks"][0] if document.get("StackId") else {}
        wanted = params.get("OutputKeys")
        shown = [
            {member: one.get(member) for member in ("OutputKey", "OutputValue", "Description")}
            for one in found.get("Outputs") or ()
            if wanted is None or one["OutputKey"] in wanted
        ]
        page_of, token = page(shown, params)
        return {"Outputs": page_of, "NextPageToken": token}

    # --- what stacks tell ---------------------------------------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        if event.source != "aws.cloudformation":
            return
        found = _STACK.search(event.detail["stack-id"])
        if found is None:
            return
        details = event.detail["status-details"]
        if "logical-resource-id" in event.detail:
            if details["status"].endswith("_FAILED"):
                reason = f"{event.detail['logical-resource-id']}: {details['status-reason']}"
                self._note_reason(found["id"], reason)
        else:
            if details["status"].endswith("ROLLBACK_IN_PROGRESS"):
                self._note_reason(found["id"], details["status-reason"])
            self._follow(found["id"], details["status"], details["status-reason"])

    def _note_reason(self, product_id: str, reason: str) -> None:
        """The first failure of an operation is what its provisioned product tells of it."""
        document = self._store.get(_PROVISIONED, product_id)
        if document is not None and document["Status"] == "UNDER_CHANGE" and not document.get("Reason"):
            self._change(product_id, Reason=reason)

    def _follow(self, product_id: str, status: str, reason: str | None) -> None:
        if status == "DELETE_COMPLETE":
            self._gone(product_id)
        elif status in _DONE:
            self._settle(product_id, "AVAILABLE", None)
        elif status in _FAILED:
            document = self._store.get(_PROVISIONED, product_id)
            if document is None:
                return
            if status == "DELETE_FAILED" and document.get("IgnoreErrors"):
                self._gone(product_id)
                return
            said = document.get("Reason") or reason or "no reason is given"
            self._settle(product_id, _FAILED[status], f"{status}: {said}")

    def _settle(self, product_id: str, status: str, message: str | None) -> None:
        """The end of an operation, of its provisioned product and of its record."""
        with self._store.transaction():
            document = self._store.get(_PROVISIONED, product_id)
            if document is None or document["Status"] != "UNDER_CHANGE":
                return
            if status != "AVAILABLE":
                document |= document.get("Before") or {}
            document |= {"Status": status, "StatusMessage": message, "Before": None}
            self._end_record(document["LastRecordId"], message)
            if status == "AVAILABLE":
                document["LastSuccessfulProvisioningRecordId"] = document["LastRecordId"]
            self._store.put(_PROVISIONED, product_id, document)

    def _gone(self, product_id: str) -> None:
        with self._store.transaction():
            document = self._store.get(_PROVISIONED, product_id)
            if document is not None:
                self._end_record(document["LastRecordId"], None)
                self._store.delete(_PROVISIONED, product_id)

    # --- records ------------------------------------------------------------------------------------------------------

    def _begun(self, document: Document, kind: str) -> Document:
        """Keep a provisioned product whose operation begins, and the operation's record."""
        now = self._context.clock.now()
        record: Document = {
            "RecordId": new_id("rec"),
            "ProvisionedProductName": document["Name"],
            "Status": "IN_PROGRESS",
            "CreatedTime": now,
            "UpdatedTime": now,
            "ProvisionedProductType": _KIND,
            "RecordType": kind,
            "ProvisionedProductId": document["Id"],
            "RecordErrors": [],
            "RecordTags": tag_list(document["Tags"]),
            **{name: document.get(name) for name in ("ProductId", "ProvisioningArtifactId", "PathId", "LaunchRoleArn")},
        }
        document["LastRecordId"] = record["RecordId"]
        if kind != "TERMINATE_PROVISIONED_PRODUCT":
            document["LastProvisioningRecordId"] = record["RecordId"]
        with self._store.transaction():
            self._store.put(_RECORD, record["RecordId"], record)
            self._store.put(_PROVISIONED, document["Id"], document)
        return record

    def _end_record(self, record_id: str, message: str | None) -> None:
        errors = [{"Code": "CloudFormationException", "Description": message}] if message else []
        ended = {
            "Status": "FAILED" if message else "SUCCEEDED",
            "RecordErrors": errors,
            "UpdatedTime": self._context.clock.now(),
        }
        self._store.update(_RECORD, record_id, lambda record: {**record, **ended})

    def _record(self, record_id: str) -> Document:
        found = self._store.get(_RECORD, record_id)
        if found is None:
            raise missing("Record", record_id)
        return found

    def _answer(self, record: Mapping[str, Any]) -> dict[str, Any]:
        return {"RecordDetail": {member: record.get(member) for member in _RECORDED}}

    # --- small things -------------------------------------------------------------------------------------------------

    def _caller(self, request: Request) -> str:
        return self._context.principals.of(request.access_key)

    def _client(self, document: Mapping[str, Any], caller: str) -> Any:
        """CloudFormation, as the role of the launch constraint, or else as the caller."""
        role = document.get("LaunchRoleArn") or (None if caller.endswith(":root") else caller)
        return self._context.clients.of("cloudformation", role)

    def _asked(self, document: Mapping[str, Any], artifact: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "TemplateURL": artifact["TemplateUrl"],
            "Parameters": [
                {"ParameterKey": key, "ParameterValue": value} for key, value in document["Parameters"].items()
            ],
            "Tags": tag_list(document["Tags"]),
            "ClientRequestToken": document["LastRecordId"],
        }

    def _declared(
        self, values: Mapping[str, str], artifact: Mapping[str, Any], given: Mapping[str, str]
    ) -> dict[str, str]:
        """Of the values that a provisioned product has, those that another version's template still asks for."""
        declared = {one["ParameterKey"] for one in self._products.parameters(artifact)}
        return {key: value for key, value in values.items() if key in declared or key in given}

    def _launchable(self, product: Mapping[str, Any], params: Mapping[str, Any]) -> Document:
        artifact = self._products.artifact(product, params)
        if not artifact["Active"]:
            raise invalid(f"The version {artifact['Id']} of {product['Id']} is not active: it cannot be launched")
        return artifact

    def _paths(self, product_id: str, caller: str) -> dict[str, Document]:
        """The portfolios from which a caller may launch a product, by the ids of the paths."""
        return {
            f"lpv3-{portfolio['Id'].removeprefix('port-')}": portfolio
            for portfolio in self._portfolios.of_product(product_id)
            if self._portfolios.may_launch(portfolio, caller)
        }

    def _required_paths(self, product_id: str, caller: str) -> dict[str, Document]:
        paths = self._paths(product_id, caller)
        if not paths:
            raise ServiceError(
                "ResourceNotFoundException",
                f"No launch paths found for resource: {product_id}. A path is a portfolio with the product, to which"
                f" {caller} has access: associate both with one",
            )
        return paths

    def _path(self, product_id: str, params: Mapping[str, Any], caller: str) -> tuple[str, Document]:
        """The path that a request names, or the one that there is."""
        paths = self._required_paths(product_id, caller)
        for path, portfolio in paths.items():
            if params.get("PathId") == path or (
                not params.get("PathId") and params.get("PathName") == portfolio["DisplayName"]
            ):
                return path, portfolio
        if params.get("PathId") or params.get("PathName"):
            raise missing("Launch path", str(params.get("PathId") or params.get("PathName")))
        if len(paths) > 1:
            raise invalid(f"The product {product_id} has several launch paths: name one of {', '.join(paths)}")
        return next(iter(paths.items()))

    def _named(
        self,
        params: Mapping[str, Any],
        id_member: str = "ProvisionedProductId",
        name_member: str = "ProvisionedProductName",
    ) -> Document:
        """The provisioned product that a request names. Raises ResourceNotFoundException."""
        product_id, name = params.get(id_member), params.get(name_member)
        if bool(product_id) == bool(name):
            raise invalid(f"Specify one of {id_member} and {name_member}")
        for _, document in self._store.list(_PROVISIONED):
            if document["Id"] == product_id or document["Name"] == name:
                return document
        raise missing("Provisioned product", str(product_id or name))

    def _summary(self, document: Mapping[str, Any]) -> Document:
        product = next((one for one in self._products.everything() if one["Id"] == document["ProductId"]), None)
        artifacts = product["Artifacts"] if product else []
        named = [one.get("Name") for one in artifacts if one["Id"] == document["ProvisioningArtifactId"]]
        return {
            **{member: document.get(member) for member in _SHOWN},
            "Tags": tag_list(document["Tags"]),
            "PhysicalId": document.get("StackId"),
            "ProductName": product["Name"] if product else None,
            "ProvisioningArtifactName": named[0] if named else None,
            "UserArn": document["UserArn"],
            "UserArnSession": document["UserArn"],
        }

    def _change(self, product_id: str, **members: Any) -> None:
        self._store.update(_PROVISIONED, product_id, lambda document: {**document, **members})


def _said(error: ClientError | BotoCoreError) -> str:
    return str(error.response["Error"]["Message"]) if isinstance(error, ClientError) else str(error)
