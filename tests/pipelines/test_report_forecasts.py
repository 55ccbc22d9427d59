"""What the report tells of a forecaster: which windows it shows, where time and gaps are drawn, how epochs are told."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.report import forecast_charts, forecaster, rolling
from pipelines.report.axes import fitting_scale, moment_text, tick_labels, time_ticks
from pipelines.report.comparison import compare
from pipelines.report.documents import instant, plain
from pipelines.report.forecast_charts import Band, Estimate, Forecast, Lane
from pipelines.report.measures import FORECASTER
from pipelines.report.sections import Material
from pipelines.report.svg import LinearScale, LogScale
from pipelines.report.verdict import Check
from tests.pipelines import samples

BEGIN = datetime(2026, 11, 21, 0, 0, tzinfo=UTC).timestamp()


def _evaluation(losses: list[float | None], **changes: Any) -> dict[str, Any]:
    """Windows of three minutes, an hour from each other, with these losses; seasonal naive loses 0.2 in each."""

    def origin(index: int) -> str:
        return f"2026-11-21T{index:02d}:00:00Z"

    quantiles = {"0.05": [1.0, 1.0, 1.0], "0.5": [2.0, 2.0, 2.0], "0.95": [3.0, 3.0, 4.0]}
    return {
        "workload": "forecaster",
        "frequency": "1min",
        "prediction_length": 3,
        "windows": [
            {"origin": origin(index), "observed": 3, "mean_wql": loss, "seasonal_naive": 0.2}
            for index, loss in enumerate(losses)
        ],
        "forecasts": [
            {"origin": origin(index), "actual": [1.5, None, 2.5], "mean": [2.1, 2.1, 2.1], "quantiles": quantiles}
            for index in range(len(losses))
        ],
        **changes,
    }


def _shown(evaluation: dict[str, Any]) -> list[tuple[str, int]]:
    shown, _ = rolling.in_full(rolling.read(evaluation))
    return [(one.why, round((one.window.origin - BEGIN) / 3600)) for one in shown]


# --- which windows are shown ------------------------------------------------------------------------------------------


def test_the_best_the_median_the_worst_and_the_latest_window_are_shown() -> None:
    assert _shown(_evaluation([0.3, 0.1, 0.2, 0.5, 0.4])) == [("Best", 1), ("Median", 0), ("Worst", 3), ("Latest", 4)]


def test_a_window_with_two_reasons_is_shown_once_with_both() -> None:
    assert _shown(_evaluation([0.3, 0.1, 0.5])) == [("Best", 1), ("Median", 0), ("Worst and latest", 2)]


def test_windows_of_which_hardly_anything_was_observed_are_neither_best_nor_worst() -> None:
    evaluation = _evaluation([0.3, 0.1, 0.2, 0.5, 0.4])
    evaluation["windows"][1]["observed"] = 1
    assert _shown(evaluation)[0] == ("Best", 2)


def test_few_windows_or_none_with_a_loss_are_shown_without_a_rank() -> None:
    assert _shown(_evaluation([0.3])) == [("Window and latest", 0)]
    assert _shown(_evaluation([None, None, None])) == [("Window", 0), ("Window", 1), ("Latest", 2)]
    assert _shown(_evaluation([])) == []


def test_one_scale_for_all_unless_one_towers_over_the_others() -> None:
    evaluation = _evaluation([0.3, 0.1, 0.5])
    assert rolling.in_full(rolling.read(evaluation))[1]
    evaluation["forecasts"][0]["actual"] = [1.5, 99.0, 2.5]
    assert not rolling.in_full(rolling.read(evaluation))[1]


def test_of_very_many_windows_the_latest_are_drawn() -> None:
    evaluation = _evaluation([0.1])
    first = evaluation["forecasts"][0]
    evaluation["forecasts"] = [
        {**first, "origin": f"2026-11-{day:02d}T{hour:02d}:00:00Z"} for day in range(1, 5) for hour in range(24)
    ]
    windows = rolling.read(evaluation)
    assert len(windows) == 97
    drawn = rolling.in_small(windows)
    assert len(drawn) == rolling.MOST_DRAWN
    assert drawn[-1][0].when == "4 Nov 23:00"


def test_windows_that_follow_each_other_are_drawn_on_one_axis() -> None:
    def joined(spacing: int) -> list[Any]:
        return rolling.joined(rolling.read(samples.forecaster_evaluation(windows=4, spacing=spacing)), 60)

    wide, narrow = joined(30)
    for drawn in (wide, narrow):
        nodes = list(ElementTree.fromstring(str(drawn)).iter())
        assert sum(node.get("class") == "band" for node in nodes) == 4
        assert sum(node.get("class") == "line actual" for node in nodes) == 1
    assert len(joined(60)) == 2  # forecasts of half of the time still make a picture of it
    assert joined(90) == []
    assert joined(20) == []  # they overlap: which one is meant would not be seen
    assert rolling.joined([], 60) == []


def test_where_seasonal_naive_did_better_is_known_only_with_both_losses() -> None:
    windows = rolling.read(_evaluation([0.3, 0.1, None]))
    assert [window.beats_naive for window in windows] == [False, True, None]
    assert rolling.wins(windows) == (1, 2)
    assert rolling.wins([]) is None


# --- reading a forecast -----------------------------------------------------------------------------------------------


def test_a_forecast_is_put_on_the_clock() -> None:
    evaluation = _evaluation([0.3])
    evaluation["forecasts"][0]["history"] = {"start": "2026-11-20T23:58:00Z", "values": [1.0, None]}
    forecast = rolling.read(evaluation)[0].forecast
    assert forecast is not None
    assert forecast.seen == [
        (BEGIN - 120, 1.0),
        (BEGIN - 60, None),
        (BEGIN, 1.5),
        (BEGIN + 60, None),
        (BEGIN + 120, 2.5),
    ]
    assert forecast.middle[0] == (BEGIN, 2.0)  # the median goes before the mean
    assert forecast.bands == [Band("90 % band", [(BEGIN, 1.0, 3.0), (BEGIN + 60, 1.0, 3.0), (BEGIN + 120, 1.0, 4.0)])]


def test_a_history_without_a_start_ends_at_the_origin_and_the_mean_stands_in_for_the_median() -> None:
    evaluation = _evaluation([0.3], frequency="15min")
    evaluation["forecasts"][0] |= {"history": {"values": [7.0]}, "quantiles": {"0.1": [1.0], "0.9": [2.0], "x": [3.0]}}
    forecast = rolling.read(evaluation)[0].forecast
    assert forecast is not None
    assert forecast.history == [(BEGIN - 900, 7.0)]
    assert [value for _, value in forecast.middle] == [2.1, 2.1, 2.1]
    assert [band.name for band in forecast.bands] == ["80 % band"]


def test_the_widest_of_several_bands_comes_first() -> None:
    evaluation = _evaluation([0.3])
    evaluation["forecasts"][0]["quantiles"] = {f"{level / 10}": [level, level] for level in range(1, 10)}
    forecast = rolling.read(evaluation)[0].forecast
    assert forecast is not None
    assert [band.name for band in forecast.bands] == ["80 % band", "60 % band", "40 % band", "20 % band"]


@pytest.mark.parametrize(
    ("frequency", "seconds"),
    [("1min", 60), ("15min", 900), ("h", 3600), ("2D", 172800), ("W-SUN", 604800), ("x", 60), (None, 60), ("0min", 60)],
)
def test_the_length_of_a_step(frequency: object, seconds: int) -> None:
    assert rolling.step_seconds(frequency) == seconds


# --- drawings ---------------------------------------------------------------------------------------------------------

_values = st.none() | st.floats(-1e6, 1e6)
_series = st.lists(_values, min_size=1, max_size=8)


def _numbers(drawn: Any) -> list[float]:
    root = ElementTree.fromstring(str(drawn))
    found = " ".join(node.get(key, "") for node in root.iter() for key in ("d", "x", "y", "x1", "x2", "y1", "y2", "cy"))
    return [float(text) for text in re.findall(r"-?\d+\.?\d*", found)]


@given(_series, _series, _series)
def test_a_forecast_stays_inside_its_drawing(history: Any, actual: Any, ends: Any) -> None:
    forecast = Forecast(
        origin=BEGIN,
        history=[(BEGIN - 60 * (len(history) - index), value) for index, value in enumerate(history)],
        actual=[(BEGIN + 60 * index, value) for index, value in enumerate(actual)],
        middle=[(BEGIN + 60 * index, value) for index, value in enumerate(ends)],
        bands=[Band("b", [(BEGIN + 60 * index, end, end and end + 1) for index, end in enumerate(ends)])],
    )
    drawings = [forecast_charts.forecast_chart("t", "d", forecast), forecast_charts.small_forecast("t", "d", forecast)]
    if forecast_charts.range_of(forecast) is None:
        assert drawings == [None, None]
        return
    for drawn in drawings:
        assert all(-1 <= number <= 421 for number in _numbers(drawn))


def _drawn(forecast: Forecast) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(str(forecast_charts.forecast_chart("t", "d", forecast))).iter())


def test_lines_and_bands_break_where_a_value_is_missing_and_a_lone_point_is_a_dot() -> None:
    at = [BEGIN + 60 * index for index in range(6)]
    band = [(at[0], 0.0, 2.0), (at[1], 0.0, 2.0), (at[2], None, 2.0), (at[3], 0.0, 2.0), (at[4], 0.0, 2.0)]
    actual = [(at[0], 1.0), (at[1], 1.2), (at[2], None), (at[3], 1.1), (at[4], None), (at[5], None)]
    nodes = _drawn(Forecast(BEGIN, [], actual, [(moment, 1.0) for moment in at], [Band("b", band)]))
    assert sum(node.get("class") == "band" for node in nodes) == 2
    (line,) = [node.get("d", "") for node in nodes if node.get("class") == "line actual"]
    assert line.count("M") == 2
    assert line.endswith("h.1")


def test_each_step_tells_its_figures_to_whoever_points_at_it() -> None:
    actual = [(BEGIN, 1.5), (BEGIN + 60, None)]
    middle = [(BEGIN, 1.0), (BEGIN + 60, 1.25)]
    band = Band("b", [(BEGIN, 0.5, 2.0), (BEGIN + 60, 0.25, 3.0)])
    titles = [node.text for node in _drawn(Forecast(BEGIN, [], actual, middle, [band])) if node.tag.endswith("title")]
    assert titles[1:] == [
        "21 Nov 00:00 forecast 1 (0.5000 to 2), observed 1.5000",
        "21 Nov 00:01 forecast 1.2500 (0.2500 to 3), not observed",
    ]


def test_gaps_that_touch_are_drawn_as_one_and_the_shortest_can_be_seen() -> None:
    day = 86400.0
    points = [(BEGIN + hour * 3600, 1.0 + hour % 5) for hour in range(24 * 8)]
    gaps = [(BEGIN + day, BEGIN + day + 60), (BEGIN + day + 60, BEGIN + day + 120), (BEGIN + 3 * day, BEGIN + 4 * day)]
    wide, narrow = forecast_charts.history_chart("t", "d", points, [Lane("missing", "hole", gaps, shaded=True)])
    for drawn in (wide, narrow):
        nodes = list(ElementTree.fromstring(str(drawn)).iter())
        (lane,) = [node.get("d", "") for node in nodes if node.get("class") == "lane hole"]
        strokes = [(float(a), float(b)) for a, b in re.findall(r"M([\d.]+) [\d.]+H([\d.]+)", lane)]
        assert len(strokes) == 2
        assert strokes[0][1] - strokes[0][0] >= 1.5
        assert sum(node.get("class") == "shade hole" for node in nodes) == 1  # the day; minutes are too short to shade


def test_the_limit_is_inside_the_plot_even_where_no_loss_comes_near_it() -> None:
    series = forecaster._losses(rolling.read(_evaluation([0.1, 0.2, 0.3])))
    wide, _ = forecast_charts.windows_chart("wQL", series, 5.0, "MaxWql")
    (rule,) = [node for node in ElementTree.fromstring(str(wide)).iter() if node.get("class") == "limit"]
    assert 0 < float(rule.get("y1", "-1")) < 200
    assert "MaxWql 5" in wide
    assert forecast_charts.windows_chart("wQL", [], 5.0) == []


def test_estimates_with_and_without_an_interval() -> None:
    rows = [Estimate("This model", "model", 0.2, 0.1, 0.3), Estimate("Seasonal naive", "gap", 0.4)]
    drawn = forecast_charts.estimates_chart("Mean wQL", rows, 0.25, "MaxWql")
    assert drawn is not None
    assert "This model 0.2000 (0.1000 to 0.3000); Seasonal naive 0.4000." in drawn
    assert drawn.count('class="spread model"') == 1
    assert forecast_charts.estimates_chart("Mean wQL", []) is None


@pytest.mark.parametrize(
    ("hours", "about", "texts"),
    [
        (1, 4, ["21 Nov", "00:15", "00:30", "00:45", "01:00"]),
        (36, 5, ["21 Nov", "12:00", "22 Nov", "12:00"]),
        (24 * 20, 8, ["23 Nov", "27 Nov", "1 Dec", "5 Dec", "9 Dec"]),
        (24 * 40, 8, ["23 Nov", "30 Nov", "7 Dec", "14 Dec", "21 Dec", "28 Dec"]),  # Mondays
    ],
)
def test_ticks_of_time_are_round_moments(hours: int, about: int, texts: list[str]) -> None:
    assert [text for _, text in time_ticks(BEGIN, BEGIN + hours * 3600, about)] == texts


@given(st.floats(-6e10, 2.5e11), st.floats(0, 1e9), st.integers(2, 12))
def test_ticks_of_time_lie_in_their_span_and_are_few(first: float, length: float, about: int) -> None:
    ticks = time_ticks(first, first + length, about)
    assert len(ticks) <= about + 1
    assert all(first - 1e-3 <= at <= first + length + 1e-3 for at, _ in ticks)


@pytest.mark.parametrize(
    ("ticks", "texts"),
    [
        ([0.0, 0.25, 0.5], ["0.00", "0.25", "0.50"]),
        ([0.0, 2500.0, 5000.0], ["0", "2500", "5000"]),
        ([7500.0, 10_000.0, 12_500.0], ["7.5k", "10.0k", "12.5k"]),
        ([0.0, 20_000.0], ["0", "20k"]),
        ([-2e7, 0.0, 2e7], ["-20M", "0", "20M"]),
        ([0.0, 1e300], ["0", "1e+300"]),
    ],
)
def test_ticks_are_written_as_exactly_as_they_stand(ticks: list[float], texts: list[str]) -> None:
    assert [label.striptags() for label in tick_labels(LinearScale(0, 1, 0, 1), ticks, 0)] == texts


def test_a_scale_is_logarithmic_where_a_few_values_tower_over_the_others() -> None:
    assert isinstance(fitting_scale([1.0, 1.1, 1.2, 400.0], 100, 0)[0], LogScale)
    assert not isinstance(fitting_scale([0.0, 1.1, 1.2, 400.0], 100, 0)[0], LogScale)
    assert fitting_scale([1.0, 4.0], 100, 0)[1][0] == 0
    assert fitting_scale([80.0, 90.0], 100, 0)[1][0] > 0
    assert fitting_scale([3.0], 100, 0)[0](3.0) == pytest.approx(50, abs=40)


def test_moments_and_plain_values() -> None:
    assert moment_text(BEGIN) == "21 Nov 00:00"
    assert instant("2026-11-21T02:00:00+02:00") == datetime(2026, 11, 21, tzinfo=UTC)
    assert instant("0001-01-01T00:00:00+14:00") is None
    assert instant(5) is None
    assert plain("2026-11-21T00:00:00Z") == "2026-11-21 00:00 UTC"
    assert plain("Tuesday") == "Tuesday"
    assert plain([1]) is None


# --- what is said -----------------------------------------------------------------------------------------------------


def _training(file_values: dict[str, str] | None = None, **changes: Any) -> Any:
    training = {"hyperparameters": {"epochs": "20"}, "losses": [0.5, 0.2, 0.3], "best_epoch": 1, **changes}
    return forecaster._training(Material({"training": training}, file_values=file_values or {}))


def test_epochs_run_and_configured_are_told_from_one() -> None:
    told = _training()
    assert ("Epochs run", "3 of 20 configured") in told.facts
    assert ("Best epoch", "2") in told.facts
    assert told.sentences == ["Training ended early: 3 of 20 epochs were run."]


def test_an_early_end_says_after_how_many_epochs_without_progress() -> None:
    told = _training(hyperparameters={"epochs": "20", "early_stopping_patience": "2"})
    assert told.sentences == ["Training ended early after 2 epochs without a lower loss: 3 of 20 epochs were run."]


def test_fewer_epochs_than_the_configuration_file_asks_for_are_told() -> None:
    (said,) = _training({"Epochs": "253"}, epochs_run=20).sentences
    assert said.startswith("It was given 20 epochs, fewer than the 253 of configs/workloads/forecaster.yml")
    assert "configs/local.yml" in said
    assert _training({"Epochs": "20"}, epochs_run=20).sentences == []


def test_coverage_is_better_the_nearer_it_is_to_the_confidence() -> None:
    evaluation = samples.forecaster_evaluation(windows=1)
    evaluation["metrics"]["coverage"], evaluation["champion"]["metrics"]["coverage"] = 0.97, 0.89
    comparison = compare(evaluation, FORECASTER)
    assert comparison is not None
    row = comparison.rows[1]
    assert (row.measure.key, row.aim, row.difference, row.tone) == ("coverage", "→ 90 %", "+8.0 pp", "bad")
    assert [cell.best for cell in row.cells] == [False, False, True]
    comparison = compare({**evaluation, "confidence": None}, FORECASTER)
    assert comparison is not None
    assert (comparison.rows[1].aim, comparison.rows[1].tone) == ("→", "")
    assert not any(cell.best for cell in comparison.rows[1].cells)


def test_a_champion_that_cannot_be_compared_has_no_column_but_a_reason() -> None:
    champion = {"model_uri": "s3://b/model.tar.gz", "not_comparable": "another prediction_length"}
    comparison = compare({**samples.forecaster_evaluation(windows=1), "champion": champion}, FORECASTER)
    assert comparison is not None
    assert not comparison.has_champion
    assert comparison.not_comparable == "another prediction_length"
    assert comparison.champion == "s3://b/model.tar.gz"


def test_tiles_hold_the_interval_and_the_others_figures() -> None:
    tiles = {tile.name: tile for tile in forecaster.sections(Material(samples.forecaster_evaluation())).tiles}
    assert list(tiles) == ["Mean wQL", "Coverage", "RMSE", "Against seasonal naive"]
    assert tiles["Mean wQL"].notes == ["90 % interval 0.1127 to 0.1361", "seasonal naive 0.2077", "champion 0.1312"]
    assert tiles["Coverage"].notes[0] == "the band is made for 90 %"
    assert tiles["Against seasonal naive"].value == "\u221240.6 %"
    first = forecaster.sections(Material(samples.forecaster_evaluation(champion=False))).tiles[0]
    assert not any("champion" in note for note in first.notes)


def test_the_limit_is_the_gates() -> None:
    check = Check("metrics.mean_wql", "0.1", "≤", "0.2", "MaxWql", True, 0.2)
    view = forecaster.sections(Material(samples.forecaster_evaluation(windows=3), [check])).view
    assert "MaxWql, for the mean: 0.2000" in view["by_window"][0]
    assert "MaxWql 0.2000" in view["estimates"]


def test_the_longest_gaps_come_first_and_strange_ones_are_left_out() -> None:
    gaps = [
        {"start": "2026-11-21T00:00:00Z", "minutes": 3},
        {"start": "2026-11-21T01:00:00Z", "end": "2026-11-21T04:00:00Z"},
        {"start": "never", "minutes": 9},
        {"start": "2026-11-21T01:00:00Z", "minutes": -9},
        "gap",
    ]
    assert [(gap.first, gap.length) for gap in forecaster._gaps({"gaps": gaps})] == [
        ("21 Nov 01:00", "3 h 00 min"),
        ("21 Nov 00:00", "3 min"),
    ]


@pytest.mark.parametrize(
    ("length", "frequency", "told"),
    [(30, "1min", "30 minutes"), (1, "h", "1 hour"), (8, "15min", "8 steps of 15min"), (None, "1min", ""), (3, 4, "")],
)
def test_how_far_a_forecast_reaches(length: object, frequency: object, told: str) -> None:
    assert forecaster._horizon({"prediction_length": length, "frequency": frequency}) == told
