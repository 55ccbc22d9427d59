"""What a stage serves, as it is kept in Parameter Store. The standard library only: whoever reads it imports this."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime


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
        """From what is kept."""
        kept = json.loads(text)
        return Serving(**{**kept, "since": datetime.fromisoformat(kept["since"])})
