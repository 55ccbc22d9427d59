"""The roles that SageMaker is given."""

from __future__ import annotations

from localcloud.context import Context
from localcloud.errors import validation

_PRINCIPAL = "sagemaker.amazonaws.com"


def check(context: Context, role_arn: str) -> None:
    """Raise ValidationException for a role that SageMaker cannot take on: one that is not there, or does not trust
    it."""
    if not context.authority.may_assume(_PRINCIPAL, role_arn):
        raise validation(
            f"Could not assume role {role_arn}. Please ensure that the role exists and allows principal"
            f" '{_PRINCIPAL}' to assume the role."
        )
