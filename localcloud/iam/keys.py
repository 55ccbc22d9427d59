"""The condition keys that localcloud has values for, wherever a call has them.

Source: "AWS global condition context keys" in the IAM User Guide, and "Actions, resources, and condition keys for AWS
services" in the Service Authorization Reference.
"""

from __future__ import annotations

from functools import lru_cache

_GLOBAL = (
    "CurrentTime", "EpochTime", "PrincipalAccount", "PrincipalArn", "PrincipalIsAWSService", "PrincipalServiceName",
    "PrincipalType", "RequestedRegion", "ResourceAccount", "SecureTransport", "SourceAccount", "SourceArn", "SourceIp",
    "TagKeys", "UserAgent", "userid", "username", "ViaAWSService",
    # Nothing on this machine has them: there is no organisation, no VPC, no second factor.
    "CalledVia", "CalledViaFirst", "CalledViaLast", "FederatedProvider", "MultiFactorAuthAge",
    "MultiFactorAuthPresent", "PrincipalOrgID", "PrincipalOrgPaths", "ResourceOrgID", "ResourceOrgPaths", "referer",
    "SourceIdentity", "SourceOrgID", "SourceOrgPaths", "SourceOwner", "SourceVpc", "SourceVpce", "TokenIssueTime",
    "VpcSourceIp",
)  # fmt: skip
_OF_SERVICES = {
    "apigateway": (),
    "application-autoscaling": ("scalable-dimension", "service-namespace"),
    "cloudformation": ("ChangeSetName", "ResourceTypes", "RoleArn", "TemplateUrl"),
    "cloudwatch": ("AlarmActions", "namespace"),
    "codebuild": (),
    "codecommit": ("References",),
    "codestar-connections": ("FullRepositoryId", "ProviderAction", "ProviderType", "RepositoryName", "PassedToService"),
    "codeconnections": ("FullRepositoryId", "ProviderAction", "ProviderType", "RepositoryName", "PassedToService"),
    "ec2": ("AuthorizedService", "AuthorizedUser", "ResourceTag", "Subnet", "Vpc"),
    "ecs": ("cluster", "service", "task", "task-definition"),
    "events": ("creatorAccount", "detail-type", "source", "TargetArn"),
    "iam": ("AWSServiceName", "PassedToService", "PermissionsBoundary", "PolicyARN"),
    "kms": ("CallerAccount", "EncryptionContextKeys", "GrantIsForAWSResource", "RequestAlias", "ResourceAliases",
            "ViaService"),
    "lambda": ("EventSourceToken", "FunctionArn", "FunctionUrlAuthType", "Layer", "Principal"),
    "s3": ("authType", "delimiter", "max-keys", "prefix", "ResourceAccount", "VersionId", "x-amz-acl",
           "x-amz-copy-source", "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id",
           "x-amz-storage-class"),
    "sagemaker": ("AcceleratorTypes", "CustomerMetadataPropertiesToRemove", "FeatureGroupDisableGlueTableCreation",
                  "FeatureGroupEnableOnlineStore", "FeatureGroupOfflineStoreKmsKey",
                  "FeatureGroupOfflineStoreS3Uri", "FeatureGroupOnlineStoreKmsKey", "InstanceTypes",
                  "InterContainerTrafficEncryption", "MaxRuntimeInSeconds", "ModelApprovalStatus", "ModelArn",
                  "NetworkIsolation", "OutputKmsKey", "RootAccess", "TargetModel", "VolumeKmsKey",
                  "VpcSecurityGroupIds", "VpcSubnets"),
    "servicecatalog": ("accountLevel", "roleLevel", "userLevel"),
    "sns": ("Endpoint", "Protocol"),
    "ssm": ("Overwrite", "Recursive"),
    "sts": ("ExternalId", "RoleSessionName"),
}  # fmt: skip
_KNOWN = frozenset(
    {f"aws:{name}".lower() for name in _GLOBAL}
    | {f"{service}:{name}".lower() for service, names in _OF_SERVICES.items() for name in names}
)
# Keys that end with a name of the caller's, as `aws:ResourceTag/project`.
_FAMILIES = (
    "aws:principaltag/", "aws:requesttag/", "aws:resourcetag/", "iam:resourcetag/", "kms:encryptioncontext:",
    "sagemaker:resourcetag/", "codebuild:resourcetag/", "codepipeline:resourcetag/", "s3:existingobjecttag/",
    "s3:requestobjecttag/",
)  # fmt: skip
# What the token of an OpenID Connect provider says: `token.actions.githubusercontent.com:sub`.
_CLAIMS = (":aud", ":sub", ":amr")


@lru_cache(maxsize=4_096)
def is_known(key: str) -> bool:
    """Whether calls can have a key, whose case means nothing."""
    lower = key.lower()
    if lower in _KNOWN or lower.startswith(_FAMILIES):
        return True
    provider, _, _ = lower.rpartition(":")
    return lower.endswith(_CLAIMS) and "." in provider
