"""An estimate, and what a change does to it, as Markdown: for a pull request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipelines.cost.difference import Change
from pipelines.cost.estimate import Estimate

__all__ = ["bill", "difference", "dollars", "place", "unsure"]


def dollars(low: float, high: float | None = None) -> str:
    """`$12.30`, or `$12.30 to $24.60` where scaling makes a difference."""
    shown = f"${low:,.2f}"
    return shown if high is None or f"{high:,.2f}" == f"{low:,.2f}" else f"{shown} to ${high:,.2f}"


def place(part: str, stage: str) -> str:
    """`cardholders prod`, `stream`."""
    return f"{part} {stage}".strip()


def bill(found: Estimate) -> str:
    """The subtotals and the total."""
    rows = [(place(*key), dollars(*sums)) for key, sums in found.subtotals().items()]
    rows.append(("**together**", f"**{dollars(found.dollars, found.at_most)}**"))
    return "\n".join((*_table(("a month", "dollars"), rows), "", *unsure(found))) + "\n"


def difference(before: Estimate, after: Estimate, found: Sequence[Change], ref: str) -> str:
    """What has changed, and the totals."""
    total = after.dollars - before.dollars
    head = f"**Cost a month: {_signed(total)}** ({dollars(before.dollars)} at `{ref}`, {dollars(after.dollars)} now)"
    if not found:
        return "\n".join((head, "", *unsure(after))) + "\n"
    rows = [
        (
            place(change.part, change.stage),
            change.resource,
            _side(change.before),
            _side(change.after),
            _signed(change.dollars),
        )
        for change in found
    ]
    table = _table(("where", "what", "before", "after", "change"), rows)
    return "\n".join((head, "", *table, "", *unsure(after))) + "\n"


def unsure(found: Estimate) -> list[str]:
    """How far the prices can be trusted, a sentence a line."""
    said = [f"Prices of {found.region} as of {found.date}, without free tiers, discounts and tax."]
    if found.unconfirmed:
        count, used = len(found.unconfirmed), len({each.line.price for each in found.priced})
        said.append(
            f"{count} of {used} prices are not confirmed by the AWS Pricing API: `mlops cost --refresh` asks it."
        )
    if found.unpriced:
        missing = ", ".join(dict.fromkeys(f"{line.resource} (`{line.price}`)" for line in found.unpriced))
        said.append(f"Not in the sums, for their prices are not known: {missing}.")
    return said


def _side(amount: float | None) -> str:
    return "-" if amount is None else dollars(amount)


def _signed(amount: float) -> str:
    return f"{'-' if amount < 0 else '+'}${abs(amount):,.2f}"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(headings)} |",
        "|" + "---|" * len(headings),
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
