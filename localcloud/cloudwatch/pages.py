"""Pages of CloudWatch's lists: crud's tokens, with CloudWatch's own error for a wrong one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from localcloud.errors import ServiceError
from localcloud.sagemaker.crud import paginate


def cut(
    operation: str, items: Sequence[Any], token: str | None, size: int, key: Callable[[Any], str]
) -> tuple[Sequence[Any], str | None]:
    """One page of `items`, and the token of the next. Raises InvalidNextToken."""
    params = {"NextToken": token, "MaxResults": size}
    try:
        return paginate(operation, items, params, key)
    except ServiceError as error:
        raise ServiceError("InvalidNextToken", error.message) from None
