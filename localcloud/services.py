"""Which AWS services localcloud owns, and what implements them: the one list."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from localcloud.context import Context
from localcloud.leaf import SERVICES
from localcloud.service import Service

LEAF = SERVICES
"""What moto stores, by botocore name."""

OWNED = (
    "sagemaker",
    "sagemaker-runtime",
    "sagemaker-featurestore-runtime",
    "events",
    "scheduler",
    "lambda",
    "cloudwatch",
    "apigateway",
    "codepipeline",
    "codebuild",
    "codecommit",
    "codeconnections",
    "codestar-connections",
    "cloudformation",
    "athena",
    "application-autoscaling",
    "cognito-idp",
    "wafv2",
    "kinesis",
    "firehose",
    "ecs",
    "kinesisanalyticsv2",
    "servicecatalog",
    "budgets",
)
"""By botocore name. None of these ever reaches moto: what is not implemented here answers UnknownOperationException."""

IN_PART: Mapping[str, frozenset[str]] = {
    "ec2": frozenset(
        {
            "AuthorizeSecurityGroupEgress",
            "AuthorizeSecurityGroupIngress",
            "CreateSecurityGroup",
            "CreateTags",
            "CreateVpcEndpoint",
            "DeleteSecurityGroup",
            "DeleteTags",
            "DeleteVpcEndpoints",
            "DescribeAvailabilityZones",
            "DescribeRouteTables",
            "DescribeSecurityGroupRules",
            "DescribeSecurityGroups",
            "DescribeSubnets",
            "DescribeVpcEndpoints",
            "DescribeVpcs",
            "ModifyVpcEndpoint",
            "RevokeSecurityGroupEgress",
            "RevokeSecurityGroupIngress",
        }
    ),
}
"""What is stored of a leaf service: the rest of EC2 would be machines that do not run."""

SIGNING_NAMES: Mapping[str, tuple[str, ...]] = {
    **{name: (name,) for name in (*OWNED, *LEAF)},
    "sagemaker": ("sagemaker", "sagemaker-runtime", "sagemaker-featurestore-runtime"),
    "monitoring": ("cloudwatch",),
    "kinesisanalytics": ("kinesisanalyticsv2",),
}
"""The services behind the name in a signature's credential scope. Where there are several, the request's own
address tells them apart."""

UNSIGNED: Mapping[str, frozenset[str]] = {
    "cognito-idp": frozenset({"GlobalSignOut", "InitiateAuth", "RespondToAuthChallenge", "RevokeToken"}),
}
"""Operations whose requests bear no signature: who calls them has no credentials yet, and they name their service
otherwise."""

QUICK: Mapping[str, frozenset[str]] = {
    "sagemaker-featurestore-runtime": frozenset({"PutRecord", "GetRecord", "DeleteRecord"}),
    "cloudwatch": frozenset({"PutMetricData"}),
}
"""Operations that take a fraction of a millisecond and wait for nothing, the leaf least of all. They are answered on
the event loop's own thread (`localcloud.quick`): to hand one over to another thread costs more than the operation."""

QUICK_BEGINS = re.compile(
    rb"(?:PUT|GET|DELETE) /FeatureGroup/"
    rb"|POST / HTTP/1\.1\r\n(?:[^\r\n]+\r\n)*?[Xx]-[Aa]mz-[Tt]arget: ?[A-Za-z0-9]+\.PutMetricData\r\n"
)
"""How such a request begins. No S3 request does: a bucket's name has no upper case."""


def create(context: Context, flink_python: Path | None = None) -> Sequence[Service]:
    """The services that are implemented so far, in the order in which they are started.

    flink_python: an interpreter with PyFlink, which runs the jobs of Flink applications.
    """
    # Imported here because the list above is wanted by readers that need no service, among them the command line.
    from localcloud.apigateway.service import ApiGateway
    from localcloud.athena.service import Athena
    from localcloud.autoscaling.service import ApplicationAutoScaling
    from localcloud.budgets.service import Budgets
    from localcloud.cloudformation.service import CloudFormation
    from localcloud.cloudwatch.service import CloudWatch
    from localcloud.codebuild.service import CodeBuild
    from localcloud.codecommit.repositories import Repositories
    from localcloud.codecommit.service import CodeCommit
    from localcloud.codeconnections.service import NAMES as CONNECTIONS
    from localcloud.codeconnections.service import CodeConnections
    from localcloud.codepipeline.service import CodePipeline
    from localcloud.cognito.service import Cognito
    from localcloud.ecs.service import Ecs
    from localcloud.events.service import EventBridge
    from localcloud.featurestore.runtime import FeatureStoreRuntime
    from localcloud.featurestore.store import FeatureStore
    from localcloud.firehose.service import Firehose
    from localcloud.flink.engine import Engine
    from localcloud.flink.service import ManagedFlink
    from localcloud.functions.service import Lambda
    from localcloud.kinesis.service import Kinesis
    from localcloud.kinesis.streams import Streams
    from localcloud.sagemaker.endpoints.invocation import SageMakerRuntime
    from localcloud.sagemaker.service import SageMaker
    from localcloud.scheduler.service import Scheduler
    from localcloud.servicecatalog.service import ServiceCatalog
    from localcloud.table_files import TableFiles
    from localcloud.waf.service import Waf

    files = TableFiles(context.state_dir / "tables")
    store = FeatureStore(context, files)
    streams = Streams(context)
    functions = Lambda(context, streams)
    # Before SageMaker, whose projects look at its products when a stack has changed: it is told of that first.
    catalog = ServiceCatalog(context)
    sagemaker = SageMaker(context, feature_store=store)
    autoscaling = ApplicationAutoScaling(context)
    containers = Ecs(context, lambda uri: sagemaker.runtime.images.resolve(uri), sagemaker.runtime.reaper)
    flink = ManagedFlink(context, streams, Engine(flink_python, sagemaker.runtime.reaper))
    users, firewall = Cognito(context), Waf(context)
    repositories = Repositories(context)
    return [
        # Started before who reads its streams, and stopped after them.
        Kinesis(context, streams),
        Firehose(context, streams),
        FeatureStoreRuntime(store),
        # Stopped after the executions whose steps wait for functions: that a function was killed says nothing of them.
        functions,
        users,
        firewall,
        ApiGateway(context, functions.invoke_for, users.verify, firewall),
        sagemaker,
        SageMakerRuntime(context, sagemaker.endpoints),
        # Stopped before SageMaker, whose images and watchdog they share.
        containers,
        flink,
        CodeBuild(context, sagemaker.runtime.reaper),
        Athena(context, store, files),
        Budgets(context),
        # Stopped before what its targets are.
        EventBridge(context, functions.settle),
        Scheduler(context, functions.settle),
        # Started after whom it tells of pushes, and stopped after CodePipeline, which reads from it.
        CodeCommit(context, repositories),
        *(CodeConnections(context, name) for name in CONNECTIONS),
        # Last, since what they left to be done at their last end calls the others.
        CloudWatch(context, autoscaling.run_policy),
        autoscaling,
        catalog,
        # It calls all others, until it is stopped.
        CloudFormation(context),
        # Stopped before whom its actions wait for: that a build was killed says nothing of the pipeline.
        CodePipeline(context, repositories),
    ]
