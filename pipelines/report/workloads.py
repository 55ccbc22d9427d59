"""The workloads that the page and the terminal know of: what each adds to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.report import cardholders, forecaster, measures
from pipelines.report.measures import Measures
from pipelines.report.sections import Build, Sections

__all__ = ["Workload", "of"]


@dataclass(frozen=True)
class Workload:
    """A workload's measures, its sections of the page, and one line that says what its metrics do not tell."""

    measures: Measures
    sections: Build
    summary: Callable[[Mapping[str, Any]], str]


_KNOWN = {
    "cardholders": Workload(measures.CARDHOLDERS, cardholders.sections, cardholders.summary),
    "forecaster": Workload(measures.FORECASTER, forecaster.sections, forecaster.summary),
}
_OTHER = Workload(Measures(), lambda material: Sections(), lambda evaluation: "")


def of(evaluation: Mapping[str, Any], otherwise: str = "") -> Workload:
    """The workload that an evaluation says it is of, or else the one of that name; one without sections for others."""
    told = evaluation.get("workload")
    for name in (told if isinstance(told, str) else "", otherwise):
        if name in _KNOWN:
            return _KNOWN[name]
    return _OTHER
