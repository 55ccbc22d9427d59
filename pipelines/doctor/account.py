"""The account: whose it is, what its administrator has made, and what the project finds there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from pipelines.doctor.finding import Finding, bad, good, hint
from pipelines.names import ADMIN_STACK, Names
from pipelines.publishing.bucket import STUDIO_LOCATION_TAG, VISIBLE_TAG, TemplateBucket

__all__ = [
    "admin_stack",
    "boundary",
    "clock",
    "connections",
    "credentials",
    "launch_role",
    "mlflow",
    "repository",
    "studio",
    "template",
]

# AWS refuses signatures that are older or newer ("Signature Version 4": five minutes).
SKEW = timedelta(minutes=5)
_PUBLISH = "an administrator runs `mlops publish`, which makes template/admin.yml's stack and what projects are made of"
_ROLLED_BACK = ("UPDATE_ROLLBACK_COMPLETE",)
_FINE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE")
_TRUSTED = ("cloudformation.amazonaws.com", "sagemaker.amazonaws.com", "servicecatalog.amazonaws.com")


def credentials(sts: Any, names: Names) -> Finding:
    """Whose the credentials are, against the configuration's account."""
    caller = sts.get_caller_identity()
    if caller["Account"] != names.account_id:
        return bad(
            "credentials",
            f"of the account {caller['Account']}, but the project is in {names.account_id}",
            "take credentials of that account (AWS_PROFILE), or correct `account_id` in configs/project.yml",
        )
    return good("credentials", f"{caller['Arn']}, in {names.region}")


def clock(account: datetime, machine: datetime, *, on_aws: bool) -> Finding:
    """This machine's clock against the account's (both aware); a laptop's account may have been moved ahead."""
    apart = account - machine
    shown = f"{abs(apart).total_seconds():.0f} s {'behind' if apart > timedelta(0) else 'ahead of'} the account's"
    if abs(apart) < timedelta(seconds=2):
        return good("clock", "the same as the account's")
    if on_aws and abs(apart) >= SKEW:
        return bad("clock", shown, "set this machine's clock by NTP: AWS refuses signatures of another time")
    return good("clock", shown)


def admin_stack(cloudformation: Any) -> Finding:
    """The administrator's stack, once for each account and region."""
    try:
        [stack] = cloudformation.describe_stacks(StackName=ADMIN_STACK)["Stacks"]
    except ClientError as error:
        if "does not exist" not in error.response["Error"].get("Message", ""):
            raise
        return hint("administrator's stack", f"there is no stack `{ADMIN_STACK}`", _PUBLISH)
    status = stack["StackStatus"]
    if status in _FINE:
        return good("administrator's stack", f"{ADMIN_STACK}, {status}")
    why = f"`{ADMIN_STACK}` is {status}"
    if status in _ROLLED_BACK or status.endswith("_IN_PROGRESS"):
        return hint("administrator's stack", why, "wait for its end, then run `mlops publish`, which says what failed")
    return bad("administrator's stack", why, "read its events in CloudFormation; `mlops publish` brings it up again")


def template(bucket: TemplateBucket, s3: Any) -> Finding:
    """The published template that Studio shows."""
    newest = bucket.newest()
    if newest is None:
        return hint("template", f"nothing is published in s3://{bucket.name}", _PUBLISH)
    key = f"{bucket.studio_location.split('/', 3)[3]}project.yml"
    tags = {tag["Key"]: tag["Value"] for tag in s3.get_object_tagging(Bucket=bucket.name, Key=key)["TagSet"]}
    if tags.get(VISIBLE_TAG) != "true":
        return bad(
            "template", f"version {newest} has no tag {VISIBLE_TAG}=true: Studio hides it", "run `mlops publish` again"
        )
    return good("template", f"version {newest} in s3://{bucket.name}")


def launch_role(iam: Any, names: Names) -> Finding:
    """The role by which SageMaker and Service Catalog make projects."""
    name = names.launch_role_arn.rpartition("/")[2]
    try:
        role = iam.get_role(RoleName=name)["Role"]
    except iam.exceptions.NoSuchEntityException:
        return hint("launch role", f"there is no role `{name}`", _PUBLISH)
    principals: set[str] = set()
    for statement in role["AssumeRolePolicyDocument"].get("Statement", []):
        trusted = statement.get("Principal", {}).get("Service", [])
        principals |= {trusted} if isinstance(trusted, str) else set(trusted)
    missing = [service for service in _TRUSTED if service not in principals]
    if missing:
        return bad("launch role", f"`{name}` does not trust {', '.join(missing)}", "run `mlops publish`")
    return good("launch role", name)


def boundary(iam: Any, names: Names) -> Finding:
    """The permissions boundary that the launch role insists on."""
    try:
        iam.get_policy(PolicyArn=names.boundary_arn)
    except iam.exceptions.NoSuchEntityException:
        return hint("permissions boundary", f"there is no policy `{names.boundary_arn.rpartition('/')[2]}`", _PUBLISH)
    return good("permissions boundary", names.boundary_arn.rpartition("/")[2])


def repository(codecommit: Any, names: Names) -> Finding:
    """The project's repository on CodeCommit, which one on GitHub does not have."""
    try:
        found = codecommit.get_repository(repositoryName=names.repository)["repositoryMetadata"]
    except codecommit.exceptions.RepositoryDoesNotExistException:
        do = f"`mlops project create {names.project}` makes it; a project on GitHub has none"
        return hint("repository", f"CodeCommit has no `{names.repository}`", do)
    return good("repository", found["cloneUrlHttp"])


def connections(codeconnections: Any) -> Finding:
    """The connections to GitHub: each wants a person to confirm it."""
    answer = codeconnections.list_connections(MaxResults=100)["Connections"]
    pending = [found["ConnectionName"] for found in answer if found["ConnectionStatus"] != "AVAILABLE"]
    if pending:
        do = "confirm it in the console, Developer Tools, Connections; until then GitHub starts nothing"
        return hint("connections", f"{', '.join(pending)} not available", do)
    names = ", ".join(found["ConnectionName"] for found in answer)
    return good("connections", names or "none; only GitHub needs one")


def mlflow(uri: str | None, wanted: str, sagemaker: Any, ask: Callable[[str], str]) -> Finding:
    """MLflow's server and its version.

    uri: MLFLOW_TRACKING_URI. wanted: the version of the lock. ask: gives what an http address answers, or raises
    OSError.
    """
    if not uri:
        do = "set MLFLOW_TRACKING_URI to a server's address or to the ARN of SageMaker's; `mlops up` starts one here"
        return hint("MLflow", "MLFLOW_TRACKING_URI is not set", do)
    if uri.startswith("arn:"):
        name = uri.rpartition("/")[2]
        server = sagemaker.describe_mlflow_tracking_server(TrackingServerName=name)
        status, found = server["TrackingServerStatus"], server.get("MlflowVersion", "")
        if server.get("IsActive") != "Active":
            do = f"start it: `aws sagemaker start-mlflow-tracking-server --tracking-server-name {name}`"
            return bad("MLflow", f"the tracking server `{name}` is {status}", do)
    else:
        try:
            found = ask(f"{uri.rstrip('/')}/version").strip()
        except OSError as error:
            return bad("MLflow", f"`{uri}` does not answer: {error}", "start it, or correct MLFLOW_TRACKING_URI")
    if found.partition(".")[0] != wanted.partition(".")[0]:
        do = "serve that major version: clients and server of different ones do not understand each other"
        return bad("MLflow", f"version {found or '?'} at {uri}, expected {wanted}", do)
    return good("MLflow", f"{found} at {uri}")


def studio(sagemaker: Any, location: str) -> Finding:
    """Whether Studio's domains show the account's templates. location: where they lie."""
    elsewhere: list[str] = []
    shown: list[str] = []
    for page in sagemaker.get_paginator("list_domains").paginate():
        for domain in page["Domains"]:
            pages = sagemaker.get_paginator("list_tags").paginate(ResourceArn=domain["DomainArn"])
            tags = {tag["Key"]: tag["Value"] for tagged in pages for tag in tagged["Tags"]}
            (shown if tags.get(STUDIO_LOCATION_TAG) == location else elsewhere).append(domain["DomainName"])
    if elsewhere:
        do = f"tag it {STUDIO_LOCATION_TAG}={location}; `mlops publish` does where there is no such tag yet"
        return hint("Studio", f"the domain {', '.join(elsewhere)} shows other templates, or none", do)
    return good("Studio", f"the domain {', '.join(shown)} shows the templates" if shown else "no domain in this region")
