"""The page of a live endpoint's tests, for whoever approves what comes next. Pure, as `pipelines.report.page` is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pipelines.registry import Package
from pipelines.report.page import environment

__all__ = ["render"]


def render(report: Mapping[str, Any], package: Package, *, stage: str, at: datetime) -> str:
    """The page of a test report (`golden.report`) of a package that a stage serves. at: when it was asked (aware)."""
    wrong = sum(1 for verdict in report["verdicts"] if verdict["problem"])
    asked = f"{report['requests']} golden requests"
    headline = f"{asked} answered as they must be" if not wrong else f"{wrong} of {asked} answered wrongly"
    return (
        environment()
        .get_template("tests_page.html.j2")
        .render(report=report, package=package, stage=stage, at=at, headline=headline, tone="bad" if wrong else "good")
    )
