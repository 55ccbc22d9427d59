"""Logs as JSON, one object a line, on standard output: what CloudWatch Logs Insights reads without being told how."""

import json
import logging
import sys


class JsonLines(logging.Formatter):
    """{"level": …, "message": …, "logger": …}, with what the caller gave as `extra={"fields": {…}}`."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        told = {"level": record.levelname, "message": record.getMessage(), "logger": record.name}
        told.update(getattr(record, "fields", {}))
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told)


def to_stdout() -> None:
    """Log so from now on: what this project says at INFO, what libraries say from WARNING."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("seed_code").setLevel(logging.INFO)
