"""The last day of minutes that the stream has brought, as the page shows it: fees, transactions, what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from pipelines.ingestion.minutes import MINUTE, Minute, gaps, latest
from pipelines.report.axes import Point
from pipelines.report.course import Bar, Plot, Row, Series, Size, course
from pipelines.report.format import duration, figure, moment

__all__ = ["View", "view"]

_GAPS_SHOWN = 20
_SIZES: tuple[Size, ...] = ("wide", "narrow")


@dataclass(frozen=True)
class View:
    """The section. `figures` are (name, value, note), `gaps` (from, to, how long), the newest first."""

    lead: str
    drawings: Sequence[Markup]
    figures: Sequence[tuple[str, str, str]]
    gaps: Sequence[tuple[str, str, str]]
    more_gaps: int


def view(minutes: Sequence[Minute]) -> View | None:
    """The section of minutes in order, those that are missing among them; None when none is there."""
    newest = latest(minutes)
    if newest is None:
        return None
    missing = gaps(minutes)
    oldest = next(minute for minute in minutes if not minute.missing)
    span = minutes[minutes.index(oldest) : minutes.index(newest) + 1]
    there = [minute for minute in span if not minute.missing]
    quiet = sum(1 for minute in there if not minute.transactions)
    lost = len(span) - len(there)
    lead = f"The minutes from {moment(oldest.time)} to {moment(newest.time)}, as the feature store has them now."
    shown = missing[::-1][:_GAPS_SHOWN]
    return View(
        lead=lead,
        drawings=[_drawn(span, missing, size) for size in _SIZES],
        figures=[
            ("Minutes", f"{len(there):,}", f"{quiet:,} of them quiet"),
            (
                "Missing",
                f"{lost:,}",
                "" if not missing else "in 1 gap" if len(missing) == 1 else f"in {len(missing):,} gaps",
            ),
            ("Transactions", f"{sum(minute.transactions or 0 for minute in there):,}", ""),
            ("Newest average fee", figure(newest.average_fee), "satoshi"),
        ],
        gaps=[(moment(begin), moment(end), duration((end - begin).total_seconds())) for begin, end in shown],
        more_gaps=len(missing) - len(shown),
    )


def _drawn(span: Sequence[Minute], missing: Sequence[tuple[datetime, datetime]], size: Size) -> Markup:
    fees = [_point(minute, minute.average_fee) for minute in span]
    counts = [_point(minute, minute.transactions) for minute in span]
    shades = [(begin.timestamp(), end.timestamp()) for begin, end in missing]
    plots = [
        Plot("average fee of a minute, satoshi", [Series("average fee", "model", fees)], height=150.0, shades=shades),
        Plot("transactions in a minute", [Series("transactions", "base", counts)], shades=shades),
    ]
    bars = [Bar(begin, end, "bad", f"missing from {moment(begin)} to {moment(end)}") for begin, end in missing]
    rows = [Row("missing", bars)] if bars else []
    told = f"{len(span)} minutes, of which {sum(minute.missing for minute in span)} are missing"
    first, last = span[0].time.timestamp(), (span[-1].time + MINUTE).timestamp()
    return course("Minutes of the stream", told, plots, rows, (), first, last, size=size)


def _point(minute: Minute, value: float | None) -> Point:
    return (minute.time.timestamp() + MINUTE.total_seconds() / 2, None if value is None else float(value))
