"""The resource types that a stack may have, by name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from localcloud.cloudformation import schemas
from localcloud.cloudformation.resources.alarms import TYPES as ALARMS
from localcloud.cloudformation.resources.apigateway import TYPES as APIGATEWAY
from localcloud.cloudformation.resources.buckets import TYPES as BUCKETS
from localcloud.cloudformation.resources.budgets import TYPES as BUDGETS
from localcloud.cloudformation.resources.codebuild import TYPES as CODEBUILD
from localcloud.cloudformation.resources.codecommit import TYPES as CODECOMMIT
from localcloud.cloudformation.resources.codepipeline import TYPES as CODEPIPELINE
from localcloud.cloudformation.resources.cognito import TYPES as COGNITO
from localcloud.cloudformation.resources.custom import TYPES as CUSTOM
from localcloud.cloudformation.resources.dashboards import TYPES as DASHBOARDS
from localcloud.cloudformation.resources.ecr import TYPES as ECR
from localcloud.cloudformation.resources.ecs import TYPES as ECS
from localcloud.cloudformation.resources.events import TYPES as EVENTS
from localcloud.cloudformation.resources.firehose import TYPES as FIREHOSE
from localcloud.cloudformation.resources.flink import TYPES as FLINK
from localcloud.cloudformation.resources.functions import TYPES as FUNCTIONS
from localcloud.cloudformation.resources.iam import TYPES as IAM
from localcloud.cloudformation.resources.kind import ResourceType
from localcloud.cloudformation.resources.kms import TYPES as KMS
from localcloud.cloudformation.resources.logs import TYPES as LOGS
from localcloud.cloudformation.resources.parameter_store import TYPES as PARAMETER_STORE
from localcloud.cloudformation.resources.queues import TYPES as QUEUES
from localcloud.cloudformation.resources.sagemaker import TYPES as SAGEMAKER
from localcloud.cloudformation.resources.scheduler import TYPES as SCHEDULER
from localcloud.cloudformation.resources.security_groups import TYPES as SECURITY_GROUPS
from localcloud.cloudformation.resources.servicecatalog import TYPES as SERVICE_CATALOG
from localcloud.cloudformation.resources.streams import TYPES as STREAMS
from localcloud.cloudformation.resources.tables import TYPES as TABLES
from localcloud.cloudformation.resources.topics import TYPES as TOPICS
from localcloud.cloudformation.resources.tracking import TYPES as TRACKING
from localcloud.cloudformation.resources.vpc_endpoints import TYPES as VPC_ENDPOINTS
from localcloud.cloudformation.resources.waf import TYPES as WAF

TYPES: Mapping[str, ResourceType] = {
    kind.name: kind
    for kind in (
        *ALARMS,
        *APIGATEWAY,
        *BUCKETS,
        *BUDGETS,
        *CODEBUILD,
        *CODECOMMIT,
        *CODEPIPELINE,
        *COGNITO,
        *CUSTOM,
        *DASHBOARDS,
        *ECR,
        *ECS,
        *EVENTS,
        *FIREHOSE,
        *FLINK,
        *FUNCTIONS,
        *IAM,
        *KMS,
        *LOGS,
        *PARAMETER_STORE,
        *QUEUES,
        *SAGEMAKER,
        *SCHEDULER,
        *SECURITY_GROUPS,
        *SERVICE_CATALOG,
        *STREAMS,
        *TABLES,
        *TOPICS,
        *TRACKING,
        *VPC_ENDPOINTS,
        *WAF,
    )
}


def kind_of(type_name: str) -> ResourceType:
    """The kind of a resource type. Raises KeyError for one that there is not."""
    return TYPES[schemas.schema_name(type_name)]


def is_known(type_name: str) -> bool:
    """Whether there is such a type."""
    return schemas.schema_name(type_name) in TYPES


def not_honoured(type_name: str, properties: Mapping[str, Any]) -> list[str]:
    """The paths of what is given and would be dropped. Expressions are looked into as far as they are plain."""
    if kind_of(type_name).is_open:
        return []
    return sorted(set(_not_honoured(properties, kind_of(type_name).honours, "")))


def _not_honoured(value: Any, honours: Collection[str], path: str) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _not_honoured(item, honours, path)
    if not isinstance(value, Mapping):
        return
    if len(value) == 1:
        (name,) = value
        if name == "Fn::If" and isinstance(value[name], list):
            yield from _not_honoured(value[name][1:], honours, path)
            return
        if name == "Ref" or name.startswith("Fn::"):
            return
    for name, item in value.items():
        below = f"{path}.{name}" if path else name
        if below in honours:
            continue
        if any(honoured.startswith(f"{below}.") for honoured in honours):
            yield from _not_honoured(item, honours, below)
        else:
            yield below
