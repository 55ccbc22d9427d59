"""Time, as DeepAR sees it: a frequency's grid, its lags, its calendar features.

Lags and features are GluonTS's (`gluonts.time_feature`), and tests hold them to it. They are written again here
because the server must start in under a second: without pandas, whose import alone costs half of that.

A period is an integer, the ordinal: periods of one base unit since 1970-01-01 (months, weeks that end on Sunday, days,
hours, minutes). Step `k` of a series that starts at ordinal `s` is `s + k * multiple`. That is pandas' `Period`, so a
start inside a period counts as the period's, and a series of five minutes that starts at 10:17 has 10:22 next.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

Ordinals = NDArray[np.int64]

# Every spelling that pandas has had for the five base frequencies that the built-in algorithm takes.
_ALIASES = {
    "M": "M", "ME": "M", "MS": "M",
    "W": "W", "W-SUN": "W",
    "D": "D",
    "H": "H", "h": "H",
    "min": "min", "T": "min",
}  # fmt: skip
EXPECTED = "a multiple (1 by default) of M, W, D, H or min, such as `H` or `5min`"
_FREQUENCY = re.compile(r"([1-9][0-9]{0,5})?([A-Za-z][A-Za-z-]*)")

_NUMPY_UNITS = {"M": "M", "W": "W", "D": "D", "H": "h", "min": "m"}
_MINUTES = {"min": 1, "H": 60, "D": 1440, "W": 10080}
_DAYS_IN_TABLE = 100_000
_LAST_DAY = 2_932_896  # 9999-12-31
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0

DAILY, WEEKLY = 1440, 10080  # minutes
SEASONAL_LAGS = ("none", "daily", "weekly")

_START = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[ T](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?))?")
_START_WITH_ZONE = re.compile(f"({_START.pattern})" + r"\s*(?:Z|UTC|[+-]\d{2}(?::?\d{2})?|[A-Za-z]+/[A-Za-z_]+)")


def parse_start(text: object) -> datetime:
    """A series' start.

    Raises:
        ValueError: what it is and what was expected: not a string, not a date, or with a time zone (which the
            contract forbids).
    """
    if not isinstance(text, str):
        raise ValueError(f"is {_shown(text)}; expected a string such as `2026-01-31 00:00:00`")
    if _START.fullmatch(text):
        try:
            # Nanoseconds are more than fromisoformat takes, and less than any frequency.
            return datetime.fromisoformat(text[:26])
        except ValueError as error:
            raise ValueError(f"is `{text}`: {error}") from None
    if match := _START_WITH_ZONE.fullmatch(text):
        raise ValueError(f"is `{text}`; expected no time zone, as in `{match[1]}`: give the time in UTC")
    raise ValueError(f"is {_shown(text)}; expected YYYY-MM-DD HH:MM:SS")


def _shown(value: object) -> str:
    text = f"{value}"
    return f"`{text if len(text) <= 60 else text[:57] + '...'}`"


@dataclass(frozen=True)
class Frequency:
    """A multiple of a base frequency: `M`, `W`, `D`, `H` or `min`. As a text it has its multiple always: `1min`."""

    base: str
    multiple: int

    @classmethod
    def parse(cls, text: str) -> "Frequency":
        """The frequency that `text` names, in the built-in algorithm's spelling or any of pandas'.

        Raises:
            ValueError: with what was expected, when it names none.
        """
        match = _FREQUENCY.fullmatch(text)
        if not match or match[2] not in _ALIASES:
            raise ValueError(EXPECTED)
        return cls(_ALIASES[match[2]], int(match[1] or 1))

    def __str__(self) -> str:
        return f"{self.multiple}{self.base}"

    def ordinal(self, start: datetime) -> int:
        """The period that `start` lies in."""
        if self.base == "W":  # pandas' weeks end on Sunday; NumPy's begin on Thursday
            days = np.datetime64(start, "D").astype(np.int64)
            return int((days + _EPOCH_WEEKDAY) // 7)
        return int(np.datetime64(start, "us").astype(f"datetime64[{_NUMPY_UNITS[self.base]}]").astype(np.int64))

    def ordinals(self, minutes: Ordinals) -> Ordinals:
        """The period that each moment, in minutes since 1970-01-01, lies in; `ordinal` for many."""
        if self.base == "W":
            return (minutes // DAILY + _EPOCH_WEEKDAY) // 7
        return minutes.astype("datetime64[m]").astype(f"datetime64[{_NUMPY_UNITS[self.base]}]").astype(np.int64)

    def reaches(self, start: int, steps: int) -> bool:
        """Whether `steps` steps from ordinal `start` on lie within the calendar, which ends with the year 9999."""
        last = start + steps * self.multiple
        return last < 2**53 and int(_days(self.base, np.array([last]))[0]) <= _LAST_DAY

    def start_of(self, ordinal: int) -> datetime:
        """The first moment of a period."""
        if self.base == "W":
            return np.datetime64(int(ordinal) * 7 - _EPOCH_WEEKDAY, "D").astype("datetime64[us]").item()
        return np.datetime64(int(ordinal), _NUMPY_UNITS[self.base]).astype("datetime64[us]").item()

    def starts_of(self, ordinals: Ordinals) -> NDArray[np.datetime64]:
        """The first moment of each period, to the second; `start_of` for many."""
        if self.base == "W":
            return (ordinals * 7 - _EPOCH_WEEKDAY).astype("datetime64[D]").astype("datetime64[s]")
        return ordinals.astype(f"datetime64[{_NUMPY_UNITS[self.base]}]").astype("datetime64[s]")

    def lags(self, seasonal: str = "none", longest: int | None = None) -> list[int]:
        """How many steps back the network looks, in ascending order, 1 first.

        Args:
            seasonal: `none` gives the built-in behaviour: GluonTS's lags, at most 1,200 steps back, which for
                minutes do not reach the day before. `daily` adds the same time one day ago, one step around it;
                `weekly` adds that of one week ago, too.
            longest: steps in the longest series: a season that no series is long enough to show is left out.
        """
        lags = set(_built_in_lags(self.base, self.multiple))
        if self.base in _MINUTES:
            step = _MINUTES[self.base] * self.multiple
            for season in {"none": (), "daily": (DAILY,), "weekly": (DAILY, WEEKLY)}[seasonal]:
                around = {season // step - 1, season // step, season // step + 1}
                if season % step == 0 and season > step and (longest is None or longest > max(around)):
                    lags |= {lag for lag in around if lag > 0}
        return sorted(lags)

    def season_length(self) -> int:
        """Steps in the season that a naive forecast repeats: a day of minutes or hours, a week of days, a year of
        weeks or months (1 where the multiple does not divide it)."""
        if self.base in ("min", "H", "D"):
            step = _MINUTES[self.base] * self.multiple
            season = WEEKLY if self.base == "D" else DAILY
            return season // step if season % step == 0 else 1
        year = {"W": 52, "M": 12}[self.base]
        return year // self.multiple if year % self.multiple == 0 else 1

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The calendar features, in the order of `features`."""
        return tuple(name for name, _ in _FEATURES[self.base])

    def features(self, ordinals: Ordinals) -> NDArray[np.float32]:
        """Calendar features in [-0.5, 0.5] of periods.

        Args:
            ordinals: any shape.

        Returns:
            (features, *shape of `ordinals`).
        """
        first, last = int(ordinals.min()), int(ordinals.max())
        return Calendar(self, first, last).features(ordinals)


class Calendar:
    """The calendar features of the periods from one to another, with the work per day done once.

    Over centuries (a table of them would take more memory than the data) it is done for the days that are asked for.
    """

    def __init__(self, frequency: Frequency, first: int, last: int) -> None:
        self._functions = tuple(function for _, function in _FEATURES[frequency.base])
        self._base = frequency.base
        self._first_day = int(_days(frequency.base, np.array([first]))[0])
        last_day = int(_days(frequency.base, np.array([last]))[0])
        self._of_day: _DayFields | None = None
        if last_day - self._first_day < _DAYS_IN_TABLE:
            self._of_day = _DayFields(np.arange(self._first_day, last_day + 1, dtype=np.int64))

    def features(self, ordinals: Ordinals) -> NDArray[np.float32]:
        """(features, *shape of `ordinals`), see `Frequency.features`."""
        days = _days(self._base, ordinals)
        if self._of_day is not None:
            of_day, days = self._of_day, days - self._first_day
        else:
            asked, days = np.unique(days, return_inverse=True)
            of_day = _DayFields(asked)
        result = np.empty((len(self._functions), *ordinals.shape), np.float32)
        for row, function in zip(result, self._functions, strict=True):
            row[...] = function(ordinals, days, of_day)
        return result


def _days(base: str, ordinals: Ordinals) -> Ordinals:
    """The day, since 1970-01-01, that stands for each period: a week's and a month's last, as in pandas."""
    if base == "M":
        return (ordinals + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) - 1
    if base == "W":
        return ordinals * 7 + 6 - _EPOCH_WEEKDAY
    return {"D": lambda: ordinals, "H": lambda: ordinals // 24, "min": lambda: ordinals // 1440}[base]()


class _DayFields:
    """Each calendar field of a run of days, scaled to [-0.5, 0.5] as GluonTS does."""

    def __init__(self, days: Ordinals) -> None:
        dates = days.astype("datetime64[D]")
        months = dates.astype("datetime64[M]")
        years = dates.astype("datetime64[Y]")
        weekday = (days + _EPOCH_WEEKDAY) % 7
        thursday = (days - weekday + 3).astype("datetime64[D]")  # an ISO week belongs to the year of its Thursday
        week = (thursday - thursday.astype("datetime64[Y]")).astype(np.int64) // 7
        self.day_of_week = _scaled(weekday, 7)
        self.day_of_month = _scaled((dates - months).astype(np.int64), 31)
        self.day_of_year = _scaled((dates - years).astype(np.int64), 366)
        self.week_of_year = _scaled(week, 53)
        self.month_of_year = _scaled(months.astype(np.int64) % 12, 12)


def _scaled(values: Ordinals, count: int) -> NDArray[np.float64]:
    return values / (count - 1) - 0.5


_Feature = Callable[[Ordinals, Ordinals, _DayFields], NDArray[np.float64]]
_DAY_OF_WEEK: tuple[str, _Feature] = ("day_of_week", lambda _ordinals, days, of: of.day_of_week[days])
_DAY_OF_MONTH: tuple[str, _Feature] = ("day_of_month", lambda _ordinals, days, of: of.day_of_month[days])
_DAY_OF_YEAR: tuple[str, _Feature] = ("day_of_year", lambda _ordinals, days, of: of.day_of_year[days])
_FEATURES: dict[str, tuple[tuple[str, _Feature], ...]] = {
    "M": (("month_of_year", lambda _ordinals, days, of: of.month_of_year[days]),),
    "W": (_DAY_OF_MONTH, ("week_of_year", lambda _ordinals, days, of: of.week_of_year[days])),
    "D": (_DAY_OF_WEEK, _DAY_OF_MONTH, _DAY_OF_YEAR),
    "H": (
        ("hour_of_day", lambda ordinals, _days, _of: _scaled(ordinals % 24, 24)),
        _DAY_OF_WEEK, _DAY_OF_MONTH, _DAY_OF_YEAR,
    ),
    "min": (
        ("minute_of_hour", lambda ordinals, _days, _of: _scaled(ordinals % 60, 60)),
        ("hour_of_day", lambda ordinals, _days, _of: _scaled(ordinals // 60 % 24, 24)),
        _DAY_OF_WEEK, _DAY_OF_MONTH, _DAY_OF_YEAR,
    ),
}  # fmt: skip

_LAST_LAG = 1200
_FIRST_LAGS = 7


def _built_in_lags(base: str, multiple: int) -> list[int]:
    """GluonTS's `get_lags_for_frequency`: the last seven steps, and some around each of the last few seasons."""

    def around(seasons: Iterable[float], each_side: int) -> Iterable[float]:
        return (middle + off for middle in seasons for off in range(-each_side, each_side + 1))

    def minutes(of: float) -> list[float]:
        return list(around((k * 60 // of for k in (1, 2, 3)), 2))

    def hours(of: float) -> list[float]:
        return list(around((k * 24 // of for k in range(1, 8)), 1))

    def days(of: float) -> list[float]:
        return list(around([*(k * 7 // of for k in (1, 2, 3, 4)), 30 // of], 1))

    def weeks(of: float) -> list[float]:
        return [*around((k * 52 // of for k in (1, 2, 3)), 1), 4 // of, 8 // of, 12 // of]

    def months(of: float) -> list[float]:
        return list(around((k * 12 // of for k in (1, 2, 3)), 1))

    n = multiple
    candidates = {
        "M": lambda: months(n),
        "W": lambda: weeks(n),
        "D": lambda: days(n) + weeks(n / 7),
        "H": lambda: hours(n) + days(n / 24) + weeks(n / (24 * 7)),
        "min": lambda: minutes(n) + hours(n / 60) + days(n / (60 * 24)) + weeks(n / (60 * 24 * 7)),
    }[base]()
    seasonal = {int(lag) for lag in candidates if _FIRST_LAGS < lag <= _LAST_LAG}
    return [*range(1, _FIRST_LAGS + 1), *sorted(seasonal)]
