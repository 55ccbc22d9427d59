"""What a stream's ExtendedS3DestinationConfiguration asks for, checked as a whole: what is not done is refused."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localcloud.firehose import prefixes
from localcloud.firehose.errors import invalid
from localcloud.firehose.extraction import Extraction, QueryError
from localcloud.firehose.prefixes import Prefix

_GZIP, _UNCOMPRESSED = "GZIP", "UNCOMPRESSED"
_MEBIBYTE = 1024 * 1024
# Source: "Buffering hints" and "Dynamic partitioning" in the Developer Guide.
_DEFAULT_HINTS = {"SizeInMBs": 5, "IntervalInSeconds": 300}
_LEAST_PARTITIONED_MBS = 64
_BUCKET = "arn:aws:s3:::"
_KNOWN = frozenset(
    {
        "BucketARN", "BufferingHints", "CloudWatchLoggingOptions", "CompressionFormat", "CustomTimeZone",
        "DataFormatConversionConfiguration", "DynamicPartitioningConfiguration", "EncryptionConfiguration",
        "ErrorOutputPrefix", "FileExtension", "Prefix", "ProcessingConfiguration", "RoleARN", "S3BackupMode",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Destination:
    """Where a stream delivers, and how."""

    bucket: str
    role_arn: str
    prefix: Prefix
    error_prefix: Prefix
    most_bytes: int
    """Of a buffer, before it is compressed."""
    interval_seconds: int
    compressed: bool
    extension: str
    key_arn: str | None
    """The KMS key of its objects."""
    delimiter: bytes
    """What follows each record."""
    extraction: Extraction | None
    """With dynamic partitioning: what says where a record belongs."""
    log: tuple[str, str] | None
    """The log group and stream that errors are written to."""


def configured(given: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as it is described: with the values of what it leaves out."""
    hints = {**_DEFAULT_HINTS, **given.get("BufferingHints", {})}
    return {
        "Prefix": "",
        "CompressionFormat": _UNCOMPRESSED,
        "EncryptionConfiguration": {"NoEncryptionConfig": "NoEncryption"},
        "CloudWatchLoggingOptions": {"Enabled": False},
        "S3BackupMode": "Disabled",
        **given,
        "BufferingHints": hints,
    }


def parse(config: Mapping[str, Any]) -> Destination:
    """What a configuration (`configured`) means. Raises ServiceError (InvalidArgumentException)."""
    for member in config.keys() - _KNOWN:
        raise invalid(f"localcloud's Firehose has no {member}; got {config[member]!r}")
    _refuse(config, "S3BackupMode", "Disabled")
    _refuse(config, "CustomTimeZone", "UTC")
    if config.get("DataFormatConversionConfiguration", {}).get("Enabled"):
        raise invalid("localcloud's Firehose has no DataFormatConversionConfiguration; leave it out")
    compression = config["CompressionFormat"]
    if compression not in (_GZIP, _UNCOMPRESSED):
        raise invalid(f"localcloud's Firehose has the CompressionFormat GZIP and UNCOMPRESSED; got {compression}")
    partitioned = bool(config.get("DynamicPartitioningConfiguration", {}).get("Enabled"))
    hints = config["BufferingHints"]
    if partitioned and hints["SizeInMBs"] < _LEAST_PARTITIONED_MBS:
        raise invalid(
            f"BufferingHints.SizeInMBs must be at least {_LEAST_PARTITIONED_MBS} when Dynamic Partitioning is enabled;"
            f" got {hints['SizeInMBs']}"
        )
    try:
        prefix = prefixes.for_records(config["Prefix"], partitioned=partitioned)
        error_prefix = prefixes.for_errors(config.get("ErrorOutputPrefix"), config["Prefix"], partitioned=partitioned)
    except prefixes.PrefixError as error:
        raise invalid(f"Invalid prefix: {error}") from error
    delimiter, query = _processors(config.get("ProcessingConfiguration", {}))
    bucket = str(config["BucketARN"]).removeprefix(_BUCKET)
    return Destination(
        bucket=bucket,
        role_arn=config["RoleARN"],
        prefix=prefix,
        error_prefix=error_prefix,
        most_bytes=hints["SizeInMBs"] * _MEBIBYTE,
        interval_seconds=hints["IntervalInSeconds"],
        compressed=compression == _GZIP,
        extension=config.get("FileExtension") or (".gz" if compression == _GZIP else ""),
        key_arn=config["EncryptionConfiguration"].get("KMSEncryptionConfig", {}).get("AWSKMSKeyARN"),
        delimiter=delimiter,
        extraction=_extraction(query, prefix, partitioned=partitioned),
        log=_log(config["CloudWatchLoggingOptions"]),
    )


def _refuse(config: Mapping[str, Any], member: str, only: str) -> None:
    if config.get(member, only) != only:
        raise invalid(f"localcloud's Firehose has the {member} {only} only; got {config[member]!r}")


def _log(options: Mapping[str, Any]) -> tuple[str, str] | None:
    if not options.get("Enabled"):
        return None
    if not options.get("LogGroupName") or not options.get("LogStreamName"):
        raise invalid("CloudWatchLoggingOptions needs LogGroupName and LogStreamName when it is enabled")
    return options["LogGroupName"], options["LogStreamName"]


def _extraction(query: str | None, prefix: Prefix, *, partitioned: bool) -> Extraction | None:
    if query is None:
        if partitioned:
            raise invalid("Dynamic Partitioning needs a processor MetadataExtraction in ProcessingConfiguration")
        return None
    if not partitioned:
        raise invalid("The processor MetadataExtraction needs DynamicPartitioningConfiguration to be enabled")
    try:
        return Extraction(query, prefix.keys)
    except QueryError as error:
        raise invalid(f"The MetadataExtractionQuery {query!r} is not valid: {error}") from error


def _processors(processing: Mapping[str, Any]) -> tuple[bytes, str | None]:
    """The delimiter and the query. Raises ServiceError for what localcloud does not do."""
    delimiter, query = b"", None
    for processor in processing.get("Processors", []) if processing.get("Enabled") else []:
        kind = processor["Type"]
        values = {one["ParameterName"]: one["ParameterValue"] for one in processor.get("Parameters", [])}
        if kind == "AppendDelimiterToRecord":
            _known_parameters(kind, values, {"Delimiter"})
            delimiter = _delimiter(values.get("Delimiter", "\\n"))
        elif kind == "MetadataExtraction":
            _known_parameters(kind, values, {"MetadataExtractionQuery", "JsonParsingEngine"})
            if values.get("JsonParsingEngine") != "JQ-1.6" or "MetadataExtractionQuery" not in values:
                raise invalid(
                    "The processor MetadataExtraction needs a MetadataExtractionQuery and the JsonParsingEngine JQ-1.6;"
                    f" got {values}"
                )
            query = values["MetadataExtractionQuery"]
        else:
            raise invalid(
                f"localcloud's Firehose has the processors AppendDelimiterToRecord and MetadataExtraction; got {kind}"
            )
    return delimiter, query


def _known_parameters(kind: str, values: Mapping[str, str], known: set[str]) -> None:
    for name in values.keys() - known:
        raise invalid(f"localcloud's processor {kind} has no parameter {name}; it has {', '.join(sorted(known))}")


def _delimiter(text: str) -> bytes:
    """AWS takes the newline as it is written in most languages."""
    return codecs.decode(text, "unicode_escape").encode() if "\\" in text else text.encode()
