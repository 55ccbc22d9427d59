"""Kinesis Data Streams as a service: its parts put together, and its operations by name.

Not there: registered consumers (enhanced fan-out), the number of shards as a target (UpdateShardCount; SplitShard and
MergeShards are), shard-level metrics, resource policies, and on-demand streams that grow beyond their four shards.
"""

from __future__ import annotations

from collections.abc import Mapping

from localcloud.context import Context
from localcloud.kinesis.limits import Limits
from localcloud.kinesis.listing import Listing
from localcloud.kinesis.management import Management
from localcloud.kinesis.reading import Reading
from localcloud.kinesis.streams import Streams
from localcloud.kinesis.tags import Tags
from localcloud.kinesis.writing import Writing
from localcloud.service import Handler


class Kinesis:
    """The service. Starting and stopping it starts and stops the streams, which others read, too."""

    name = "kinesis"

    def __init__(self, context: Context, streams: Streams, limits: Limits | None = None) -> None:
        self._streams = streams
        limits = limits or Limits(context.clock)
        management, listing = Management(context, streams, limits), Listing(context, streams)
        writing, reading, tags = Writing(context, streams, limits), Reading(context, streams, limits), Tags(streams)
        self._operations: dict[str, Handler] = {
            "CreateStream": management.create,
            "DeleteStream": management.delete,
            "DescribeStream": listing.describe,
            "DescribeStreamSummary": management.summary,
            "ListStreams": management.list,
            "ListShards": listing.list_shards,
            "PutRecord": writing.put_record,
            "PutRecords": writing.put_records,
            "GetShardIterator": reading.get_shard_iterator,
            "GetRecords": reading.get_records,
            "SplitShard": management.split,
            "MergeShards": management.merge,
            "IncreaseStreamRetentionPeriod": management.increase_retention,
            "DecreaseStreamRetentionPeriod": management.decrease_retention,
            "StartStreamEncryption": management.start_encryption,
            "StopStreamEncryption": management.stop_encryption,
            "UpdateStreamMode": management.update_mode,
            "UpdateMaxRecordSize": management.update_record_size,
            "AddTagsToStream": tags.add,
            "RemoveTagsFromStream": tags.remove,
            "ListTagsForStream": tags.of_stream,
            "TagResource": tags.add,
            "UntagResource": tags.remove,
            "ListTagsForResource": tags.of_resource,
        }

    @property
    def operations(self) -> Mapping[str, Handler]:
        """What is implemented, by name."""
        return self._operations

    def start(self) -> None:
        """Take up what an earlier process left."""
        self._streams.start()

    def stop(self) -> None:
        """Close the file; readers have ended before."""
        self._streams.close()
