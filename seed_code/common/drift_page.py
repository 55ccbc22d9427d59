"""Evidently's part of a drift report: its parts as one page and as figures.

The page is one file that fetches nothing: Evidently's own template carries its scripts and its font (3.7 MB). The same
parts give the same bytes: the names that Evidently gives its widgets by chance are replaced by numbers.

Imports Evidently, which takes most of a report's 10 s of CPU, and 0.3 GB: to be imported when there is something to
draw. It is told not to send telemetry, and nothing here makes it look anything up.

Source: "Report" and "Drift Methods" in the Evidently documentation, version 0.7.
"""

import gc
import json
import math
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd

from seed_code.common.drift_report import Classification, Columns, Drawn, Drift, Part, Regression, Table


@contextmanager
def _unwarned() -> Iterator[None]:
    """Without the warnings of the libraries below, which none but their authors could heed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector: an import makes objects that all stay, and looking them through again and again is
    a fifth of its time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


os.environ.setdefault("DO_NOT_TRACK", "1")  # before the import: Evidently starts its telemetry there
with _unwarned(), _uncollected():
    from evidently import BinaryClassification, DataDefinition, Dataset, Report
    from evidently import Regression as RegressionColumns
    from evidently.core.container import MetricContainer
    from evidently.legacy.model.dashboard import DashboardInfo
    from evidently.legacy.model.widget import BaseWidgetInfo
    from evidently.legacy.renderers.html_widgets import group_widget, header_text, table_data, text_widget
    from evidently.legacy.utils.dashboard import TemplateParams, dashboard_info_to_json, file_html_template
    from evidently.presets import ClassificationQuality, DataDriftPreset, RegressionQuality

_IDENTIFIER = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

Found = tuple[dict[str, Any], list[BaseWidgetInfo]]


def draw(title: str, facts: Mapping[str, object], parts: Sequence[Part]) -> Drawn:
    """The page of the parts, and what Evidently found.

    Args:
        facts: what the page says of itself at its top, by name.
    """
    widgets = [
        header_text(label=_safe(title)),
        table_data(column_names=("", ""), data=[[name, _safe(f"{value}")] for name, value in facts.items()]),
    ]
    figures = {}
    for part in parts:
        figures[part.name], drawn = _found(part)
        said = text_widget(text=f"## {_safe(part.title)}\n\n{_safe(part.text)}")
        widgets.append(group_widget(title="", widgets=[said, *drawn]))
    # What a widget shows when it is opened, as Evidently's own `render_widgets` hands it to the template.
    graphs = {
        graph.id: graph.dict() if isinstance(graph, BaseWidgetInfo) else graph.params
        for widget in widgets
        for graph in widget.get_additional_graphs()
    }
    template = TemplateParams("drift_report", DashboardInfo(name=_safe(title), widgets=widgets), graphs)
    page = _numbered(file_html_template(template), dashboard_info_to_json(template.dashboard_info))
    return Drawn(page, figures)


def _found(part: Part) -> Found:
    match part:
        case Table():
            shown = [[_safe(f"{value}") for value in row] for row in part.rows]
            return {}, [table_data(column_names=part.columns, data=shown)]
        case Drift():
            return _drift(part)
        case Regression():
            definition = DataDefinition(
                timestamp="time",
                numerical_columns=[part.actual, part.predicted],
                regression=[RegressionColumns(target=part.actual, prediction=part.predicted)],
            )
            preset = RegressionQuality(pred_actual_plot=True, error_plot=True, error_distr=True, include_tests=False)
            return _run(preset, definition, ["time", part.actual, part.predicted], part.current, part.reference)
        case Classification():
            definition = DataDefinition(
                numerical_columns=[part.probability],
                categorical_columns=[part.happened],
                classification=[
                    BinaryClassification(target=part.happened, prediction_probas=part.probability, pos_label=1)
                ],
            )
            preset = ClassificationQuality(probas_threshold=part.threshold, conf_matrix=True, include_tests=False)
            return _run(preset, definition, [part.probability, part.happened], part.current, part.reference)
        case _:
            return {}, []


def _drift(part: Drift) -> Found:
    columns = list(part.thresholds)
    definition = DataDefinition(
        numerical_columns=[column for column in columns if column not in part.categories],
        categorical_columns=[column for column in columns if column in part.categories],
    )
    preset = DataDriftPreset(
        columns=columns,
        method=part.method,
        per_column_threshold=dict(part.thresholds),
        # Evidently calls the whole drifted from a share of the columns on; here one is enough.
        drift_share=math.floor(10_000 / len(columns)) / 10_000,
        include_tests=False,
    )
    found, widgets = _run(preset, definition, columns, part.current, part.reference)
    distances = {
        metric["config"]["column"]: metric["value"] for metric in found["metrics"] if "column" in metric["config"]
    }
    found["columns"] = [
        {
            "column": column,
            "method": part.method,
            "distance": distances[column],
            "threshold": threshold,
            "drifted": distances[column] is not None and distances[column] >= threshold,
        }
        for column, threshold in part.thresholds.items()
    ]
    return found, widgets


def _run(
    preset: MetricContainer,
    definition: DataDefinition,
    columns: Sequence[str],
    current: Columns,
    reference: Columns | None,
) -> Found:
    """What Evidently finds, JSON, and its widgets."""
    frames = [
        None if one is None else pd.DataFrame({name: one[name] for name in columns}) for one in (current, reference)
    ]
    with _unwarned():
        snapshot = Report([preset]).run(
            *(None if frame is None else Dataset.from_pandas(frame, definition) for frame in frames)
        )
        # Its own JSON writes NaN for what cannot be told, which no other JSON knows.
        metrics = json.loads(snapshot.json(), parse_constant=lambda _: None)["metrics"]
        widgets = list(snapshot.to_snapshot_model().widgets)
    rows = [0 if frame is None else len(frame) for frame in frames]
    return {"current": rows[0], "reference": rows[1], "metrics": metrics}, widgets


def _numbered(html: str, data: str) -> str:
    """The page with numbers for the identifiers that Evidently drew, in the order in which `data` has them."""
    numbers = {found: f"widget-{number}" for number, found in enumerate(dict.fromkeys(_IDENTIFIER.findall(data)))}
    return _IDENTIFIER.sub(lambda found: numbers.get(found.group(), found.group()), html)


def _safe(text: str) -> str:
    """A text that cannot end the script that it stands in: the template writes JSON into the page as it is."""
    return text.replace("</", "< /").replace("<!--", "< !--")
