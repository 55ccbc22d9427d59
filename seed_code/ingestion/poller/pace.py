"""How often the pages are asked for.

A page holds the newest transactions, a hundred or so. Two pages must share some, or those between are lost: half of a
page new is aimed at. Never more often than the service allows, less a fifth for retries; and at least every two seconds
where it allows that, because each observation also says that time went on.
"""

_WINDOW_SECONDS = 300.0
_SHARE = 0.8  # of what the service allows
_MOST_SECONDS = 2.0
_WEIGHT = 0.3  # of the latest rate against those before it, while it falls


class Pace:
    """The interval between pages, by how many of each page were new."""

    def __init__(self, requests_per_5_minutes: int) -> None:
        self.least_seconds = _WINDOW_SECONDS / (requests_per_5_minutes * _SHARE)
        """Between two requests, in the long run."""
        self._rate: float | None = None

    def interval(self, new: int, size: int, seconds: float | None) -> float:
        """Seconds from this request to the next.

        Args:
            new: transactions of the page that were not known.
            size: transactions of the page.
            seconds: since the request before; None for the first, which tells no rate.
        """
        if seconds is None:
            return self.least_seconds
        if not size:
            return max(self.least_seconds, _MOST_SECONDS)
        rate = new / max(seconds, 0.001)
        # A burst counts at once, its end slowly: an early request costs little, a late one loses transactions.
        self._rate = rate if self._rate is None else max(rate, (1 - _WEIGHT) * self._rate + _WEIGHT * rate)
        aimed = size / 2 / self._rate if self._rate else _MOST_SECONDS
        return max(self.least_seconds, min(_MOST_SECONDS, aimed))
