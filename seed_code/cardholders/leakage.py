"""Does a feature know the future? Compute it again without the future, and compare."""

from collections.abc import Callable, Mapping

import numpy as np

from seed_code.cardholders.features import Activity, Array

Compute = Callable[[Activity, Array, Array], Mapping[str, Array]]


def leaking_features(compute: Compute, activity: Activity, holder: Array, day: Array) -> list[str]:
    """Names of the features that change when every transaction after the reference date is deleted.

    Args:
        compute: from activity, holders and reference dates (days), both of shape (n,), to features of shape (n,).
        activity: everything known, the time after the reference dates included (without it nothing can leak).
        holder, day: the reference points to look at. The cost is one call of `compute` for each distinct day.

    Returns:
        The names in the order in which `compute` gives them; empty when there is no leak at these points.
    """
    complete = compute(activity, holder, day)
    leaking: set[str] = set()
    for reference in np.unique(day):
        chosen = day == reference
        truncated = compute(activity.until(int(reference)), holder[chosen], day[chosen])
        leaking |= {
            name
            for name in complete
            if not np.array_equal(
                np.asarray(complete[name][chosen], np.float64), np.asarray(truncated[name], np.float64), equal_nan=True
            )
        }
    return [name for name in complete if name in leaking]
