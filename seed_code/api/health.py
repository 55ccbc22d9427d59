"""Whether the endpoint can answer, as SageMaker says."""

from __future__ import annotations

from datetime import datetime, timedelta

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from seed_code.api.clients import client

_SERVING = ("InService", "Updating", "SystemUpdating", "RollingBack")
# Everybody may ask, and DescribeEndpoint is throttled for the whole account.
_KEPT = timedelta(seconds=5)


class Health:
    """The state of an endpoint, looked up once in a few seconds."""

    def __init__(self, endpoint: str, log: Logger) -> None:
        self._endpoint, self._log = endpoint, log
        self._client = client("sagemaker", connect_seconds=1, read_seconds=2.5, attempts=1)
        self._known: tuple[datetime, bool] | None = None

    def serving(self, now: datetime) -> bool:
        """Whether the endpoint is in service, also while it is being changed."""
        if self._known is None or not self._known[0] <= now < self._known[0] + _KEPT:
            self._known = now, self._ask()
        return self._known[1]

    def _ask(self) -> bool:
        try:
            status = self._client.describe_endpoint(EndpointName=self._endpoint)["EndpointStatus"]
        except (ClientError, BotoCoreError) as error:
            self._log.error("the endpoint cannot be looked at", extra={"error": str(error)})
            return False
        if status not in _SERVING:
            self._log.error("the endpoint is not in service", extra={"endpoint": self._endpoint, "status": status})
        return status in _SERVING
