"""What a stage serves, as it is kept in Parameter Store. Whoever reads it imports this."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from pipelines.errors import ServiceError


@dataclass(frozen=True)
class Serving:
    """What a stage serves, and since when (aware)."""

    model_package_arn: str
    version: int
    endpoint: str
    endpoint_config: str
    since: datetime
    execution_arn: str
    test_report_uri: str

    def text(self) -> str:
        """As it is kept: JSON, the moment in ISO 8601."""
        return json.dumps({**asdict(self), "since": self.since.isoformat(timespec="seconds")})

    @staticmethod
    def parse(text: str) -> Serving:
        """From what is kept. Raises ValueError for what is none of that."""
        try:
            kept = json.loads(text)
            served = Serving(**{**kept, "since": datetime.fromisoformat(kept["since"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
        if type(served.version) is not int or served.since.tzinfo is None:
            raise ValueError(f"its version is {served.version!r} and its since {kept['since']!r}")
        return served


def find(ssm: Any, parameter: str) -> Serving | None:
    """What a stage serves; None before its first deployment.

    ssm: a boto3 client. parameter: its name, `names.serving_parameter`.

    Raises ServiceError for a parameter that somebody has written something else to.
    """
    try:
        value = ssm.get_parameter(Name=parameter)["Parameter"]["Value"]
    except ssm.exceptions.ParameterNotFound:
        return None
    try:
        return Serving.parse(value)
    except ValueError as error:
        raise ServiceError(
            f"the parameter `{parameter}` is `{value[:200]}`, expected what a deployment writes ({error}); `aws ssm "
            f"get-parameter-history --name {parameter}` shows what it was, `aws ssm put-parameter` puts it back"
        ) from error
