"""What the page tells of a cardholders model: purchases by horizon, calibration, clusters, and the data's lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.report import format as formats
from pipelines.report.charts import Plot, Series, Spread, calibration_chart, line_chart, spread_chart
from pipelines.report.documents import count, facts_of, inside, mapping, numbers, records, sequence
from pipelines.report.format import as_number, figure, percent
from pipelines.report.measures import CARDHOLDERS
from pipelines.report.sections import Material, Part, Sections, Tile

__all__ = ["sections", "summary"]


def sections(material: Material) -> Sections:
    """The sections of an evaluation. Whatever is missing or of an unexpected shape in it is left out."""
    evaluation = material.evaluation
    bins = numbers(mapping(evaluation.get("calibration")).get("bins"))
    view = {
        "horizon_charts": _horizon_charts(evaluation),
        "legend": _legend(evaluation),
        "calibration": calibration_chart(bins),
        "bins": [one for one in bins if one.get("count")],
        "calibration_error": as_number(mapping(evaluation.get("metrics")).get("calibration_error")),
        "cluster_charts": _cluster_charts(evaluation),
        "chosen_k": as_number(mapping(evaluation.get("clusters")).get("chosen_k")),
        "profiles": _profiles(evaluation),
        "profile_charts": _profile_charts(evaluation),
        "data_view": _data(mapping(evaluation.get("data"))),
        "share": _share,
    }
    named = (
        ("horizons", "By horizon", view["horizon_charts"]),
        ("calibration", "Calibration", view["calibration"]),
        ("clusters", "Clusters", view["profiles"] or view["cluster_charts"]),
        ("data", "Data", view["data_view"]),
    )
    return Sections(
        template="cardholders.html.j2",
        tiles=_tiles(evaluation),
        links=[(name, text) for name, text, there in named if there],
        view=view,
        lead="All on the same holdout, which lies after everything that the model learned from.",
    )


def summary(evaluation: Mapping[str, Any]) -> str:
    """One line about what the metrics do not tell: the clusters and their shares; empty when there are none."""
    profiles = _profiles(evaluation)
    shares = ", ".join(f"{profile.get('name')} {percent(profile.get('share'))}" for profile in profiles)
    return f"{len(profiles)} clusters: {shares}" if profiles else ""


def _tiles(evaluation: Mapping[str, Any]) -> list[Tile]:
    metrics = mapping(evaluation.get("metrics"))
    gap = mapping(mapping(evaluation.get("baselines")).get("gap_model"))
    tiles = []
    for measure in CARDHOLDERS.named("roc_auc", "brier", "calibration_error", "silhouette"):
        value, baseline = as_number(metrics.get(measure.key)), as_number(gap.get(measure.key))
        if value is not None:
            note = measure.direction if baseline is None else f"gap model {figure(baseline)}"
            tiles.append(Tile(measure.name, figure(value), [note], measure.meaning))
    return tiles


# --- purchases by horizon ---------------------------------------------------------------------------------------------


def _by_k(evaluation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = [row for row in records(evaluation.get("by_k")) if as_number(row.get("k")) is not None]
    return sorted(found, key=lambda row: float(row["k"]))


def _legend(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(style, name) of each line in the plots by horizon."""
    rows = _by_k(evaluation)
    keys = {key for row in rows for key in mapping(row.get("baselines"))}
    champion = any(mapping(row.get("champion")) for row in rows)
    named = [("model", "This model")]
    if champion:
        named.append(("champion", "Champion"))
    styles = {"base_rate": "base", "gap_model": "gap"}
    return named + [(styles.get(key, "gap"), CARDHOLDERS.baseline(key)) for key in sorted(keys, reverse=True)]


def _horizon_charts(evaluation: Mapping[str, Any]) -> list[Plot]:
    rows = _by_k(evaluation)
    charts = []
    for key, title in (
        ("roc_auc", "ROC AUC by horizon"),
        ("pr_auc", "PR AUC by horizon"),
        ("brier", "Brier score by horizon"),
        ("log_loss", "Log loss by horizon"),
        ("calibration_error", "Calibration error by horizon"),
    ):
        series = [Series("This model", "model", [(row["k"], as_number(row.get(key))) for row in rows])]
        for style, name, inner in (
            ("champion", "Champion", ("champion",)),
            ("gap", "Gap model", ("baselines", "gap_model")),
            ("base", "Base rate", ("baselines", "base_rate")),
        ):
            points = [(row["k"], as_number(mapping(inside(row, inner)).get(key))) for row in rows]
            series.append(Series(name, style, points))
        if chart := line_chart(title, series, "days ahead", y_from_zero=key == "calibration_error"):
            charts.append(chart)
    share = line_chart(
        "Share who purchase by horizon",
        [Series("Base rate", "model", [(row["k"], as_number(row.get("base_rate"))) for row in rows])],
        "days ahead",
        y_from_zero=True,
    )
    return [*charts, share] if share else charts


# --- clusters ---------------------------------------------------------------------------------------------------------


def _cluster_charts(evaluation: Mapping[str, Any]) -> list[Plot]:
    clusters = mapping(evaluation.get("clusters"))
    tried = [row for row in records(clusters.get("range")) if as_number(row.get("k")) is not None]
    tried.sort(key=lambda row: float(row["k"]))
    charts = []
    for measure in CARDHOLDERS.named("silhouette", "davies_bouldin", "calinski_harabasz"):
        points = [(float(row["k"]), as_number(row.get(measure.key))) for row in tried]
        chart = line_chart(
            f"{measure.name} ({measure.direction})",
            [Series(measure.name, "model", points)],
            "number of clusters",
            marked_x=as_number(clusters.get("chosen_k")),
        )
        if chart:
            charts.append(chart)
    return charts


FIELDS = (
    ("usage_freq", "Purchases"),
    ("amount_spend", "Amount spent"),
    ("uniq_merchant", "Distinct merchants"),
)


def _profiles(evaluation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return records(mapping(evaluation.get("clusters")).get("profiles"))


def _profile_charts(evaluation: Mapping[str, Any]) -> list[Plot]:
    charts = []
    for key, title in FIELDS:
        rows = []
        for profile in _profiles(evaluation):
            spread = [as_number(mapping(profile.get(key)).get(part)) for part in ("p10", "median", "p90")]
            low, middle, high = spread
            if low is not None and middle is not None and high is not None:
                rows.append(Spread(f"Cluster {profile.get('cluster', '?')}", low, middle, high))
        if chart := spread_chart(title, rows):
            charts.append(chart)
    return charts


# --- data -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Data:
    """The data section: (name, value) facts, what became of each line, bad lines by reason, and the split."""

    facts: Sequence[tuple[str, str]]
    lines: Sequence[Part]
    bad: Sequence[tuple[str, float, Sequence[str]]]
    splits: Sequence[tuple[str, Mapping[str, Any]]]
    horizons: Sequence[str]


def _data(data: Mapping[str, Any]) -> _Data | None:
    """The section about the data, from the report that preparing it left; unknown single values become facts."""
    if not data:
        return None
    counts, period = mapping(data.get("counts")), mapping(data.get("period"))
    reasons = mapping(counts.get("bad"))
    known = {
        "Lines": count(counts.get("lines")),
        "Purchases": count(counts.get("purchases")),
        "Holders": count(counts.get("holders")),
        "Period": f"{period['first']} to {period['last']}" if {"first", "last"} <= period.keys() else formats.NOTHING,
        "Days": count(period.get("days")),
        "Behaviour counts over": _with_unit(data.get("window_days"), "days"),
        "Reference dates every": _with_unit(data.get("step_days"), "days"),
        "Longest horizon": _with_unit(data.get("max_horizon"), "days"),
        "Files": ", ".join(_file_name(file) for file in sequence(data.get("files"))) or formats.NOTHING,
    }
    facts = [(name, text) for name, text in known.items() if text != formats.NOTHING]
    told = {"schema_version", "window_days", "step_days", "max_horizon"}
    facts += facts_of(data, told)
    splits = [(str(name), part) for name, value in mapping(data.get("split")).items() if (part := mapping(value))]
    horizons = list(dict.fromkeys(str(k) for _, part in splits for k in mapping(part.get("positives"))))
    return _Data(facts, _line_parts(counts), _bad_lines(reasons, mapping(data.get("bad_lines"))), splits, horizons)


def _line_parts(counts: Mapping[str, Any]) -> list[Part]:
    """What became of the lines that were read, as parts of all."""
    whole = as_number(counts.get("lines"))
    if not whole:
        return []
    bad = sum(number for value in mapping(counts.get("bad")).values() if (number := as_number(value)) is not None)
    named = (
        ("purchases", counts.get("purchases"), "model"),
        ("refunds", counts.get("refunds"), "champion"),
        ("duplicates", counts.get("duplicates"), "gap"),
        ("amount of zero", counts.get("zero"), "base"),
        ("after the evaluation time", counts.get("later"), "base"),
        ("not readable", bad, "bad"),
    )
    return [
        Part(name, number, number / whole, style)
        for name, value, style in named
        if (number := as_number(value)) is not None and (number > 0 or name == "not readable")
    ]


def _bad_lines(reasons: Mapping[str, Any], examples: Mapping[str, Any]) -> list[tuple[str, float, Sequence[str]]]:
    """(reason, lines, examples) of each reason that occurred, most frequent first."""
    rows = []
    for reason, value in reasons.items():
        number = as_number(value)
        if number:
            shown = [
                f"{example.get('file', '')} line {example.get('line', '?')}: {example.get('found') or 'empty'}"
                for example in map(mapping, sequence(examples.get(reason)))
            ]
            rows.append((str(reason).replace("_", " "), number, shown[:3]))
    return sorted(rows, key=lambda row: -row[1])


def _share(part: Mapping[str, Any], k: str) -> float | None:
    """Share of a part's examples with a purchase within k days."""
    positives, examples = as_number(mapping(part.get("positives")).get(k)), as_number(part.get("examples"))
    return positives / examples if positives is not None and examples else None


def _with_unit(value: Any, unit: str) -> str:
    return formats.NOTHING if as_number(value) is None else f"{count(value)} {unit}"


def _file_name(file: Any) -> str:
    """A file of the input, which is told by its name or by a description that holds it."""
    return str(next(iter(file.values()), "")) if isinstance(file, Mapping) else str(file)
