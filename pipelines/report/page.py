"""From an execution's plain descriptions to the report's HTML. Pure: no I/O beyond its own template, no clock.

Every part of the page stands on its own: what an execution did not come to (no evaluation, no package, a failed step)
is left out, and the page says why. Text from outside is escaped by the template engine, and the page's own content
security policy forbids scripts and anything from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from pipelines.executions import Execution, StepRun
from pipelines.report import format as formats
from pipelines.report.charts import Plot, Series, Spread, calibration_chart, line_chart, spread_chart
from pipelines.report.flow import flow, state_class, state_word
from pipelines.report.format import as_number, compact, difference, duration, figure, moment, percent, web_address
from pipelines.report.measures import METRICS, Measure
from pipelines.report.verdict import Check, checks

__all__ = ["METRICS", "Inputs", "JobDetail", "Measure", "render"]


@dataclass(frozen=True)
class JobDetail:
    """What is worth knowing of the job behind a step. Addresses are S3 URIs."""

    name: str
    image: str | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)
    log_tail: Sequence[str] = ()


@dataclass(frozen=True)
class Inputs:
    """Everything that a report tells of. `package` is DescribeModelPackage's answer, `evaluation` evaluation.json.

    `made_at` is an aware datetime; `jobs` is keyed by step name; `mlflow_url` is the tracking server's address when it
    has pages that a browser can open, and `mlflow_experiment_id` is the experiment's there.
    """

    project: str
    workload: str
    kind: str
    execution: Execution
    made_at: datetime
    evaluation: Mapping[str, Any] | None = None
    package: Mapping[str, Any] | None = None
    jobs: Mapping[str, JobDetail] = field(default_factory=dict)
    mlflow_url: str | None = None
    mlflow_experiment_id: str | None = None


BASELINE_NAMES = {"base_rate": "Base rate", "gap_model": "Gap model"}


def render(inputs: Inputs) -> str:
    """The page. Whatever is missing or of an unexpected shape in the evaluation is left out."""
    folder = resources.files("pipelines.report")
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.ChainableUndefined,  # what an execution did not come to is simply not there
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
    )
    environment.filters.update(
        compact=compact,
        duration=duration,
        figure=figure,
        moment=moment,
        percent=percent,
        web_address=web_address,
        short=formats.short_uri,
        count=_count,
    )
    style = Markup((folder / "page.css").read_text(encoding="utf-8"))  # ours, so it is not escaped
    return environment.get_template("page.html.j2").render(style=style, **_view(inputs))


def _view(inputs: Inputs) -> dict[str, Any]:
    execution = inputs.execution
    evaluation = _mapping(inputs.evaluation)
    by_name = {step.name: step for step in execution.steps}
    verdict = checks(execution, inputs.evaluation)
    headline, tone = _headline(inputs, verdict)
    bins = _numbers(_mapping(evaluation.get("calibration")).get("bins"))
    return {
        "inputs": inputs,
        "execution": execution,
        "parameters": execution.parameters,
        "commit": _short_commit(execution.parameters.get("GitCommit", "")),
        "share": _share,
        "measure_names": {f"metrics.{measure.key}": measure.name for measure in METRICS},
        "package": inputs.package,
        **_decision(_mapping(inputs.package)),
        "headline": headline,
        "tone": tone,
        "subline": _subline(execution),
        "tiles": _tiles(evaluation),
        "flows": [drawn for down in (False, True) if (drawn := flow(execution.graph, by_name, downwards=down))],
        "steps": _step_rows(inputs),
        "failures": _failures(inputs),
        "verdict": verdict,
        "comparison": _comparison(evaluation),
        "horizon_charts": _horizon_charts(evaluation),
        "legend": _legend(evaluation),
        "horizons": _by_k(evaluation),
        "calibration": calibration_chart(bins),
        "bins": [one for one in bins if one.get("count")],
        "calibration_error": as_number(_mapping(evaluation.get("metrics")).get("calibration_error")),
        "cluster_charts": _cluster_charts(evaluation),
        "chosen_k": as_number(_mapping(evaluation.get("clusters")).get("chosen_k")),
        "profiles": _profiles(evaluation),
        "profile_charts": _profile_charts(evaluation),
        "data": _mapping(evaluation.get("data")),
        "data_view": _data(_mapping(evaluation.get("data"))),
        "server": _mapping(evaluation.get("server")),
        "mlflow": _mlflow(inputs, evaluation),
    }


# --- the head of the page --------------------------------------------------------------------------------------------


def _headline(inputs: Inputs, verdict: Sequence[Check]) -> tuple[str, str]:
    """The sentence that a reader came for, and its tone (good, wait, bad, busy, idle)."""
    execution = inputs.execution
    package = inputs.package
    if package:
        version = package.get("ModelPackageVersion", "")
        approval = package.get("ModelApprovalStatus")
        if approval == "Approved":
            return f"Version {version} is approved", "good"
        if approval == "Rejected":
            return f"Version {version} was rejected", "bad"
        return f"Version {version} waits for approval", "wait"
    if execution.status == "Succeeded":
        return "Succeeded, without registering a model", "good"
    if execution.status == "Stopped":
        return "Stopped before it was done", "idle"
    if execution.status != "Failed":
        return "Still running", "busy"
    failed = [step for step in execution.steps if step.status == "Failed"]
    if any(step.type == "Fail" for step in failed) and any(check.passed is False for check in verdict):
        return "Not good enough to register", "bad"
    return (f"Failed at {failed[0].name}", "bad") if failed else ("Failed", "bad")


def _decision(package: Mapping[str, Any]) -> dict[str, Any]:
    """Who decided on the package and when, as its metadata says of its present state."""
    word = {"Approved": "approved", "Rejected": "rejected"}.get(str(package.get("ModelApprovalStatus")), "")
    metadata = _mapping(package.get("CustomerMetadataProperties"))
    return {"decided_by": metadata.get(f"{word}_by"), "decided_at": metadata.get(f"{word}_at")}


def _subline(execution: Execution) -> str:
    worked = [step for step in execution.steps if step.status not in {"Pending", "Skipped"}]
    cached = sum(1 for step in worked if step.cached_from)
    steps = f"{len(worked)} step{'s' if len(worked) != 1 else ''} in {duration(execution.seconds())}"
    return f"{steps}, {cached} of them from the cache" if cached else steps


@dataclass(frozen=True)
class _Tile:
    name: str
    value: str
    note: str
    meaning: str


def _tiles(evaluation: Mapping[str, Any]) -> list[_Tile]:
    metrics = _mapping(evaluation.get("metrics"))
    gap = _mapping(_mapping(evaluation.get("baselines")).get("gap_model"))
    tiles = []
    for measure in METRICS:
        if measure.key not in {"roc_auc", "brier", "calibration_error", "silhouette"}:
            continue
        value, baseline = as_number(metrics.get(measure.key)), as_number(gap.get(measure.key))
        if value is None:
            continue
        note = "higher is better" if measure.higher_is_better else "lower is better"
        if baseline is not None:
            note = f"gap model {figure(baseline)}"
        tiles.append(_Tile(measure.name, figure(value), note, measure.meaning))
    return tiles


# --- steps ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _StepRow:
    run: StepRun
    state: str
    word: str
    seconds: float | None
    job: JobDetail | None
    start_percent: float | None
    width_percent: float


def _step_rows(inputs: Inputs) -> list[_StepRow]:
    execution = inputs.execution
    times = [time for step in execution.steps for time in (step.started, step.ended) if time]
    begin = min(times, default=execution.started)
    whole = max((max(times, default=execution.modified) - begin).total_seconds(), 0.001)
    rows = []
    for step in execution.steps:
        seconds = step.seconds(inputs.made_at)
        offset = None if step.started is None else (step.started - begin).total_seconds() / whole * 100
        width = 0.0 if seconds is None else max(0.6, seconds / whole * 100)
        rows.append(
            _StepRow(
                run=step,
                state=state_class(step),
                word=state_word(step),
                seconds=seconds if step.type not in {"Condition", "Fail"} or step.status == "Executing" else None,
                job=inputs.jobs.get(step.name),
                start_percent=None if offset is None else min(offset, 99.4),
                width_percent=min(width, 100 - (offset or 0)) if offset is not None and offset < 99.4 else 0.6,
            )
        )
    return rows


def _failures(inputs: Inputs) -> list[tuple[StepRun, JobDetail | None]]:
    return [(step, inputs.jobs.get(step.name)) for step in inputs.execution.steps if step.status == "Failed"]


# --- metrics ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Column:
    key: str
    name: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class _Row:
    measure: Measure
    cells: Sequence[tuple[str, bool]]  # text, and whether it is the best of its row
    difference: str
    tone: str


@dataclass(frozen=True)
class _Comparison:
    columns: Sequence[_Column]
    rows: Sequence[_Row]
    champion: str | None


def _comparison(evaluation: Mapping[str, Any]) -> _Comparison | None:
    metrics = _mapping(evaluation.get("metrics"))
    if not any(as_number(metrics.get(measure.key)) is not None for measure in METRICS):
        return None
    champion = _mapping(evaluation.get("champion"))
    columns = [_Column("model", "This model", metrics)]
    if fields_only := _mapping(evaluation.get("fields_only")):
        columns.append(_Column("fields", "From the request\u2019s fields alone", fields_only))
    for key, values in _mapping(evaluation.get("baselines")).items():
        columns.append(_Column(key, BASELINE_NAMES.get(key, str(key).replace("_", " ")), _mapping(values)))
    if champion:
        columns.append(_Column("champion", "Champion", _mapping(champion.get("metrics"))))
    rows = []
    for measure in METRICS:
        values = [as_number(column.values.get(measure.key)) for column in columns]
        if values[0] is None:
            continue
        present = [value for value in values if value is not None]
        best = max(present) if measure.higher_is_better else min(present)
        cells = [(figure(value), value == best and len(present) > 1) for value in values]
        against = values[-1] if champion else None
        against_champion = "" if against is None else difference(values[0] - against)
        better = against is not None and (values[0] >= against) == measure.higher_is_better
        tone = "" if against is None or values[0] == against else ("good" if better else "bad")
        rows.append(_Row(measure, cells, against_champion, tone))
    return _Comparison(columns, rows, str(champion.get("model_uri", "")) or None if champion else None)


def _by_k(evaluation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rows = [row for row in _sequence(evaluation.get("by_k")) if as_number(_mapping(row).get("k")) is not None]
    return sorted(rows, key=lambda row: float(row["k"]))


def _legend(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(style, name) of each line in the plots by horizon."""
    rows = _by_k(evaluation)
    keys = {key for row in rows for key in _mapping(row.get("baselines"))}
    champion = any(_mapping(row.get("champion")) for row in rows)
    named = [("model", "This model")]
    if champion:
        named.append(("champion", "Champion"))
    styles = {"base_rate": "base", "gap_model": "gap"}
    return named + [(styles.get(key, "gap"), BASELINE_NAMES.get(key, key)) for key in sorted(keys, reverse=True)]


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
            points = [(row["k"], as_number(_mapping(_inside(row, inner)).get(key))) for row in rows]
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
    clusters = _mapping(evaluation.get("clusters"))
    tried = [row for row in map(_mapping, _sequence(clusters.get("range"))) if as_number(row.get("k")) is not None]
    tried.sort(key=lambda row: float(row["k"]))
    charts = []
    for measure in METRICS:
        if measure.key not in {"silhouette", "davies_bouldin", "calinski_harabasz"}:
            continue
        better = "higher" if measure.higher_is_better else "lower"
        points = [(float(row["k"]), as_number(row.get(measure.key))) for row in tried]
        chart = line_chart(
            f"{measure.name} ({better} is better)",
            [Series(measure.name, "model", points)],
            "number of clusters",
            marked_x=as_number(clusters.get("chosen_k")),
        )
        if chart:
            charts.append(chart)
    return charts


FIELDS = (
    ("usage_freq", "Purchases", "usage_freq"),
    ("amount_spend", "Amount spent", "amount_spend"),
    ("uniq_merchant", "Distinct merchants", "uniq_merchant"),
)


def _profiles(evaluation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    profiles = _sequence(_mapping(evaluation.get("clusters")).get("profiles"))
    return [profile for profile in map(_mapping, profiles) if profile]


def _profile_charts(evaluation: Mapping[str, Any]) -> list[Plot]:
    charts = []
    for key, title, _ in FIELDS:
        rows = []
        for profile in _profiles(evaluation):
            spread = [as_number(_mapping(profile.get(key)).get(part)) for part in ("p10", "median", "p90")]
            low, middle, high = spread
            if low is not None and middle is not None and high is not None:
                rows.append(Spread(f"Cluster {profile.get('cluster', '?')}", low, middle, high))
        if chart := spread_chart(title, rows):
            charts.append(chart)
    return charts


# --- data -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """One part of the split, or of what became of the lines: its name, size, and share of the whole."""

    name: str
    count: float
    share: float
    style: str


@dataclass(frozen=True)
class _Data:
    """The data section: (name, value) facts, what became of each line, bad lines by reason, and the split."""

    facts: Sequence[tuple[str, str]]
    lines: Sequence[_Part]
    bad: Sequence[tuple[str, float, Sequence[str]]]
    splits: Sequence[tuple[str, Mapping[str, Any]]]
    horizons: Sequence[str]


def _data(data: Mapping[str, Any]) -> _Data | None:
    """The section about the data, from the report that preparing it left; unknown single values become facts."""
    if not data:
        return None
    counts, period = _mapping(data.get("counts")), _mapping(data.get("period"))
    reasons = _mapping(counts.get("bad"))
    known = {
        "Lines": _count(counts.get("lines")),
        "Purchases": _count(counts.get("purchases")),
        "Holders": _count(counts.get("holders")),
        "Period": f"{period['first']} to {period['last']}" if {"first", "last"} <= period.keys() else formats.NOTHING,
        "Days": _count(period.get("days")),
        "Behaviour counts over": _with_unit(data.get("window_days"), "days"),
        "Reference dates every": _with_unit(data.get("step_days"), "days"),
        "Longest horizon": _with_unit(data.get("max_horizon"), "days"),
        "Files": ", ".join(_file_name(file) for file in _sequence(data.get("files"))) or formats.NOTHING,
    }
    facts = [(name, text) for name, text in known.items() if text != formats.NOTHING]
    told = {"schema_version", "window_days", "step_days", "max_horizon"}
    facts += [
        (str(key).replace("_", " ").capitalize(), text)
        for key, value in data.items()
        if key not in told and (text := _plain(value)) is not None
    ]
    splits = [(str(name), part) for name, value in _mapping(data.get("split")).items() if (part := _mapping(value))]
    horizons = list(dict.fromkeys(str(k) for _, part in splits for k in _mapping(part.get("positives"))))
    return _Data(facts, _line_parts(counts), _bad_lines(reasons, _mapping(data.get("bad_lines"))), splits, horizons)


def _line_parts(counts: Mapping[str, Any]) -> list[_Part]:
    """What became of the lines that were read, as parts of all."""
    whole = as_number(counts.get("lines"))
    if not whole:
        return []
    bad = sum(number for value in _mapping(counts.get("bad")).values() if (number := as_number(value)) is not None)
    named = (
        ("purchases", counts.get("purchases"), "model"),
        ("refunds", counts.get("refunds"), "champion"),
        ("duplicates", counts.get("duplicates"), "gap"),
        ("amount of zero", counts.get("zero"), "base"),
        ("after the evaluation time", counts.get("later"), "base"),
        ("not readable", bad, "bad"),
    )
    return [
        _Part(name, number, number / whole, style)
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
                for example in map(_mapping, _sequence(examples.get(reason)))
            ]
            rows.append((str(reason).replace("_", " "), number, shown[:3]))
    return sorted(rows, key=lambda row: -row[1])


def _share(part: Mapping[str, Any], k: str) -> float | None:
    """Share of a part's examples with a purchase within k days."""
    positives, examples = as_number(_mapping(part.get("positives")).get(k)), as_number(part.get("examples"))
    return positives / examples if positives is not None and examples else None


def _short_commit(commit: str) -> str:
    """A commit as people write it: its first twelve characters, and that the tree differed from it."""
    return commit[:12] + ("-dirty" if len(commit) > 12 and commit.endswith("-dirty") else "")


def _with_unit(value: Any, unit: str) -> str:
    return formats.NOTHING if as_number(value) is None else f"{_count(value)} {unit}"


def _file_name(file: Any) -> str:
    """A file of the input, which is told by its name or by a description that holds it."""
    return str(next(iter(file.values()), "")) if isinstance(file, Mapping) else str(file)


def _plain(value: Any) -> str | None:
    """A single value as text; None for anything with an inside."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return figure(value)
    return value if isinstance(value, str) else None


# --- where things are -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Mlflow:
    run_id: str
    experiment: str
    run_link: str | None
    models: Sequence[tuple[str, str | None]]


def _mlflow(inputs: Inputs, evaluation: Mapping[str, Any]) -> _Mlflow | None:
    """The run that the evaluation was logged to, and the registered versions that the package's metadata names."""
    told = _mapping(evaluation.get("mlflow"))
    run_id = str(told.get("run_id") or "")
    if not run_id:
        return None
    base, experiment_id = inputs.mlflow_url, inputs.mlflow_experiment_id
    run_link = f"{base}/#/experiments/{experiment_id}/runs/{run_id}" if base and experiment_id else None
    metadata = _mapping(_mapping(inputs.package).get("CustomerMetadataProperties"))
    models: list[tuple[str, str | None]] = []
    for key, version in metadata.items():
        part = key.removeprefix("mlflow_").removesuffix("_version")
        if key == f"mlflow_{part}_version":
            name = metadata.get(f"mlflow_{part}_model", part)
            models.append(
                (f"{name} version {version}", web_address(base and f"{base}/#/models/{name}/versions/{version}"))
            )
    return _Mlflow(run_id, str(told.get("experiment") or ""), web_address(run_link), models)


# --- reading documents that may be of any shape --------------------------------------------------------------------


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()


def _inside(value: Any, keys: Iterable[str]) -> Any:
    for key in keys:
        value = _mapping(value).get(key)
    return value


def _numbers(rows: Any) -> list[dict[str, float | None]]:
    return [{str(key): as_number(value) for key, value in _mapping(row).items()} for row in _sequence(rows)]


def _count(value: Any) -> str:
    number = as_number(value)
    return formats.NOTHING if number is None else f"{number:,.0f}"
