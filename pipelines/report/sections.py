"""What a workload adds to the page: its tiles, and its own sections between the metrics and the lineage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.report.verdict import Check

__all__ = ["Build", "Material", "Part", "Sections", "Tile"]


@dataclass(frozen=True)
class Material:
    """What sections are made of: the evaluation, what the gate found, and what the configuration files say.

    `file_values` are the workload's runtime values by parameter name, as the configuration files give them without a
    laptop's overrides.
    """

    evaluation: Mapping[str, Any]
    verdict: Sequence[Check] = ()
    file_values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Tile:
    """A figure at the head of the page. `notes` are lines below it."""

    name: str
    value: str
    notes: Sequence[str]
    meaning: str


@dataclass(frozen=True)
class Part:
    """One part of a whole: its name, size, share of the whole, and style."""

    name: str
    count: float
    share: float
    style: str


@dataclass(frozen=True)
class Sections:
    """`template` shows `view`; `links` are (id, name) of the sections it makes, for the navigation."""

    template: str | None = None
    tiles: Sequence[Tile] = ()
    links: Sequence[tuple[str, str]] = ()
    view: Mapping[str, Any] = field(default_factory=dict)
    lead: str = ""
    """What the metrics are measured on, as a sentence."""


Build = Callable[[Material], Sections]
