"""Forecast windows with statsforecast's AutoETS or AutoARIMA, fitted to each window's history.

    python statistical.py SPEC.json OUT.npz

SPEC: {"model": "AutoETS" | "AutoARIMA", "season": N, "series": FILE.npz, "windows": [which], "last": N (history used,
0 for all), "horizon": N, "quantiles": […]}. OUT holds `quantiles` (quantiles, windows, steps), `mean`, and seconds.
"""

import json
import os
import sys
import time
import warnings

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"
warnings.simplefilter("ignore")

import numpy as np  # noqa: E402
from statsforecast import models  # noqa: E402


def forecast(spec, history):
    """(quantiles, steps) and the mean, from intervals that are symmetric in probability around the median."""
    model = getattr(models, spec["model"])(season_length=spec["season"])
    values = history[-spec["last"] :] if spec["last"] else history
    values = values[np.flatnonzero(~np.isnan(values))[0] :].astype(np.float64)
    gaps = np.isnan(values)  # neither model takes gaps: bridge them
    values[gaps] = np.interp(np.flatnonzero(gaps), np.flatnonzero(~gaps), values[~gaps])
    levels = {q: round(abs(2 * q - 1) * 100, 6) for q in spec["quantiles"]}
    result = model.forecast(y=values, h=spec["horizon"], level=sorted({level for level in levels.values() if level}))
    rows = [
        result["mean"] if not level else result[f"{'lo' if q < 0.5 else 'hi'}-{level}"] for q, level in levels.items()
    ]
    return np.stack(rows), result["mean"]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        spec = json.load(file)
    series = np.load(spec["series"])
    begin = time.perf_counter()
    made = [forecast(spec, series[f"history_{window}"]) for window in spec["windows"]]
    np.savez(
        sys.argv[2],
        quantiles=np.stack([rows for rows, _ in made], axis=1),
        mean=np.stack([mean for _, mean in made]),
        seconds=time.perf_counter() - begin,
    )


if __name__ == "__main__":
    main()
