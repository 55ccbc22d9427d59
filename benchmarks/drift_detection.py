"""How often the forecaster's alarms are false, and how soon they find a change, at the settings that are shipped.

    .venv/bin/python benchmarks/drift_detection.py [--years 3] [--trials 100]

Streams with labels, made of `seed_code.forecaster.generate`'s minutes, a year of hours and another seed each time:

    stationary   as generated
    seasonal     the day's rhythm twice as strong: no drift, whatever a detector says
    doubling     fees double from one minute to the next, and nothing else
    market       the generator's --drift-at: fees double, transactions halve, and the fee swings within the hour
    gradual      over a week, the noise of a minute grows to 0.6 of the fee's logarithm

The hour's loss is not DeepAR's, which would take hours for the years: it is that of a stand-in, a linear model of the
minutes' logarithms for each step ahead, with the quantiles of its residuals, fitted once to two days. On a fortnight
beside DeepAR's (20 epochs) its hourly losses correlated with 0.86, at three quarters of their size; the detectors look
at ratios to its own mean.

Quality: the hour's loss above the threshold, M of N. The threshold is the bound that comes with a new model
(`judgement.HOUR_FACTOR` times the mean of 48 windows), of a day that differs with each trial. Settings are those of
configs/workloads/forecaster.yml; a deployment is a week old when the change comes, and an hour counts as one when it
has ended. Writes results/drift_detection.json.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pipelines.config import ForecasterMonitoring, load  # noqa: E402
from seed_code.common import drift  # noqa: E402
from seed_code.forecaster import generate, hourly, metrics  # noqa: E402
from seed_code.forecaster.judgement import HOUR_FACTOR  # noqa: E402

Values = NDArray[np.float64]

LEVELS = (0.05, 0.5, 0.95)
LENGTH, HOUR, DAY = 30, 60, 1440
END = 29_655_360  # 2026-05-21T00:00:00Z, in minutes since 1970-01-01
BEFORE = 9 * DAY  # minutes before the first hour that is judged: for the fit, and the week before
DEPLOYED = 168  # hours, when a change comes
WATCHED = 72  # hours after it
DETECTORS = ("quality", "loss page-hinkley", "loss adwin", "fee page-hinkley")


def minutes(seed: int, days: int, drift_at: int | None = None) -> Values:
    """The average fee of each minute, NaN where there is none; `BEFORE` minutes, and then the days.

    drift_at: a minute of the result from which on the market is another one.
    """
    span = BEFORE + days * DAY
    first = END - span
    at = None if drift_at is None else first + drift_at
    drawn = generate.simulate(END, span // DAY, seed, at)
    fees = np.full(span, np.nan)
    there = drawn.transactions > 0
    fees[drawn.minute[there] - first] = drawn.fee[there] / drawn.transactions[there]
    return fees


def doubled(fees: Values, at: int) -> Values:
    """Fees that double at a minute."""
    return np.where(np.arange(len(fees)) >= at, 2 * fees, fees)


def noisier(fees: Values, at: int, seed: int) -> Values:
    """Fees whose noise grows from a minute on, for a week."""
    ramp = np.clip((np.arange(len(fees)) - at) / (7 * DAY), 0, 1)
    return fees * np.exp(0.6 * ramp * np.random.default_rng(seed).standard_normal(len(fees)))


def seasonal(fees: Values) -> Values:
    """Fees with a stronger rhythm of the day."""
    return fees * np.exp(0.45 * np.cos(np.arange(len(fees)) * 2 * np.pi / DAY))


class StandIn:
    """A forecaster that is fast: a linear model for each step, of the logarithms of means over the minutes before."""

    def __init__(self, fees: Values) -> None:
        """Fitted to the two days that end a day before `BEFORE` does."""
        logs = np.log(fees)
        origins = np.arange(BEFORE - 3 * DAY, BEFORE - DAY - LENGTH, 3)
        self._weights, self._spread = [], []
        for step in range(LENGTH):
            known, target = _features(logs, origins, step), logs[origins + step]
            there = ~np.isnan(known).any(axis=1) & ~np.isnan(target)
            weights = np.linalg.lstsq(known[there], target[there], rcond=None)[0]
            self._weights.append(weights)
            self._spread.append(np.quantile(target[there] - known[there] @ weights, LEVELS))

    def losses(self, fees: Values, first: int, hours: int) -> tuple[Values, Values]:
        """Of each hour from minute `first` on: the loss of its two windows, and what it is divided by.

        NaN where no forecast was possible, or nothing was observed.
        """
        logs = np.log(fees)
        origins = first + LENGTH * np.arange(2 * hours)
        quantiles = np.stack(
            [
                np.exp((_features(logs, origins, step) @ self._weights[step])[:, None] + self._spread[step])
                for step in range(LENGTH)
            ],
            axis=2,
        ).transpose(1, 0, 2)
        actual = fees[origins[:, None] + np.arange(LENGTH)]
        actual[np.isnan(quantiles).any(axis=(0, 2))] = np.nan
        loss = metrics._losses(actual, quantiles, LEVELS).sum(axis=2).mean(axis=0).reshape(-1, 2).sum(axis=1)
        size = np.nansum(actual, axis=1).reshape(-1, 2).sum(axis=1)
        there = size > 0
        return np.where(there, loss, np.nan), np.where(there, size, np.nan)


def _features(logs: Values, origins: NDArray[np.int64], step: int) -> Values:
    """(windows, 6): levels until a minute before the origin, what the day before went on to, and one."""

    def level(at: NDArray[np.int64], begin: int, end: int) -> Values:
        window = logs[at[:, None] + np.arange(begin, end)]
        known = ~np.isnan(window)
        count = known.sum(axis=1)
        return np.where(count > 0, np.where(known, window, 0).sum(axis=1) / np.maximum(count, 1), np.nan)

    levels = [level(origins, -back, -1) for back in (4, 11, 31, 121)]
    yesterday = level(origins + step - DAY, -30, 31) - level(origins - DAY, -60, 1)
    return np.column_stack([*levels, yesterday, np.ones(len(origins))])


def fee_changes(fees: Values, first: int, hours: int) -> list[float]:
    """`hourly.fee_change` of each hour from minute `first` on; NaN where there is none."""
    of_hour = fees.reshape(-1, HOUR) if first % HOUR == 0 else fees[first % HOUR :][: len(fees) // HOUR * HOUR - HOUR]
    rows = of_hour.reshape(-1, HOUR)
    at = first // HOUR
    found = []
    for hour in range(at, at + hours):
        change = hourly.fee_change(rows[hour], [rows[hour - 24 * day] for day in range(1, hourly.SEASONS + 1)])
        found.append(math.nan if change is None else change)
    return found


@dataclass(frozen=True)
class Alarms:
    """When what alarmed: numbers of hours, from 1."""

    at: dict[str, list[int]]

    def together(self) -> list[int]:
        """All of them."""
        return sorted(hour for hours in self.at.values() for hour in hours)


def alarms(losses: Values, threshold: float, changes: list[float], settings: ForecasterMonitoring) -> Alarms:
    """What the shipped settings say of a stream of hours.

    losses: the hours' mean weighted quantile losses, NaN where there was none. changes: of the fee, likewise.
    """
    m, n = settings.quality_alarm.breaches, settings.quality_alarm.hours
    bad = losses > threshold
    state = [bad[max(0, hour - n) : hour].sum() >= m for hour in range(1, len(bad) + 1)]
    quality = [hour for hour, now in enumerate(state, start=1) if now and not (hour > 1 and state[hour - 2])]
    tested = settings.drift
    return Alarms(
        {
            "quality": quality,
            "loss page-hinkley": _fired(np.log(losses / threshold), _page_hinkley(tested.page_hinkley)),
            "loss adwin": _fired(np.log(losses / threshold), drift.Adwin(tested.adwin.delta)),
            "fee page-hinkley": _fired(changes, _page_hinkley(tested.fee_page_hinkley)),
        }
    )


def _page_hinkley(settings: Any) -> drift.PageHinkley:
    return drift.PageHinkley(settings.delta, settings.threshold, settings.min_instances)


def _fired(stream: Any, settings: drift.PageHinkley | drift.Adwin) -> list[int]:
    """The hours at which a detector fires: the same that `drift.detect` says hour by hour, in one go."""
    hours = [hour for hour, value in enumerate(stream, start=1) if not math.isnan(value)]
    values = [float(value) for value in stream if not math.isnan(value)]
    return [hours[number] for number in drift.firings(values, settings)]


def stationary_year(seed: int, settings: ForecasterMonitoring, days: int, *, strong: bool = False) -> Alarms:
    """The alarms, all of them false, of a deployment that nothing happens to."""
    fees = minutes(seed, days)
    fees = seasonal(fees) if strong else fees
    model = StandIn(fees)
    threshold = _threshold(model, fees, BEFORE - DAY)
    loss, size = model.losses(fees, BEFORE, days * 24 - 1)
    return alarms(loss / size, threshold, fee_changes(fees, BEFORE, days * 24 - 1), settings)


def _threshold(model: StandIn, fees: Values, first: int) -> float:
    """What comes with a model that is judged on the day from minute `first` on."""
    loss, size = model.losses(fees, first, 24)
    return float(HOUR_FACTOR * np.nansum(loss) / np.nansum(size))


def delays(
    seed: int, kind: str, settings: ForecasterMonitoring, trials: int, days: int = 60
) -> Iterator[dict[str, int]]:
    """Hours until each detector finds a change; left out where it does not within `WATCHED` hours.

    Each trial has another moment of the same stream, and its own deployment a week before it.
    """
    fees = minutes(seed, days)
    model = StandIn(fees)
    moments = np.random.default_rng(seed).integers(DEPLOYED, days * 24 - WATCHED - 1, trials)
    for hour in moments:
        at = BEFORE + int(hour) * HOUR
        changed = {
            "doubling": lambda at=at: doubled(fees, at),
            "market": lambda at=at: minutes(seed, days, at),
            "gradual": lambda at=at: noisier(fees, at, seed),
        }[kind]()
        first = at - DEPLOYED * HOUR
        threshold = _threshold(model, fees, first - DAY)
        loss, size = model.losses(changed, first, DEPLOYED + WATCHED)
        changes = fee_changes(changed, first, DEPLOYED + WATCHED)
        said = alarms(loss / size, threshold, changes, settings)
        yield {
            name: min(later) - DEPLOYED
            for name, hours in [*said.at.items(), ("any", said.together())]
            if (later := [hour for hour in hours if hour > DEPLOYED])
        }


def summary(found: list[dict[str, int]], name: str) -> dict[str, Any]:
    """Shares and the median of delays, in hours."""
    hours = [one.get(name, 10**6) for one in found]
    median = float(np.median(hours))
    return {
        "median_delay_hours": median if median < 10**6 else None,
        **{f"within_{limit}_hours": sum(hour <= limit for hour in hours) / len(hours) for limit in (1, 2, 3, 4, 6, 24)},
    }


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--years", type=int, default=3, help="of each stream without drift")
    parser.add_argument("--trials", type=int, default=100, help="of each change")
    arguments = parser.parse_args()
    settings = load(ROOT, environ={}).workloads.forecaster.monitoring
    result: dict[str, Any] = {"settings": settings.model_dump(exclude={"retraining"}), "hour_factor": HOUR_FACTOR}
    for kind in ("stationary", "seasonal"):
        years = [
            stationary_year(101 + year, settings, 365, strong=kind == "seasonal") for year in range(arguments.years)
        ]
        hours = arguments.years * 8760
        result[kind] = {
            "years": [{name: len(at) for name, at in year.at.items()} for year in years],
            "false_alarms_per_10000_hours": {
                name: round(sum(len(year.at[name]) for year in years) / hours * 10_000, 2) for name in DETECTORS
            },
            "false_alarms_a_year": round(sum(len(year.together()) for year in years) / arguments.years, 2),
        }
        sys.stdout.write(f"{kind}: {json.dumps(result[kind])}\n")
    for kind in ("doubling", "market", "gradual"):
        found = list(delays(7, kind, settings, arguments.trials))
        result[kind] = {name: summary(found, name) for name in (*DETECTORS, "any")}
        sys.stdout.write(f"{kind}: {json.dumps(result[kind], indent=1)}\n")
    file = Path(__file__).parent / "results" / "drift_detection.json"
    file.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
