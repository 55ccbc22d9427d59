"""Batch transform's answers, rivals on the same windows, and the figures: against their definitions."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seed_code.common import archives
from seed_code.common.errors import ClientError
from seed_code.forecaster import answers, artifact, judgement, metrics, plots, rivals, rolling
from seed_code.forecaster.answers import Forecasts
from seed_code.forecaster.frequency import Frequency
from seed_code.forecaster.grid import GridSeries
from seed_code.forecaster.rivals import NotComparable

LEVELS = (0.05, 0.5, 0.95)
GOOD = {"mean": [1.0, 2.0], "quantiles": {"0.05": [0, 0], "0.50": [1.5, 2], "0.95": [3, 4.0]}, "samples": [[1, 2]]}
NAN = np.nan


@pytest.mark.parametrize(
    ("confidence", "levels"), [(90, (0.05, 0.5, 0.95)), (80, (0.1, 0.5, 0.9)), (99, (0.005, 0.5, 0.995))]
)
def test_the_band_of_a_confidence_lies_around_the_median(confidence, levels):
    assert answers.levels_of(confidence) == levels


def written(folder: Path, *lines: object) -> Path:
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    (folder / "requests.jsonl.out").write_text("".join(f"{text}\n" for text in texts))
    return folder


def test_answers_are_read_in_the_windows_order(tmp_path):
    second = {**GOOD, "mean": [5.0, 6.0]}
    found = answers.read(written(tmp_path, GOOD, second), 2, 2, LEVELS)
    assert found.mean.tolist() == [[1, 2], [5, 6]]
    assert found.quantiles[:, 0].tolist() == [[0, 0], [1.5, 2], [3, 4]]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{", "not JSON"),
        ([1], r"it is \[1\]; expected an object with `mean` and `quantiles`"),
        (
            {"error": {"message": "the body has 7000000 bytes", "field": None}},
            "the model's server answered an error: .*7000000 bytes",
        ),
        ({"quantiles": GOOD["quantiles"]}, "`mean` is missing; expected output types mean and quantiles"),
        ({"mean": [1, 2]}, "`quantiles` is missing"),
        ({**GOOD, "quantiles": [[1, 2]]}, r"`quantiles` is \[\[1, 2\]\]"),
        ({**GOOD, "quantiles": {"0.1": [1, 2], "p50": [1, 2]}}, "quantile 0.05 is missing; found 0.1, p50"),
        ({**GOOD, "mean": [1, 2, 3]}, "`mean` has 3 values; expected 2, the prediction length"),
        ({**GOOD, "quantiles": {**GOOD["quantiles"], "0.95": [1]}}, "`quantiles.0.95` has 1 values; expected 2"),
        ({**GOOD, "quantiles": {**GOOD["quantiles"], "0.05": 1}}, "`quantiles.0.05` is 1; expected 2"),
        ({**GOOD, "mean": [1, None]}, r"`mean\[1\]` is null; expected a number"),
        ({**GOOD, "mean": [1, "NaN"]}, r"`mean\[1\]` is \"NaN\"; expected a number"),
        ({**GOOD, "mean": [True, 1]}, r"`mean\[0\]` is true; expected a number"),
    ],
)
def test_a_line_that_does_not_fit_is_named(tmp_path, line, expected):
    with pytest.raises(ClientError, match=f"^requests.jsonl.out, line 2: {expected}"):
        answers.read(written(tmp_path, GOOD, line, GOOD), 3, 2, LEVELS)


def test_a_file_that_does_not_fit_is_named(tmp_path):
    with pytest.raises(ClientError, match=r"has 2 lines; expected 3, one for each test window"):
        answers.read(written(tmp_path, GOOD, GOOD), 3, 2, LEVELS)
    (tmp_path / "other.out").write_text("")
    with pytest.raises(ClientError, match=r"holds other.out, requests.jsonl.out; expected one file"):
        answers.read(tmp_path, 3, 2, LEVELS)
    with pytest.raises(ClientError, match=r"holds nothing; expected one file"):
        answers.read(tmp_path / "nowhere", 3, 2, LEVELS)


def test_the_naive_forecast_answers_every_question(prepared):
    """The series is shorter than a day, so that no minute of the season was ever seen: its distribution stands in."""
    naive = rivals.seasonal_naive(prepared.series, prepared.windows, LEVELS)
    history = prepared.series.values[: prepared.windows.first_origin]
    np.testing.assert_allclose(naive.quantiles[:, 0, 0], np.nanquantile(history, LEVELS))
    assert not np.isnan(naive.quantiles).any()
    daily = replace(prepared.windows, season_length=60)
    naive = rivals.seasonal_naive(prepared.series, daily, LEVELS)
    origin = daily.origins[0]
    np.testing.assert_allclose(naive.mean[0], prepared.series.values[origin - 60 : origin - 55], rtol=1e-6)


def test_the_same_model_as_champion_forecasts_the_same_to_the_last_digit(prepared, tmp_path):
    champion = rivals.champion(prepared.archive, tmp_path / "x", prepared.series, prepared.windows, LEVELS, 100)
    np.testing.assert_array_equal(champion.mean, prepared.forecasts.mean)
    np.testing.assert_array_equal(champion.quantiles, prepared.forecasts.quantiles)


def test_a_champion_that_forecasts_further_is_cut(prepared, tmp_path):
    windows = replace(prepared.windows, prediction_length=3)
    champion = rivals.champion(prepared.archive, tmp_path / "x", prepared.series, windows, LEVELS, 100)
    np.testing.assert_array_equal(champion.mean, prepared.forecasts.mean[:, :3])


def test_a_champion_that_cannot_be_asked_the_same_says_why(prepared, tmp_path):
    def why(archive: Path, series: GridSeries = prepared.series, **changes: int | str) -> str:
        windows = replace(prepared.windows, **changes)
        with pytest.raises(NotComparable) as refused:
            rivals.champion(archive, tmp_path / f"{archive.name}.d", series, windows, LEVELS, 10)
        return str(refused.value)

    hourly = replace(prepared.series, frequency=Frequency("H", 1))
    assert why(prepared.archive, hourly) == "it forecasts steps of 1min, not of 1H"
    assert why(prepared.archive, target="total_nb_trx_1min") == (
        "it forecasts `avg_fee_1min`; expected `total_nb_trx_1min`"
    )
    assert why(prepared.archive, prediction_length=6) == "it forecasts 5 steps, fewer than 6"
    (tmp_path / "built-in").mkdir()
    (tmp_path / "built-in" / "model_algo-1").write_bytes(b"MXNet")
    archives.write(tmp_path / "built-in.tar.gz", tmp_path / "built-in")
    assert why(tmp_path / "built-in.tar.gz").startswith("there is no ")
    (tmp_path / "broken.tar.gz").write_bytes(b"no archive")
    assert "could not be unpacked" in why(tmp_path / "broken.tar.gz")
    categories = replace(artifact.load(prepared.model), takes_cat="required", cardinality=(3,))
    told = {"target": "avg_fee_1min"}
    artifact.save(tmp_path / "cat", categories, told)
    archives.write(tmp_path / "cat.tar.gz", tmp_path / "cat")
    assert why(tmp_path / "cat.tar.gz").startswith("it does not answer: instances[0].cat: is missing")
    artifact.save(tmp_path / "silent", categories, {})
    archives.write(tmp_path / "silent.tar.gz", tmp_path / "silent")
    assert why(tmp_path / "silent.tar.gz") == ("its model.json does not say what it forecasts; expected `avg_fee_1min`")
    diverged = artifact.load(prepared.model)
    weights = {name: np.full_like(values, NAN) for name, values in diverged.weights.items()}
    artifact.save(tmp_path / "nan", replace(diverged, weights=weights), told)
    archives.write(tmp_path / "nan.tar.gz", tmp_path / "nan")
    assert why(tmp_path / "nan.tar.gz").startswith("it does not answer: instances[0].target: has values of sizes from ")


def judged(series: GridSeries, windows: rolling.Windows, forecasts: dict[str, Forecasts]) -> dict:
    return judgement.judge(series, windows, 90, LEVELS, forecasts, 0)


@pytest.fixture
def evaluation(prepared) -> dict:
    forecasts = {
        "model": prepared.forecasts,
        "seasonal_naive": rivals.seasonal_naive(prepared.series, prepared.windows, LEVELS),
    }
    return judged(prepared.series, prepared.windows, forecasts)


def test_figures_are_over_all_observed_points_of_all_windows(prepared, evaluation):
    """The last window but one has no value: it is listed, and counts nowhere."""
    there = [*range(19), 20]
    assert [row["observed"] for row in evaluation["windows"]] == [5] * 19 + [0, 5]
    assert {name: evaluation["windows"][19][name] for name in ("mean_wql", "seasonal_naive", "champion")} == {
        "mean_wql": None, "seasonal_naive": None, "champion": None,
    }  # fmt: skip
    actual = prepared.windows.actual(prepared.series.values)[there]
    quantiles, mean = prepared.forecasts.quantiles[:, there], prepared.forecasts.mean[there]
    low, middle, high = quantiles
    losses = {
        level: 2 * np.maximum(level * (actual - row), (1 - level) * (row - actual)).sum() / np.abs(actual).sum()
        for level, row in zip(LEVELS, quantiles, strict=True)
    }
    assert evaluation["wql_by_quantile"] == {f"{level:g}": pytest.approx(loss) for level, loss in losses.items()}
    assert evaluation["metrics"] == {
        "mean_wql": pytest.approx(np.mean(list(losses.values()))),
        "coverage": pytest.approx(((low <= actual) & (actual <= high)).mean()),
        "rmse": pytest.approx(math.sqrt(((actual - mean) ** 2).mean())),
    }
    interval = metrics.bootstrap_interval(actual, quantiles, LEVELS, share=0.9, seed=0)
    assert evaluation["interval"] == {"level": 0.9, "lower": interval[0], "upper": interval[1]}
    one = metrics.score(actual[1:2], quantiles[:, 1:2], LEVELS, middle[1:2]).mean_quantile_loss
    assert evaluation["windows"][1]["mean_wql"] == pytest.approx(one)


def test_the_document_is_what_the_report_and_the_gate_read(prepared, evaluation):
    json.dumps(evaluation, allow_nan=False)
    assert {name: evaluation[name] for name in ("schema_version", "workload", "frequency", "target", "confidence")} == {
        "schema_version": 1, "workload": "forecaster", "frequency": "1min", "target": "avg_fee_1min", "confidence": 90,
    }  # fmt: skip
    assert (evaluation["prediction_length"], evaluation["quantiles"]) == (5, [0.05, 0.5, 0.95])
    assert set(evaluation["baselines"]["seasonal_naive"]) == {"mean_wql", "coverage", "rmse"}
    assert evaluation["champion_comparison"] == {"mean_wql_difference": 0.0}
    first = evaluation["forecasts"][0]
    origin = prepared.windows.origins[0]
    assert first["origin"] == evaluation["windows"][0]["origin"] == rolling.iso(prepared.series.time(origin))
    assert first["history"] == {
        "start": rolling.iso(prepared.series.time(origin - 10)),
        "values": prepared.series.values[origin - 10 : origin].tolist(),
    }
    assert first["actual"] == prepared.series.values[origin : origin + 5].tolist()
    assert list(first["quantiles"]) == ["0.05", "0.5", "0.95"]
    assert evaluation["forecasts"][19]["actual"] == [None] * 5


@settings(max_examples=25)
@given(st.integers(1, 2500), st.integers(0, 100))
def test_the_recent_series_is_thinned_by_its_mean(steps, missing):
    values = np.arange(steps, dtype=np.float64)
    values[:missing] = NAN
    found = judgement.recent(GridSeries(Frequency("min", 1), 0, values))
    assert len(found["values"]) <= 700
    together = found["step_minutes"]
    for at, value in enumerate(found["values"]):
        part = values[at * together : (at + 1) * together]
        assert len(part)
        if np.isnan(part).all():
            assert value is None
        else:
            assert value == pytest.approx(np.nanmean(part))


def test_a_champions_difference_is_the_models_loss_less_its_own(prepared):
    worse = replace(prepared.forecasts, quantiles=prepared.forecasts.quantiles + 5.0)
    found = judged(
        prepared.series, prepared.windows,
        {"model": prepared.forecasts, "seasonal_naive": worse, "champion": worse},
    )  # fmt: skip
    naive = found["baselines"]["seasonal_naive"]["mean_wql"]
    assert found["champion_comparison"]["mean_wql_difference"] == pytest.approx(found["metrics"]["mean_wql"] - naive)
    assert found["windows"][0]["champion"] == found["windows"][0]["seasonal_naive"] > found["windows"][0]["mean_wql"]


def test_windows_of_zeros_cannot_be_judged_and_one_among_others_has_no_loss_of_its_own(prepared):
    both = {"model": prepared.forecasts, "seasonal_naive": prepared.forecasts}
    zeros = replace(prepared.series, values=np.zeros(len(prepared.series)))
    with pytest.raises(ClientError, match="the model cannot be judged: the test windows hold nothing but zeros"):
        judged(zeros, prepared.windows, both)
    origin = prepared.windows.origins[1]
    values = prepared.series.values.copy()
    values[origin : origin + 5] = 0
    found = judged(replace(prepared.series, values=values), prepared.windows, both)
    assert [row["mean_wql"] is None for row in found["windows"]] == [at in (1, 19) for at in range(21)]
    json.dumps(found, allow_nan=False)


def test_how_a_model_came_about_is_read_from_it(prepared, tmp_path):
    training = judgement.training_of(prepared.archive, tmp_path / "ours")
    assert training is not None
    assert (training["epochs_run"], len(training["losses"])) == (3, 3)
    assert training["final_loss"] == min(training["losses"]) == training["losses"][training["best_epoch"]]
    assert training["hyperparameters"]["num_cells"] == "8"
    (tmp_path / "built-in").mkdir()
    (tmp_path / "built-in" / "model_algo-1").write_bytes(b"MXNet")
    archives.write(tmp_path / "built-in.tar.gz", tmp_path / "built-in")
    assert judgement.training_of(tmp_path / "built-in.tar.gz", tmp_path / "theirs") is None
    with pytest.raises(ClientError, match=r"there is no .*nothing.tar.gz"):
        judgement.training_of(tmp_path / "nothing.tar.gz", tmp_path / "x")


def test_pictures_are_drawn_and_the_same_each_time(evaluation, tmp_path):
    gap = {"start": evaluation["recent"]["start"], "end": "2026-11-06T22:00:00Z", "minutes": 3}
    document = {**evaluation, "forecasts": evaluation["forecasts"][18:20], "data": {"gaps": [gap]}}
    files = plots.write(tmp_path, document)
    assert [file.name for file in files] == ["forecasts.png", "windows.png", "gaps.png"]
    first = [file.read_bytes() for file in files]
    assert all(content.startswith(b"\x89PNG") for content in first)
    plots.write(tmp_path, document)
    assert [file.read_bytes() for file in files] == first
    figure = plots.forecasts(document)
    assert [axes.get_title() for axes in figure.axes] == [one["origin"] for one in document["forecasts"]]
    (axes,) = plots.windows(evaluation["windows"], 0.5).axes
    labels = [line.get_label() for line in axes.get_lines()]
    assert labels == ["seasonal naive", "model", "model, all windows"]  # no champion, no line
