"""A drift report: a page for people and JSON for machines, of what changed lately and how good the model was at it.

Made once a day, and when an alarm has fired; by Evidently, in a step of its own, because its import alone takes many
times what an hour's evaluation does. A workload's program (`seed_code/<workload>/drift_report.py`) says in parts what
is to be held against what; here they become

    {--monitor-uri}/{--stage}/drift/YYYY/MM/DD/{T}/report.html    one file that fetches nothing
    {--monitor-uri}/{--stage}/drift/YYYY/MM/DD/{T}/report.json    see `document`; written last

and in MLflow, in the run of the deployment's evaluations, the page as a file, and a tag `mlops.drift_report` with the
address of the newest one. MLflow that is not there ends no report.

Where there is too little for every part, the page says so, and is no failure: Evidently is not even imported then.
"""

import html
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from seed_code.common import mlflow_http, monitoring, monitoring_store
from seed_code.common.arguments import ArgumentParser
from seed_code.common.mlflow_http import MlflowError
from seed_code.common.monitoring import Evaluation
from seed_code.common.monitoring_publish import RUN_TAG, URI_VARIABLE
from seed_code.common.monitoring_store import encoded
from seed_code.common.objects import Objects

SCHEMA_VERSION = 1
REPORTED, TOO_LITTLE_DATA = "reported", "too-little-data"
NO_REASON = "no"  # --reason, when none is given
TAG = "mlops.drift_report"

WASSERSTEIN, PSI = "wasserstein", "psi"

# Columns of one length, by name. None is a missing value.
Columns = Mapping[str, Sequence[Any]]

_HTML, _JSON = "text/html; charset=utf-8", "application/json"


@dataclass(frozen=True)
class Part:
    """A part of a report, with nothing to show but its text: why there is nothing more.

    Attributes:
        name: in the JSON document.
        title, text: on the page; the text says what is held against what.
    """

    name: str
    title: str
    text: str


@dataclass(frozen=True)
class Table(Part):
    """Rows as they are."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True)
class Drift(Part):
    """Whether columns are distributed as in the reference.

    Attributes:
        current, reference: with the columns of `thresholds`.
        thresholds: the distance from which a column has drifted, by column.
        method: WASSERSTEIN (in standard deviations of the reference) or PSI. It is given: Evidently alone would choose
            by the number of rows, and a column's figure would change its meaning from one report to the next.
        categories: those of the columns that are no numbers.
    """

    current: Columns
    reference: Columns
    thresholds: Mapping[str, float]
    method: str
    categories: Sequence[str] = ()


@dataclass(frozen=True)
class Regression(Part):
    """How far predictions were from what came.

    Attributes:
        current, reference: `time`, and the two columns; no value is missing. No reference: None.
    """

    current: Columns
    reference: Columns | None
    predicted: str
    actual: str


@dataclass(frozen=True)
class Classification(Part):
    """How good probabilities were.

    Attributes:
        current, reference: the two columns, `happened` of 0 and 1 with both among them; no value is missing.
        threshold: of the probability, from which it is taken for a yes.
    """

    current: Columns
    reference: Columns | None
    probability: str
    happened: str
    threshold: float


@dataclass(frozen=True)
class Drawn:
    """What Evidently made of the parts.

    Attributes:
        page: HTML.
        figures: what it found, JSON, by the part's name. That of a `Drift` has `columns`: column, method, distance,
            threshold, drifted.
    """

    page: str
    figures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def parser(description: str) -> ArgumentParser:
    """The command line that the drift reports of all workloads have."""
    described = monitoring.parser("drift_report", description, threshold=False)
    described.add_argument("--reason", default=NO_REASON, help=f"an alarm's name, or another word: why; or {NO_REASON}")
    return described


def evaluations(objects: Objects, of: Evaluation, begin: datetime) -> list[dict[str, Any]]:
    """The reports of the stage's evaluations after `begin` up to this one, in their order.

    One that is damaged, or of another schema, is passed over.

    Raises:
        ClientError: when S3 does not answer.
    """
    found = []
    day = begin.replace(hour=0, minute=0, second=0, microsecond=0)
    while day <= of.time:
        for uri in objects.list(f"{of.root}/evaluations/{day:%Y/%m/%d}"):
            time = monitoring.stamped(uri)
            if time is not None and begin < time <= of.time and (content := objects.get(uri)) is not None:
                report = monitoring_store.document_of(uri, content)
                if report.get("schema_version") == monitoring.SCHEMA_VERSION:
                    found.append(report)
        day += timedelta(days=1)
    return found


def hours(reports: Sequence[Mapping[str, Any]], span: str, metrics: Mapping[str, str]) -> Part:
    """The hours as their evaluations found them.

    Args:
        span: which they are, such as `24 hours`.
        metrics: the table's columns, by their headings.
    """
    title = "Hour by hour"
    if not reports:
        return Part("hours", title, f"None of the last {span} was evaluated.")
    rows = [
        (
            report["hour"]["from"],
            report["model_version"],
            report["verdict"],
            *(figure(report["metrics"].get(metric)) for metric in metrics.values()),
            ", ".join(f"{one['detector']} of {one['stream']}" for one in report["drift"] if one["detected"]),
        )
        for report in reports
    ]
    text = f"{len(rows)} evaluations of the last {span}; a figure that is not there was not measured."
    return Table("hours", title, text, ("Hour from", "Version", "Verdict", *metrics, "Drift found by"), rows)


def figure(value: float | None) -> str:
    """A figure as tables have it; nothing where there is none."""
    return "" if value is None else f"{value:.4g}"


def of_alarm(of: Evaluation, reason: str) -> bool:
    """Whether an alarm of what is reported on is the reason: their names are the endpoint's, and what they watch."""
    return reason.startswith(f"{of.endpoint}-")


def of_deployment(documents: Sequence[Mapping[str, Any]], of: Evaluation) -> list[Mapping[str, Any]]:
    """Those of the hours' reports, or of the answers, that are about what is served now."""
    return [document for document in documents if document["endpoint_config"] == of.endpoint_config]


def publish(of: Evaluation, reason: str, parts: Sequence[Part], objects: Objects) -> dict[str, Any]:
    """Make the report of the parts, and put it where it belongs; its document.

    Args:
        reason: --reason.

    Raises:
        ClientError: when S3 does not do as asked.
    """
    title = f"{of.workload}, {of.stage}: {of.time:%Y-%m-%d %H:%M} UTC"
    shown = facts(of, reason)
    if any(isinstance(part, Drift | Regression | Classification) for part in parts):
        from seed_code.common import drift_page

        verdict, drawn = REPORTED, drift_page.draw(title, shown, parts)
    else:
        verdict, drawn = TOO_LITTLE_DATA, Drawn(plain(title, shown, parts))
    page = drawn.page.encode()
    page_uri = f"{of.drift_uri}/report.html"
    objects.put(page_uri, page, _HTML)
    said = {**document(of, reason, verdict, parts, drawn), "page": page_uri, "mlflow": _to_mlflow(of, page, objects)}
    objects.put(f"{of.drift_uri}/report.json", encoded(said), _JSON)
    sys.stdout.write(f"drift_report: {verdict}; drifted: {', '.join(said['drifted']) or 'nothing'}; {page_uri}\n")
    return said


def document(of: Evaluation, reason: str, verdict: str, parts: Sequence[Part], drawn: Drawn) -> dict[str, Any]:
    """The report for machines: what it is about, `drifted` (columns), and `parts` (name, title, text, and of Evidently
    `current` and `reference`, which are numbers of rows, `metrics`, `columns`)."""
    figures = [drawn.figures.get(part.name, {}) for part in parts]
    return {
        "schema_version": SCHEMA_VERSION,
        **of.document(),
        "reason": reason,
        "verdict": verdict,
        "drifted": [one["column"] for found in figures for one in found.get("columns", []) if one["drifted"]],
        "parts": [
            {"name": part.name, "title": part.title, "text": part.text, **found}
            for part, found in zip(parts, figures, strict=True)
        ],
    }


def facts(of: Evaluation, reason: str) -> dict[str, str]:
    """What the page says of itself at its top."""
    asked = "somebody asked for it" if reason == NO_REASON else reason
    return {
        "Project": of.project,
        "Endpoint": of.endpoint,
        "Model": f"version {of.model_version}, {of.model_package_arn}",
        "Deployment": of.endpoint_config,
        "Why": f"the alarm {reason}" if of_alarm(of, reason) else asked,
    }


def plain(title: str, shown: Mapping[str, str], parts: Sequence[Part]) -> str:
    """The page without Evidently: texts and tables."""
    told = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in shown.items())
    return _PLAIN.format(title=html.escape(title), facts=told, parts="".join(_plain(part) for part in parts))


def _plain(part: Part) -> str:
    rows = ""
    if isinstance(part, Table):
        lines = [part.columns, *part.rows]
        cells = ["".join(f"<td>{html.escape(f'{value}')}</td>" for value in line) for line in lines]
        rows = "<table>" + "".join(f"<tr>{line}</tr>" for line in cells) + "</table>"
    return f"<h2>{html.escape(part.title)}</h2><p>{html.escape(part.text)}</p>{rows}"


_PLAIN = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body {{ font: 16px/1.5 sans-serif; margin: 2rem auto; max-width: 60rem }}
table {{ border-collapse: collapse }} th, td {{ padding: .2rem 1rem .2rem 0; text-align: left }}</style></head>
<body><h1>{title}</h1><table>{facts}</table>{parts}</body></html>
"""


def _to_mlflow(of: Evaluation, page: bytes, objects: Objects) -> dict[str, Any]:
    """The page and its address go to the run of the deployment's evaluations; what the document says of it."""
    server = mlflow_http.Server(os.environ.get(URI_VARIABLE, ""))
    try:
        run_id = server.find_run(of.experiment, (RUN_TAG, of.endpoint_config))
        if run_id is None:
            raise MlflowError(f"the experiment {of.experiment} has no run of the deployment {of.endpoint_config}")
        server.set_tag(run_id, TAG, f"{of.drift_uri}/report.html")
        place = f"{server.artifact_uri(run_id)}/drift/{monitoring.stamp(of.time)}/report.html"
        if place.startswith("s3://"):
            objects.put(place, page, _HTML)
        elif place.startswith("mlflow-artifacts:"):
            server.put_artifact(place, page, _HTML)
        else:
            raise MlflowError(f"its files are kept at {place}; expected s3:// or mlflow-artifacts:/")
    except MlflowError as error:
        sys.stdout.write(f"warning: the report is not in MLflow: {error}\n")
        return {"run_id": None, "error": f"{error}"}
    return {"run_id": run_id}
