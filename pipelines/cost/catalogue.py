"""Every price that an estimate may ask for, and where AWS's price list has it: service code, usage type, unit.

A usage type is given without the region's prefix (`EU-` on the bills of eu-west-1), which differs between regions and
services. `also` narrows it where one usage type stands for several things.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipelines.cost.price_list import instance, volume

__all__ = ["CATALOGUE", "Item", "items", "machine"]


@dataclass(frozen=True)
class Item:
    """One price of the catalogue.

    Attributes:
        key: how the estimate names it.
        service: AWS's service code (`ServiceCode` of GetProducts).
        usage_type: without the region's prefix.
        unit: what is counted.
        times: how many of AWS's units are one of ours, where theirs is another (a price for 1,000 requests where AWS
            has that of one: 1000).
        also: further attributes of the product that must have these values.
    """

    key: str
    service: str
    usage_type: str
    unit: str
    times: float = 1
    also: Mapping[str, str] = field(default_factory=dict)


_MILLION = 1_000_000
# On SageMaker's bills: what a machine is used for.
_USES = {"hosting": "Host", "processing": "Processing", "training": "Train", "transform": "Tsform"}
_VOLUMES = {use: f"{_USES[use]}:VolumeUsage.gp2" for use in ("hosting", "processing", "training")}
_CACHES = ("0.5", "1.6", "6.1")
SERVERLESS_MEMORY = (1024, 2048, 3072, 4096, 5120, 6144)


def machine(use: str, instance_type: str) -> Item:
    """The price of a machine of SageMaker's; `use` is `hosting`, `processing`, `training` or `transform`."""
    return Item(instance(use, instance_type), "AmazonSageMaker", f"{_USES[use]}:{instance_type}", "hour")


CATALOGUE: tuple[Item, ...] = (
    *(Item(volume(use), "AmazonSageMaker", usage, "GB-month") for use, usage in _VOLUMES.items()),
    *(
        Item(f"sagemaker/serverless/{memory}", "AmazonSageMaker", f"ServerlessInf:Mem-{memory // 1024}GB", "second")
        for memory in SERVERLESS_MEMORY
    ),
    Item("sagemaker/data-in", "AmazonSageMaker", "Host:DataIn", "GB"),
    Item("sagemaker/data-out", "AmazonSageMaker", "Host:DataOut", "GB"),
    Item("sagemaker/features-write", "AmazonSageMaker", "FeatureStore:WriteRequestUnits", "million units", _MILLION),
    Item("sagemaker/features-read", "AmazonSageMaker", "FeatureStore:ReadRequestUnits", "million units", _MILLION),
    Item("sagemaker/features-storage", "AmazonSageMaker", "FeatureStore:StorageUsage", "GB-month"),
    Item("sagemaker/mlflow", "AmazonSageMaker", "MLflow:TrackingServer-Small", "hour"),
    Item("kinesis/stream", "AmazonKinesis", "OnDemand-StreamHour", "hour"),
    Item("kinesis/in", "AmazonKinesis", "OnDemand-BilledIncomingBytes", "GB"),
    Item("kinesis/out", "AmazonKinesis", "OnDemand-BilledOutgoingBytes", "GB"),
    Item("firehose/in", "AmazonKinesisFirehose", "BilledBytes", "GB"),
    Item("firehose/partitioning", "AmazonKinesisFirehose", "DynamicPartitioning-BilledBytes", "GB"),
    Item("firehose/objects", "AmazonKinesisFirehose", "DynamicPartitioning-Objects", "thousand objects", 1000),
    Item("fargate/vcpu", "AmazonECS", "Fargate-vCPU-Hours:perCPU", "vCPU-hour"),
    Item("fargate/memory", "AmazonECS", "Fargate-GB-Hours", "GB-hour"),
    Item("fargate/spot-vcpu", "AmazonECS", "SpotUsage-Fargate-vCPU-Hours:perCPU", "vCPU-hour"),
    Item("fargate/spot-memory", "AmazonECS", "SpotUsage-Fargate-GB-Hours", "GB-hour"),
    Item("network/address", "AmazonVPC", "PublicIPv4:InUseAddress", "hour"),
    Item("flink/unit", "AmazonKinesisAnalytics", "KPU-Hour-Java", "KPU-hour"),
    Item("flink/storage", "AmazonKinesisAnalytics", "RunningApplicationStorage", "GB-month"),
    Item("lambda/requests", "AWSLambda", "Request", "million requests", _MILLION),
    Item("lambda/duration", "AWSLambda", "Lambda-GB-Second", "GB-second"),
    Item("apigateway/requests", "AmazonApiGateway", "ApiGatewayRequest", "million requests", _MILLION),
    *(
        Item(f"apigateway/cache/{size}", "AmazonApiGateway", f"ApiGatewayCacheUsage:{size}GB", "hour")
        for size in _CACHES
    ),
    Item("waf/acl", "awswaf", "WebACLV2", "month"),
    Item("waf/rule", "awswaf", "RuleV2", "month"),
    Item("waf/requests", "awswaf", "RequestV2-Tier1", "million requests", _MILLION),
    Item("cognito/user", "AmazonCognito", "CognitoUserPools-Essentials-MAU", "active user"),
    Item("cloudwatch/metric", "AmazonCloudWatch", "CW:MetricMonitorUsage", "metric-month"),
    Item("cloudwatch/alarm", "AmazonCloudWatch", "CW:AlarmMonitorUsage", "alarm-month"),
    Item("cloudwatch/dashboard", "AmazonCloudWatch", "DashboardsUsageHour", "dashboard-month"),
    Item("cloudwatch/logs", "AmazonCloudWatch", "DataProcessing-Bytes", "GB"),
    Item("cloudwatch/log-storage", "AmazonCloudWatch", "TimedStorage-ByteHrs", "GB-month"),
    Item("codebuild/small", "CodeBuild", "Build-Min:Linux:g1.small", "minute"),
    Item("codebuild/medium", "CodeBuild", "Build-Min:Linux:g1.medium", "minute"),
    Item("codebuild/large", "CodeBuild", "Build-Min:Linux:g1.large", "minute"),
    Item("codepipeline/action", "AWSCodePipeline", "actionExecutionMinute", "minute"),
    Item("kms/key", "awskms", "KMS-Keys", "month"),
    Item("kms/requests", "awskms", "KMS-Requests", "10,000 requests", 10_000),
    Item("s3/storage", "AmazonS3", "TimedStorage-ByteHrs", "GB-month"),
    Item("s3/writes", "AmazonS3", "Requests-Tier1", "thousand requests", 1000),
    Item("s3/reads", "AmazonS3", "Requests-Tier2", "thousand requests", 1000),
    Item("ecr/storage", "AmazonECR", "TimedStorage-ByteHrs", "GB-month"),
    Item("dynamodb/writes", "AmazonDynamoDB", "WriteRequestUnits", "million units", _MILLION),
    Item("dynamodb/reads", "AmazonDynamoDB", "ReadRequestUnits", "million units", _MILLION),
    Item("dynamodb/storage", "AmazonDynamoDB", "TimedStorage-ByteHrs", "GB-month"),
    Item("events/custom", "AWSEvents", "Event-64K-Chunks", "million events", _MILLION, {"eventType": "Custom Event"}),
    Item("sqs/requests", "AWSQueueService", "Requests-Tier1", "million requests", _MILLION),
)
"""All but those of machines, which the configuration names."""


def items(machines: Iterable[tuple[str, str]]) -> list[Item]:
    """The catalogue with the machines (use, instance type) of a configuration."""
    return [*(machine(*each) for each in sorted(set(machines))), *CATALOGUE]
