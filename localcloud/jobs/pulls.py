"""The rights to pull an image, of who runs it: localcloud reads images where they lie, and AWS pulls them from ECR."""

from __future__ import annotations

from localcloud.context import Context
from localcloud.errors import ServiceError
from localcloud.jobs.images import ImageError, repository_of

# "Amazon ECR repository policies": what a pull takes.
_OF_REPOSITORY = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")


def check(context: Context, role_arn: str, uri: str) -> None:
    """Raise ImageError if a role may not pull an image of this account. Of another account's, that one decides."""
    found = repository_of(uri)
    if found is None or found[0] != context.account_id:
        return
    arn = f"arn:aws:ecr:{context.region}:{found[0]}:repository/{found[1]}"
    try:
        context.authority.check(role_arn, "ecr:GetAuthorizationToken", "*")
        for action in _OF_REPOSITORY:
            context.authority.check(role_arn, action, arn)
    except ServiceError as error:
        raise ImageError(f"the image {uri} cannot be pulled: {error.message}") from error
