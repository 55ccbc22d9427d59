"""Clusters of cardholders by how they use their card.

Three fields describe a holder: usage frequency, amount spent, distinct merchants. All three are heavy-tailed counts
or sums, so each goes through log(1 + x). Outliers are winsorised: on the log scale, values below the `outlier_quantile`
quantile or above the `1 - outlier_quantile` quantile of the training holders count as that quantile. Then each field is
standardised, so that none dominates the distance. Quantiles, means and scales are part of the model.

The number of clusters is the one with the highest silhouette over a range; Davies-Bouldin and Calinski-Harabasz are
reported over the same range. Clusters are numbered by the median amount that their holders spend, lowest first, so
that a number keeps its meaning when the model is trained again.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score, silhouette_score

from seed_code.cardholders.features import FIELDS
from seed_code.common.errors import ClientError
from seed_code.common.hyperparameters import Tunable

TUNABLES = (
    Tunable("min_clusters", 2, 2, 50, "smallest number of clusters tried"),
    Tunable("max_clusters", 8, 2, 50, "largest number of clusters tried"),
    Tunable("outlier_quantile", 0.005, 0.0, 0.2, "share of holders at each end of a field whose value is an outlier"),
    Tunable("silhouette_sample", 2000, 10, 20000, "holders that the silhouette is computed on (its cost is quadratic)"),
    Tunable("seed", 0, 0, 2**31 - 1, "seed of every random choice"),
)

_SCALE = ("lower", "upper", "mean", "scale")
SCORES = ("silhouette", "davies_bouldin", "calinski_harabasz")

_QUANTILES = ("p10", "median", "p90")
# The words for the five fifths of the training holders that a cluster's median can lie in.
_USE = ("rare", "occasional", "regular", "frequent", "very frequent")
_SPEND = ("very low", "low", "moderate", "high", "very high")


@dataclass(frozen=True)
class ClusterModel:
    """The trained clustering. Arrays of shape (3,) hold one value a field; `centres` is (clusters, 3)."""

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    centres: NDArray[np.float64]

    def standardise(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Fields (n, 3), as requests carry them, to the scale on which distances are measured."""
        scaled: NDArray[np.float64] = (np.clip(np.log1p(values), self.lower, self.upper) - self.mean) / self.scale
        return scaled

    def predict(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """The number of the nearest centre of each row of fields (n, 3)."""
        # Plain NumPy: for a single record, scikit-learn's validation and thread-pool handling cost more than the rest.
        offsets = self.standardise(values)[:, None, :] - self.centres[None, :, :]
        nearest: NDArray[np.int64] = np.einsum("nkf,nkf->nk", offsets, offsets).argmin(axis=1)
        return nearest


def fit(values: NDArray[np.float64], settings: dict[str, Any]) -> tuple[ClusterModel, dict[str, Any]]:
    """Train on fields (holders, 3); `settings` as TUNABLES says.

    Returns:
        The model, and its report: `chosen_k`, `range` (scores of each k), `profiles` of the clusters, `scale` of
        distances.

    Raises:
        ClientError: when the range is empty or there are too few different holders to make two clusters.
    """
    low, high = settings["min_clusters"], settings["max_clusters"]
    if low > high:
        raise ClientError(f"hyperparameters: `min_clusters` is {low} and `max_clusters` {high}; expected min <= max")
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise ClientError(f"the holders' {', '.join(FIELDS)} must be finite and not negative")
    # In one memory order: sums in another differ in the last digits, and the same holders must give the same model.
    values = np.ascontiguousarray(values)
    logs = np.log1p(values)
    lower, upper = np.quantile(logs, [settings["outlier_quantile"], 1 - settings["outlier_quantile"]], axis=0)
    clipped = np.clip(logs, lower, upper)
    scale = clipped.std(axis=0)
    model = ClusterModel(lower, upper, clipped.mean(axis=0), np.where(scale > 0, scale, 1.0), np.empty((0, 3)))
    points = model.standardise(values)

    different = len(np.unique(points, axis=0))
    if different <= low:
        raise ClientError(
            f"clustering needs holders with more than {low} (min_clusters) different values of {', '.join(FIELDS)}; "
            f"found {different} among {len(values)} holders. Bring transactions of more holders"
        )
    sample = _sample(len(points), settings["silhouette_sample"], settings["seed"])
    tried = []
    for clusters in range(low, min(high, different - 1) + 1):
        kmeans = KMeans(n_clusters=clusters, n_init=4, random_state=settings["seed"]).fit(points)
        tried.append((scores(points, kmeans.labels_, sample), kmeans.cluster_centers_))
    best, centres = max(tried, key=lambda entry: entry[0]["silhouette"])

    unordered = ClusterModel(model.lower, model.upper, model.mean, model.scale, centres)
    labels = unordered.predict(values)
    order = sorted(range(len(centres)), key=lambda cluster: _size_of_spend(values[labels == cluster]))
    final = ClusterModel(model.lower, model.upper, model.mean, model.scale, np.ascontiguousarray(centres[order]))
    report = {
        "chosen_k": len(centres),
        "range": [{"k": len(found), **score} for score, found in tried],
        **best,
        "profiles": profiles(values, final.predict(values), len(centres)),
        "scale": {name: getattr(final, name).tolist() for name in _SCALE},
    }
    return final, report


def scores(
    points: NDArray[np.float64], labels: NDArray[np.integer[Any]], sample: NDArray[np.int64]
) -> dict[str, float]:
    """Silhouette (on the rows `sample`), Davies-Bouldin and Calinski-Harabasz (on all) of a clustering of points.

    Points are standardised fields (n, 3). A clustering that puts all points, or all sampled ones, in one cluster has
    no such scores; it gets the worst value of each (silhouette -1), so that it is never chosen and never passes.
    """
    found, sampled = len(np.unique(labels)), len(np.unique(labels[sample]))
    if not 2 <= sampled < len(sample) or not 2 <= found < len(points):
        return {"silhouette": -1.0, "davies_bouldin": float(np.finfo(np.float32).max), "calinski_harabasz": 0.0}
    return {
        "silhouette": float(silhouette_score(points[sample], labels[sample])),
        "davies_bouldin": float(davies_bouldin_score(points, labels)),
        "calinski_harabasz": float(calinski_harabasz_score(points, labels)),
    }


def holdout_scores(
    scale: dict[str, list[float]], values: NDArray[np.float64], labels: NDArray[np.int64]
) -> dict[str, float]:
    """`scores` of the answers that a server gave for the fields (n, 3) of holders that the model may not have seen.

    `scale` is that of the training report: distances are measured as in training.
    """
    model = ClusterModel(*(np.asarray(scale[name]) for name in _SCALE), centres=np.empty((0, len(FIELDS))))
    return scores(model.standardise(values), labels, _sample(len(values), 2000, seed=0))


def profiles(values: NDArray[np.float64], labels: NDArray[np.int64], clusters: int) -> list[dict[str, Any]]:
    """What each cluster's holders are like, in figures and in a sentence; `values` are unscaled fields (n, 3)."""
    described, names = [], set()
    for cluster in range(clusters):
        members = values[labels == cluster]
        quantiles = {
            field: dict(zip(_QUANTILES, map(float, np.quantile(members[:, column], [0.1, 0.5, 0.9])), strict=True))
            if len(members)
            else dict.fromkeys(_QUANTILES)
            for column, field in enumerate(FIELDS)
        }
        name, description = _words(values, members, quantiles)
        if name in names:
            name += f", around {_figure(quantiles['amount_spend']['median'])}"
        names.add(name)
        described.append(
            {
                "cluster": cluster,
                "name": name,
                "description": description,
                "holders": len(members),
                "share": len(members) / len(values),
                **quantiles,
            }
        )
    return described


def _words(
    values: NDArray[np.float64], members: NDArray[np.float64], quantiles: dict[str, dict[str, Any]]
) -> tuple[str, str]:
    if not len(members):
        return "no holders", "No holder is nearest to this centre."
    use = _USE[_fifth(values[:, 0], quantiles["usage_freq"]["median"])]
    spend = _SPEND[_fifth(values[:, 1], quantiles["amount_spend"]["median"])]
    frequency, amount, merchants = (quantiles[field] for field in FIELDS)
    sentence = (
        f"{len(members) / len(values):.0%} of the holders: the median one makes {_figure(frequency['median'])}"
        f" purchases worth {_figure(amount['median'])} at {_figure(merchants['median'])} merchants;"
        f" four in five spend between {_figure(amount['p10'])} and {_figure(amount['p90'])}"
        f" in {_figure(frequency['p10'])} to {_figure(frequency['p90'])} purchases."
    )
    return f"{use} use, {spend} spend", sentence


def _fifth(population: NDArray[np.float64], value: float) -> int:
    # The middle of the value's rank range: with many equal values, the share below and the share up to it differ much.
    rank = ((population < value).mean() + (population <= value).mean()) / 2
    return min(int(rank * 5), 4)


def _figure(value: float) -> str:
    return f"{value:,.0f}"


def _size_of_spend(members: NDArray[np.float64]) -> tuple[float, ...]:
    if not len(members):
        return (np.inf, np.inf, np.inf)
    usage, spend, merchants = np.median(members, axis=0)
    return (float(spend), float(usage), float(merchants))


def _sample(rows: int, size: int, seed: int) -> NDArray[np.int64]:
    if rows <= size:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, size, replace=False))
