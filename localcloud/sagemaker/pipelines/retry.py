"""Retry policies of steps: which failures are tried again, how often, and after how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from localcloud.errors import ServiceError

SERVICE_FAULT, THROTTLING = "Step.SERVICE_FAULT", "Step.THROTTLING"
INTERNAL_ERROR, CAPACITY_ERROR, RESOURCE_LIMIT = (
    "SageMaker.JOB_INTERNAL_ERROR",
    "SageMaker.CAPACITY_ERROR",
    "SageMaker.RESOURCE_LIMIT",
)
EXCEPTION_TYPES = (SERVICE_FAULT, THROTTLING, INTERNAL_ERROR, CAPACITY_ERROR, RESOURCE_LIMIT)
_REASONS = {
    "InternalServerError": INTERNAL_ERROR,
    "CapacityError": CAPACITY_ERROR,
    "ResourceLimitExceeded": RESOURCE_LIMIT,
}
_MOST_ATTEMPTS, _MOST_MINUTES = 20, 14_400


@dataclass(frozen=True)
class Policy:
    """One entry of RetryPolicies. Exactly one of `max_attempts` and `expire_after_minutes` is set."""

    exception_types: tuple[str, ...]
    interval_seconds: float
    backoff_rate: float
    max_attempts: int | None
    expire_after_minutes: float | None

    def delay_seconds(self, retries: int, elapsed_seconds: float) -> float | None:
        """How long to wait before the next try, or None for no further one.

        `retries` is how often this policy was used for the step, `elapsed_seconds` the time since its first start.
        """
        if self.max_attempts is not None and retries >= self.max_attempts:
            return None
        delay = self.interval_seconds * self.backoff_rate**retries
        if self.expire_after_minutes is not None and elapsed_seconds + delay > self.expire_after_minutes * 60:
            return None
        return delay


def read(document: Any) -> Policy:
    """A policy from a definition. Raises ValueError saying what is wrong with it."""
    if not isinstance(document, dict):
        raise ValueError(f"expected an object, got {document!r}")
    types = document.get("ExceptionType")
    if not isinstance(types, list) or not types or any(type_name not in EXCEPTION_TYPES for type_name in types):
        raise ValueError(f"ExceptionType must be a list of {', '.join(EXCEPTION_TYPES)}; got {types!r}")
    attempts, minutes = document.get("MaxAttempts"), document.get("ExpireAfterMin")
    if (attempts is None) == (minutes is None):
        raise ValueError("give one of MaxAttempts and ExpireAfterMin")
    if attempts is not None and type(attempts) is not int:
        raise ValueError(f"MaxAttempts must be a whole number; got {attempts!r}")
    _check("MaxAttempts", attempts, 1, _MOST_ATTEMPTS)
    _check("ExpireAfterMin", minutes, 0, _MOST_MINUTES)
    interval, rate = document.get("IntervalSeconds", 1), document.get("BackoffRate", 2.0)
    _check("IntervalSeconds", interval, 0, None)
    _check("BackoffRate", rate, 0, None)
    return Policy(tuple(types), float(interval), float(rate), attempts, minutes)


def classify_error(error: Exception) -> str | None:
    """The exception type of a call that failed, or None for a mistake of the caller's, which no retry mends."""
    if not isinstance(error, ServiceError):
        return SERVICE_FAULT
    if error.code in ("ThrottlingException", "Throttling", "TooManyRequestsException"):
        return THROTTLING
    if error.code == "ResourceLimitExceeded":
        return RESOURCE_LIMIT
    return SERVICE_FAULT if error.status >= 500 else None


def classify_reason(reason: str | None) -> str | None:
    """The exception type that a job's FailureReason stands for, or None (an AlgorithmError is the program's own)."""
    return _REASONS.get((reason or "").partition(":")[0])


def _check(name: str, value: Any, least: float, most: float | None) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or value < least or (most and value > most):
        limit = f" to {most}" if most else " or more"
        raise ValueError(f"{name} must be a number of {least}{limit}; got {value!r}")
