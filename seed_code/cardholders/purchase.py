"""The purchase model: does the holder purchase in (t, t + k], k being 1 to `max_horizon_days`?

One gradient-boosted model answers for all k: k is an input, on which the model is constrained to increase, and each
example is trained on with several values of k. Three more inputs are made of k and what is known of the holder, and
only grow with k, so they are constrained likewise:

    working_days_ahead    Mondays to Fridays in (t, t + k], from the weekday of t
    uses_ahead            usage_freq * k, the number of purchases ahead but for a factor
    active_days_ahead     purchase days to expect in (t, t + k] at the holder's pace and on the holder's weekdays

The same model serves a caller who sends the holder's stored features and one who sends the request's three fields
only: a share of the training rows (`mask_share`) has the features that tell the holder's history replaced by NaN, and,
independently, the same share those that tell the calendar, so that the trees learn what to do without them. The
calendar comes with the features, never from the server's clock: the same request always gets the same answer.

The score becomes a probability by a strictly increasing map (calibration.py), fitted to validation examples, one map
for rows with a history and one for rows without: which of them applies does not depend on k, so the probability is
monotone in k as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from seed_code.cardholders import baselines, calibration, frames, metrics, profile
from seed_code.cardholders.calibration import BetaCalibration
from seed_code.cardholders.features import DEFAULT_WINDOW_DAYS, FIELDS
from seed_code.common.errors import ClientError
from seed_code.common.hyperparameters import Tunable

# The stored features that tell about t, not about the holder.
CALENDAR = ("weekday", "month_of_year", "days_to_month_end")
# Those that go on by themselves as time passes: requests always differ in them from training, which says nothing.
_PASSING = (*CALENDAR, "days_since_first")
AHEAD = ("working_days_ahead", "uses_ahead", "active_days_ahead")
_WEEK = tuple(f"weekday_share_ahead_{day}" for day in range(1, 8))

TUNABLES = (
    Tunable("max_horizon_days", 30, 1, 365, "largest k; Prepare must label examples as far ahead"),
    Tunable("max_iterations", 50, 1, 2000, "number of trees; the time that one answer takes grows with it"),
    Tunable("learning_rate", 0.12, 0.001, 1.0, "weight of each tree"),
    Tunable("max_leaf_nodes", 31, 2, 1024, "leaves of a tree"),
    Tunable("min_samples_leaf", 50, 1, 100000, "rows that a leaf must hold"),
    Tunable("l2_regularization", 1.0, 0.0, 1e6, "penalty on the leaves' values"),
    Tunable("days_per_example", 2, 1, 365, "values of k that an example is trained on"),
    Tunable("max_examples", 150000, 100, 50000000, "training rows at most, after the expansion over k"),
    Tunable("mask_share", 0.3, 0.01, 0.9, "share of training rows without stored features, and without a date"),
    Tunable("seed", 0, 0, 2**31 - 1, "seed of every random choice"),
)


@dataclass(frozen=True)
class PurchaseModel:
    """The trained model, and the names of the stored features (in the order of its columns) that it knows."""

    classifier: HistGradientBoostingClassifier
    with_features: BetaCalibration
    fields_only: BetaCalibration
    columns: "Columns"

    def probability(
        self, fields: NDArray[np.float64], stored: NDArray[np.float64], days: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """P(purchase in (t, t + k]) for each row, strictly between 0 and 1.

        Args:
            fields: (n, 3), as FIELDS.
            stored: (n, features), NaN where not known.
            days: (n,) k.
        """
        log_odds = self.classifier.decision_function(self.columns.inputs(fields, stored, days))
        bare = self.columns.without_history(stored)
        if bare.all():  # the common cases of one record, without masks
            return self.fields_only.probability(log_odds)
        if not bare.any():
            return self.with_features.probability(log_odds)
        return np.where(bare, self.fields_only.probability(log_odds), self.with_features.probability(log_odds))


class Columns:
    """Where the stored features stand, and the classifier's inputs made of them.

    Raises:
        ClientError: when a feature that the inputs are made of is not among `features`.
    """

    def __init__(self, features: Sequence[str]) -> None:
        self.features = tuple(features)
        missing = [name for name in (*CALENDAR, *_WEEK, *baselines.GAP_FEATURES) if name not in self.features]
        if missing:
            raise ClientError(f"the stored features lack {', '.join(missing)}; they are {', '.join(self.features)}")
        place = {name: column for column, name in enumerate(self.features)}
        self.calendar = [place[name] for name in CALENDAR]
        self.history = [column for name, column in place.items() if name not in CALENDAR]
        self.gap = [place[name] for name in baselines.GAP_FEATURES]
        self._weekday, self._pace = place["weekday"], place["active_day_share"]
        self._week = [place[name] for name in _WEEK]
        self.month_input = 3 + place["month_of_year"]

    def without_history(self, stored: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which rows tell nothing of the holder's history."""
        bare: NDArray[np.bool_] = np.isnan(stored[:, self.history]).all(axis=1)
        return bare

    def inputs(
        self, fields: NDArray[np.float64], stored: NDArray[np.float64], days: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """The classifier's columns: the fields, the stored features, AHEAD, k. The last four grow with k."""
        full_weeks, rest = days // 7, days % 7
        weekday = stored[:, self._weekday]
        # Of the `rest` days (6 at most) after the weekday: those before the weekend, and those after it (5 at most).
        before, after = np.clip(4 - weekday, 0, rest), np.clip(rest - (6 - weekday), 0, None)
        working = 5 * full_weeks + np.minimum(before + after, 5)
        shares = np.cumsum(stored[:, self._week], axis=1)
        within_week = np.where(rest > 0, shares[np.arange(len(days)), rest - 1], 0.0)
        # Known for every k or for none: a number between two NaNs would break the order that growing with k relies on.
        within_week[np.isnan(shares[:, -1])] = np.nan
        # A caller's shares may add up to more than 1; k = 7 must still be more than k = 6.
        expected = 7 * stored[:, self._pace] * (full_weeks + np.minimum(within_week, 1.0))
        return np.column_stack([fields, stored, working, fields[:, 0] * days, expected, days])

    @property
    def increasing(self) -> list[int]:
        """`monotonic_cst` of `inputs`."""
        return [0] * (3 + len(self.features)) + [1] * (len(AHEAD) + 1)


def fit(
    train: pd.DataFrame,
    validation: pd.DataFrame,
    features: Sequence[str],
    settings: Mapping[str, Any],
    window_days: int = DEFAULT_WINDOW_DAYS,
) -> tuple[PurchaseModel, dict[str, Any]]:
    """Train on `train` and calibrate on `validation`, frames with FIELDS, features, reference date, days to next.

    `window_days` is the behaviour window of the fields.

    Returns:
        The model, and its report: `metrics` on the validation examples (with features and fields only), `baselines`
        as fitted, `window` (first and last reference dates), `rows`, and `profile` (`profile.of_fields` of the training
        examples).

    Raises:
        ClientError: when either frame has labels of one class only, or a needed feature is missing.
    """
    columns = Columns(features)
    random = np.random.default_rng(settings["seed"])
    horizon, per_example = settings["max_horizon_days"], settings["days_per_example"]
    rows, days = _expand(train, horizon, per_example, settings["max_examples"], random)
    label = _labels(train, rows, days, "train")
    stored = train[list(features)].to_numpy(np.float64)[rows]
    stored[np.ix_(random.random(len(rows)) < settings["mask_share"], columns.history)] = np.nan
    stored[np.ix_(random.random(len(rows)) < settings["mask_share"], columns.calendar)] = np.nan
    classifier = HistGradientBoostingClassifier(
        max_iter=settings["max_iterations"],
        learning_rate=settings["learning_rate"],
        max_leaf_nodes=settings["max_leaf_nodes"],
        min_samples_leaf=settings["min_samples_leaf"],
        l2_regularization=settings["l2_regularization"],
        monotonic_cst=columns.increasing,
        early_stopping=False,
        random_state=settings["seed"],
    ).fit(_learnable(columns.inputs(frames.fields(train)[rows], stored, days), columns), label)

    rows, days = _expand(validation, horizon, per_example, max(settings["max_examples"] // 4, 100), random)
    held = _labels(validation, rows, days, "validation")
    fields, stored = frames.fields(validation)[rows], validation[list(features)].to_numpy(np.float64)[rows]
    nothing = np.full_like(stored, np.nan)
    known = ~columns.without_history(stored)
    if not known.any():
        raise ClientError("validation: no example has a stored feature; the columns are all NaN")
    score = classifier.decision_function(columns.inputs(fields, stored, days))
    bare_score = classifier.decision_function(columns.inputs(fields, nothing, days))
    model = PurchaseModel(
        classifier,
        with_features=calibration.fit(score[known], held[known]),
        fields_only=calibration.fit(bare_score, held),
        columns=columns,
    )
    simple = baselines.fit(
        train[frames.DAYS_TO_NEXT].to_numpy(np.float64),
        train[list(baselines.GAP_FEATURES)].to_numpy(np.float64),
        horizon,
        window_days,
    )
    report = {
        "metrics": metrics.probability_metrics(held, model.probability(fields, stored, days)),
        "fields_only": metrics.probability_metrics(held, model.probability(fields, nothing, days)),
        "baselines": simple.document(),
        "window": {"train": _window(train), "validation": _window(validation)},
        "rows": {"train": len(train), "train_expanded": len(label), "validation": len(validation)},
        "max_horizon_days": horizon,
        "window_days": window_days,
        "profile": profile.of_fields(
            {name: train[name].to_numpy() for name in (*FIELDS, *features) if name not in _PASSING}
        ),
    }
    return model, report


def _learnable(inputs: NDArray[np.float64], columns: Columns) -> NDArray[np.float64]:
    """Training inputs; columns that nothing can be learnt from are made constant, so that no tree splits on them.

    Those are columns that are NaN throughout (scikit-learn's binning fails on them), and the month, unless the
    training examples cover all twelve: with less than a year, validation and holdout lie in months never seen.
    """
    months = inputs[:, columns.month_input]
    if len(np.unique(months[~np.isnan(months)])) < 12:
        inputs[:, columns.month_input] = 0.0
    inputs[:, np.isnan(inputs).all(axis=0)] = 0.0
    return inputs


def _expand(
    frame: pd.DataFrame, horizon: int, per_example: int, limit: int, random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row numbers of `frame`, each `per_example` times (a random part, if that exceeds `limit`), and a k for each.

    The k of an example are spread: one from each of `per_example` equal parts of 1..horizon.
    """
    rows = np.arange(len(frame))
    if len(rows) * per_example > limit:
        rows = np.sort(random.choice(rows, max(limit // per_example, 1), replace=False))
    position = (np.arange(per_example) + random.random((len(rows), per_example))) / per_example
    days = 1 + np.floor(position * horizon).astype(np.int64)
    return np.repeat(rows, per_example), np.minimum(days, horizon).ravel()


def _labels(frame: pd.DataFrame, rows: NDArray[np.int64], days: NDArray[np.int64], name: str) -> NDArray[np.bool_]:
    to_next = frame[frames.DAYS_TO_NEXT].to_numpy(np.float64)
    if (to_next < 1).any():
        raise ClientError(
            f"{name}: `{frames.DAYS_TO_NEXT}` is {np.nanmin(to_next):g} in a row; a label lies strictly after its "
            "reference date, so it must be 1 or more"
        )
    label: NDArray[np.bool_] = to_next[rows] <= days  # NaN, no purchase within the horizon, compares as false
    if label.all() or not label.any():
        state = "every example has a purchase" if label.all() else "no example has a purchase"
        window = _window(frame)
        raise ClientError(
            f"{name}: {state} within k days, so there is only one class and nothing to learn; it holds {len(frame)} "
            f"examples from {window['first']} to {window['last']}. Bring transactions of a longer period or of more "
            "holders"
        )
    return label


def _window(frame: pd.DataFrame) -> dict[str, str]:
    dates = frames.dates(frame)
    return {"first": str(dates.min()), "last": str(dates.max())}
