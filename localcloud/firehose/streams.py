"""Firehose streams as they are described: what a stream reads, where it delivers, its version and its tags."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.firehose import destination
from localcloud.firehose.buffers import Buffers
from localcloud.firehose.delivery import Deliveries, Stream
from localcloud.firehose.errors import invalid, missing
from localcloud.firehose.source import Source
from localcloud.kinesis.streams import Streams as KinesisStreams
from localcloud.resource_policies import allows

Document = dict[str, Any]

_STREAM = "firehose/stream"
_PRINCIPAL = "firehose.amazonaws.com"
_ROLE = re.compile(r"arn:[^:]+:iam::\d*:role/(?:.*/)?(?P<name>[^/]+)")
_DESTINATION_ID = "destinationId-000000000001"
_DIRECT, _KINESIS = "DirectPut", "KinesisStreamAsSource"
_CREATED_BY = frozenset(
    {
        "DeliveryStreamEncryptionConfigurationInput", "DeliveryStreamName", "DeliveryStreamType",
        "ExtendedS3DestinationConfiguration", "KinesisStreamSourceConfiguration", "Tags",
    }
)  # fmt: skip
_MOST_TAGS = 50


class Streams:
    """The operations on streams, and the streams themselves. All methods may be called from any thread."""

    def __init__(self, context: Context, kinesis: KinesisStreams, buffers: Buffers) -> None:
        self._context, self._buffers = context, buffers
        self._documents: dict[str, Document] = dict(context.store.list(_STREAM))
        self._known: dict[str, Stream] = {}
        self._lock = threading.RLock()
        for document in self._documents.values():
            self._remember(document)
        self.deliveries = Deliveries(context, buffers, self._known.get)
        self._source = Source(context, kinesis, buffers, self.deliveries, self._readers)

    def start(self) -> None:
        """Go on with what an earlier process had taken, or had not read."""
        for arn in self._buffers.streams() - self._known.keys():
            self._buffers.forget(arn)
        self.deliveries.start()
        sources = (document.get("Source") for document in self._documents.values())
        self._source.start([source["KinesisStreamARN"] for source in sources if source])

    def stop(self) -> None:
        """Take and deliver no more."""
        self._source.stop()
        self.deliveries.close()

    def direct(self, name: str) -> Stream:
        """A stream that records are put to. Raises ServiceError."""
        document = self._document(name)
        if document["Type"] != _DIRECT:
            raise invalid(f"This operation is not permitted on {document['Type']} delivery stream type.")
        return self._known[document["ARN"]]

    def create(self, request: Request) -> dict[str, Any]:
        """CreateDeliveryStream: to S3, from what is put or from a Kinesis stream. It is ACTIVE at once."""
        params = request.params
        for member in params.keys() - _CREATED_BY:
            raise invalid(f"localcloud's Firehose has no {member}; it delivers to ExtendedS3DestinationConfiguration")
        if "ExtendedS3DestinationConfiguration" not in params:
            raise invalid("Exactly one destination is required: localcloud has ExtendedS3DestinationConfiguration")
        name, kind = params["DeliveryStreamName"], params.get("DeliveryStreamType", _DIRECT)
        source = params.get("KinesisStreamSourceConfiguration")
        if kind not in (_DIRECT, _KINESIS):
            raise invalid(f"localcloud's Firehose has the DeliveryStreamType {_DIRECT} and {_KINESIS}; got {kind}")
        if (kind == _KINESIS) != bool(source):
            raise invalid(f"KinesisStreamSourceConfiguration goes with the DeliveryStreamType {_KINESIS}, and no other")
        encryption = params.get("DeliveryStreamEncryptionConfigurationInput")
        if encryption and kind != _DIRECT:
            raise invalid("A stream that reads a Kinesis stream has no encryption of its own; the Kinesis stream has")
        now = self._context.clock.now()
        document: Document = {
            "Name": name,
            "ARN": f"arn:aws:firehose:{self._context.region}:{self._context.account_id}:deliverystream/{name}",
            "Type": kind,
            "VersionId": 1,
            "CreatedAt": now,
            "ChangedAt": None,
            "Source": {**source, "DeliveryStartTimestamp": now} if source else None,
            "Encryption": encryption,
            "Destination": destination.configured(params["ExtendedS3DestinationConfiguration"]),
            "Tags": _tags(params.get("Tags", [])),
        }
        stream = self._stream(document)
        for role in {stream.destination.role_arn, *([source["RoleARN"]] if source else [])}:
            self._check_role(role, document["ARN"])
        with self._lock:
            if name in self._documents:
                raise ServiceError(
                    "ResourceInUseException",
                    f"Firehose {name} under accountId {self._context.account_id} already exists",
                )
            self._buffers.forget(document["ARN"])
            if source:
                self._begin(stream, source["KinesisStreamARN"])
            self._context.store.put(_STREAM, name, document)
            self._remember(document)
        if source:
            # What came before anybody knew that it reads.
            self._source.wake(source["KinesisStreamARN"])
        return {"DeliveryStreamARN": document["ARN"]}

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribeDeliveryStream."""
        document = self._document(request.params["DeliveryStreamName"])
        extended = document["Destination"]
        plain = {
            member: extended[member]
            for member in (
                "RoleARN", "BucketARN", "Prefix", "ErrorOutputPrefix", "BufferingHints", "CompressionFormat",
                "EncryptionConfiguration", "CloudWatchLoggingOptions",
            )
            if member in extended
        }  # fmt: skip
        encryption = document["Encryption"]
        return {
            "DeliveryStreamDescription": {
                "DeliveryStreamName": document["Name"],
                "DeliveryStreamARN": document["ARN"],
                "DeliveryStreamStatus": "ACTIVE",
                "DeliveryStreamEncryptionConfiguration": (
                    {**encryption, "Status": "ENABLED"} if encryption else {"Status": "DISABLED"}
                ),
                "DeliveryStreamType": document["Type"],
                "VersionId": str(document["VersionId"]),
                "CreateTimestamp": document["CreatedAt"],
                "LastUpdateTimestamp": document["ChangedAt"],
                "Source": {"KinesisStreamSourceDescription": document["Source"]} if document["Source"] else None,
                "Destinations": [
                    {
                        "DestinationId": _DESTINATION_ID,
                        "S3DestinationDescription": plain,
                        "ExtendedS3DestinationDescription": extended,
                    }
                ],
                "HasMoreDestinations": False,
            }
        }

    def list(self, request: Request) -> dict[str, Any]:
        """ListDeliveryStreams."""
        params = request.params
        start, kind = params.get("ExclusiveStartDeliveryStreamName", ""), params.get("DeliveryStreamType")
        with self._lock:
            documents = list(self._documents.values())
        names = sorted(one["Name"] for one in documents if one["Name"] > start and kind in (None, one["Type"]))
        page = names[: params.get("Limit", 10)]
        return {"DeliveryStreamNames": page, "HasMoreDeliveryStreams": len(page) < len(names)}

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteDeliveryStream: what it has not delivered is lost, as on AWS."""
        with self._lock:
            document = self._document(request.params["DeliveryStreamName"])
            stream = self._known.pop(document["ARN"])
            del self._documents[document["Name"]]
            self._context.store.delete(_STREAM, document["Name"])
        self.deliveries.forget(stream)
        return {}

    def update(self, request: Request) -> dict[str, Any]:
        """UpdateDestination: what the request leaves out stays. What was taken before is delivered as it was to be."""
        params = request.params
        if "ExtendedS3DestinationUpdate" not in params:
            raise invalid("localcloud's Firehose has the destination ExtendedS3DestinationUpdate")
        with self._lock:
            document = self._document(params["DeliveryStreamName"])
            if params["CurrentDeliveryStreamVersionId"] != str(document["VersionId"]):
                raise ServiceError(
                    "ConcurrentModificationException",
                    f"Cannot update firehose: {document['Name']} since the current version id:"
                    f" {document['VersionId']} and specified version id: {params['CurrentDeliveryStreamVersionId']} do"
                    " not match",
                )
            if params["DestinationId"] != _DESTINATION_ID:
                raise invalid(f"Destination Id {params['DestinationId']} not found; there is {_DESTINATION_ID}")
            before = document["Destination"]
            after = destination.configured({**before, **params["ExtendedS3DestinationUpdate"]})
            if _is_partitioned(before) != _is_partitioned(after):
                raise invalid("Dynamic Partitioning of a Firehose stream cannot be enabled or disabled later")
            changed = {
                **document,
                "Destination": after,
                "VersionId": document["VersionId"] + 1,
                "ChangedAt": self._context.clock.now(),
            }
            self._check_role(self._stream(changed).destination.role_arn, document["ARN"])
            self.deliveries.seal_all(self._known[document["ARN"]])
            self._context.store.put(_STREAM, document["Name"], changed)
            self._remember(changed)
        return {}

    def tag(self, request: Request) -> dict[str, Any]:
        """TagDeliveryStream."""
        self._retag(request, lambda tags: {**tags, **_tags(request.params["Tags"])})
        return {}

    def untag(self, request: Request) -> dict[str, Any]:
        """UntagDeliveryStream: keys that are not there are no error."""
        keys = request.params["TagKeys"]
        self._retag(request, lambda tags: {key: value for key, value in tags.items() if key not in keys})
        return {}

    def tags(self, request: Request) -> dict[str, Any]:
        """ListTagsForDeliveryStream."""
        params = request.params
        tags = self._document(params["DeliveryStreamName"])["Tags"]
        keys = sorted(key for key in tags if key > params.get("ExclusiveStartTagKey", ""))
        page = keys[: params.get("Limit", _MOST_TAGS)]
        return {"Tags": [{"Key": key, "Value": tags[key]} for key in page], "HasMoreTags": len(page) < len(keys)}

    def _retag(self, request: Request, function: Any) -> None:
        with self._lock:
            document = self._document(request.params["DeliveryStreamName"])
            changed = {**document, "Tags": function(document["Tags"])}
            if len(changed["Tags"]) > _MOST_TAGS:
                raise invalid(f"A Firehose stream has at most {_MOST_TAGS} tags; got {len(changed['Tags'])}")
            self._context.store.put(_STREAM, document["Name"], changed)
            self._documents[document["Name"]] = changed

    def _document(self, name: str) -> Document:
        found = self._documents.get(name)
        if found is None:
            raise missing(name, self._context.account_id)
        return found

    def _remember(self, document: Document) -> None:
        self._documents[document["Name"]] = document
        self._known[document["ARN"]] = self._stream(document)

    def _stream(self, document: Document) -> Stream:
        return Stream(
            arn=document["ARN"],
            name=document["Name"],
            version=str(document["VersionId"]),
            destination=destination.parse(document["Destination"]),
            keeps=document["Type"] != _DIRECT,
        )

    def _readers(self, kinesis_arn: str) -> Iterator[Stream]:
        with self._lock:
            documents = list(self._documents.values())
        for document in documents:
            if document["Source"] and document["Source"]["KinesisStreamARN"] == kinesis_arn:
                stream = self._known.get(document["ARN"])
                if stream is not None:
                    yield stream

    def _begin(self, stream: Stream, kinesis_arn: str) -> None:
        try:
            self._source.begin(stream, kinesis_arn)
        except ServiceError as error:
            raise invalid(f"The Kinesis stream {kinesis_arn} cannot be read: {error.message}") from error

    def _check_role(self, arn: str, stream_arn: str) -> None:
        match = _ROLE.fullmatch(arn)
        try:
            found = self._context.leaf.client("iam").get_role(RoleName=match["name"])["Role"] if match else None
        except ClientError:
            found = None
        if found is None or not allows(
            json.dumps(found["AssumeRolePolicyDocument"]),
            service=_PRINCIPAL,
            action="sts:AssumeRole",
            source_arn=stream_arn,
            account=self._context.account_id,
            external_id=self._context.account_id,
        ):
            raise invalid(
                f"Firehose is unable to assume role {arn}. Please check the role provided. It must be a role whose"
                f" trust policy lets {_PRINCIPAL} do sts:AssumeRole"
            )


def _is_partitioned(config: Mapping[str, Any]) -> bool:
    return bool(config.get("DynamicPartitioningConfiguration", {}).get("Enabled"))


def _tags(given: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return {one["Key"]: one.get("Value", "") for one in given}
