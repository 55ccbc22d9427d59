"""Training in this process: what is learnt, what is logged, and data that has nothing to learn."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seed_code.common.errors import ClientError
from seed_code.forecaster import artifact, train
from seed_code.forecaster.hyperparameters import LIKELIHOODS
from seed_code.forecaster.records import Series
from seed_code.forecaster.sampler import Sampler

NO_FEATURES = np.zeros((0, 0), np.float32)
SMALL = {"mini_batch_size": "16", "num_cells": "8", "context_length": "6", "prediction_length": "3"}


def quiet(_: str) -> None:
    """A log that nobody reads."""


def forecast(settings, series, samples=50):
    data = train.Data.of(series, settings)
    fitted = train.fit(data, quiet)
    trained = train.export(data, fitted.model)
    return fitted, Sampler(trained).sample(series, samples, np.random.default_rng(0))


CONSTANTS = {"beta": (0.0, 1.0), "negative-binomial": (0.0, 1.0, 1e6)}  # others have no such bounds


@pytest.mark.parametrize(
    ("likelihood", "value"),
    [(likelihood, value) for likelihood in LIKELIHOODS for value in CONSTANTS.get(likelihood, (0.0, -3.5, 1e6))],
)
def test_a_constant_series_is_forecast_as_itself(settings: Callable, likelihood, value):
    chosen = settings(**SMALL, likelihood=likelihood, epochs="6", learning_rate="0.04")
    fitted, samples = forecast(chosen, [Series(0, np.full(400, value, np.float32), (), NO_FEATURES)])
    assert all(map(math.isfinite, fitted.losses))
    assert np.isfinite(samples).all()
    # One value has a density without bound, so some likelihoods get there slowly: what counts is the median's size.
    width = {"negative-binomial": 1.0, "beta": 0.3}.get(likelihood, 0.5)
    assert abs(np.median(samples) - value) <= width * max(abs(value), 1.0 if likelihood == "beta" else 1e-6)


@pytest.mark.parametrize("likelihood", ["student-T", "gaussian", "deterministic-L1"])
def test_negative_values_and_zeros_are_forecast(settings: Callable, likelihood):
    values = np.where(np.arange(600) % 2, -10.0, 0.0).astype(np.float32)
    chosen = settings(**SMALL, likelihood=likelihood, epochs="14", learning_rate="0.04")
    _, samples = forecast(chosen, [Series(0, values, (), NO_FEATURES)])
    np.testing.assert_allclose(np.median(samples[0], axis=0), [0, -10, 0], atol=2.5)


def test_a_series_that_is_never_observed_does_not_disturb_the_others(settings: Callable):
    good = np.tile(np.float32([5, 10]), 300)
    chosen = settings(**SMALL, epochs="12", learning_rate="0.03")
    series = [Series(0, good, (), NO_FEATURES), Series(0, np.full(500, np.nan, np.float32), (), NO_FEATURES)]
    fitted, samples = forecast(chosen, series)
    assert all(map(math.isfinite, fitted.losses))
    assert np.isfinite(samples).all()
    assert np.median(samples[0], axis=0) == pytest.approx([5, 10, 5], abs=1.5)


def test_what_repeats_is_learnt_with_its_uncertainty(settings: Callable):
    rng = np.random.default_rng(0)
    wave = 10 + 4 * np.sin(np.arange(2000) * 2 * np.pi / 24)
    values = (wave + rng.normal(0, 0.5, 2000)).astype(np.float32)
    chosen = settings(
        context_length="12",
        prediction_length="6",
        epochs="20",
        num_cells="16",
        learning_rate="0.02",
        mini_batch_size="48",
    )
    train_part, actual = Series(0, values[:-6], (), NO_FEATURES), values[-6:]
    fitted, samples = forecast(chosen, [train_part], samples=400)
    assert fitted.final_loss < fitted.losses[0] - 0.5
    low, middle, high = np.quantile(samples[0], [0.05, 0.5, 0.95], axis=0)
    assert np.abs(middle - wave[-6:]).max() < 1.5
    assert (high - low).mean() == pytest.approx(2 * 1.645 * 0.5, rel=0.5)
    assert np.abs(actual - middle).mean() < 1.0


def test_the_same_seed_gives_the_same_weights_and_another_others(settings: Callable, panel_of_series):
    weights = []
    for seed in ("1", "1", "2"):
        data = train.Data.of(panel_of_series(rich=True), settings(**SMALL, seed=seed))
        weights.append(train.export(data, train.fit(data, quiet).model).weights["rnn.weight_hh_l0"])
    np.testing.assert_array_equal(weights[0], weights[1])
    assert (weights[0] != weights[2]).any()


def test_training_stops_when_the_loss_has_not_fallen_for_long_enough(settings: Callable, panel_of_series):
    # With so high a rate the loss falls no more after the first epochs.
    chosen = settings(**SMALL, epochs="500", early_stopping_patience="3", learning_rate="0.5")
    lines: list[str] = []
    fitted = train.fit(train.Data.of(panel_of_series(), chosen), lines.append)
    assert len(fitted.losses) < 500
    assert len(fitted.losses) - 1 - fitted.best_epoch == 3
    assert fitted.final_loss == min(fitted.losses)
    assert "stopping training now: no lower loss in 3 epochs" in lines


def test_the_best_epochs_weights_are_kept(settings: Callable, panel_of_series):
    chosen = settings(**SMALL, epochs="6", learning_rate="0.9")
    data = train.Data.of(panel_of_series(), chosen)
    fitted = train.fit(data, quiet)
    again = train.fit(
        train.Data.of(panel_of_series(), settings(**SMALL, epochs=f"{fitted.best_epoch + 1}", learning_rate="0.9")),
        quiet,
    )
    for name, tensor in fitted.model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), again.model.state_dict()[name].numpy())


def test_one_layer_and_every_multiple_of_the_frequency_train(settings: Callable):
    for time_freq in ("M", "2W", "D", "12H", "30min"):
        chosen = settings(**SMALL, time_freq=time_freq, num_layers="1", epochs="1", seasonal_lags="weekly")
        _, samples = forecast(chosen, [Series(600, np.arange(400, dtype=np.float32), (), NO_FEATURES)])
        assert np.isfinite(samples).all()


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A training job's folder."""

    def make(test: bool = True, records: int = 2, **hyperparameters: str) -> Path:
        monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
        (tmp_path / "input/config").mkdir(parents=True)
        given = {"time_freq": "H", "epochs": "3", **SMALL, **hyperparameters}
        (tmp_path / "input/config/hyperparameters.json").write_text(json.dumps(given))
        for channel in ("train", "test") if test else ("train",):
            folder = tmp_path / "input/data" / channel
            folder.mkdir(parents=True)
            lines = [
                json.dumps({"start": "2026-01-01 00:00:00", "target": [at + k % 24 for k in range(300)]})
                for at in range(records)
            ]
            (folder / "a.json").write_text("\n".join(lines))
        return tmp_path

    return make


def test_the_log_holds_the_built_ins_metrics(job):
    folder = job(early_stopping_patience="2", test_quantiles="[0.1, 0.5]")
    lines: list[str] = []
    train.run(log=lines.append)
    text = "\n".join(lines)
    found = {name: [float(value) for value in re.findall(pattern, text)] for name, pattern in train.METRICS.items()}
    assert all(found.values())
    assert len(found["train:loss"]) == 3
    assert found["train:final_loss"] == [min(found["train:loss"])]
    assert found["train:progress"] == [pytest.approx(100 * k / 3) for k in (1, 2, 3)]
    for pattern in (
        r"#test_score \(algo-1, RMSE\): [0-9.e+-]+",
        r"#test_score \(algo-1, mean_absolute_QuantileLoss\): [0-9.e+-]+",
        r"#test_score \(algo-1, mean_wQuantileLoss\): [0-9.e+-]+",
        r"#test_score \(algo-1, wQuantileLoss\[0.1\]\): [0-9.e+-]+",
        r"#test_score \(algo-1, wQuantileLoss\[0.5\]\): [0-9.e+-]+",
    ):
        assert re.search(pattern, text)
    losses = [float(value) for value in re.findall(r"wQuantileLoss\[0.\d\]\): (\S+)", text)]
    assert found["test:mean_wQuantileLoss"] == [pytest.approx(np.mean(losses))]
    document = json.loads((folder / "model/model.json").read_text())
    assert document["training"]["hyperparameters"]["epochs"] == "3"
    assert sorted(path.name for path in (folder / "model").iterdir()) == ["model.json", "weights.npz"]
    assert artifact.load(folder / "model").lags == tuple(document["lags"])


def test_the_model_says_what_it_was_trained_on_where_the_channel_does(job):
    folder = job(epochs="1", test=False)
    train.run(log=quiet)
    assert artifact.target_of(folder / "model") is None
    (folder / "input/data/train/.target.json").write_text('{"target": "avg_fee_1min"}')
    train.run(log=quiet)
    assert artifact.target_of(folder / "model") == "avg_fee_1min"
    (folder / "input/data/train/.target.json").write_text('["avg_fee_1min"]')
    with pytest.raises(ClientError, match=r'\.target\.json is \["avg_fee_1min"\]; expected an object such as'):
        train.run(log=quiet)


def test_without_a_test_channel_nothing_is_scored(job):
    job(test=False)
    lines: list[str] = []
    train.run(log=lines.append)
    assert not any("test_score" in line for line in lines)


def test_a_test_channel_that_cannot_be_scored_is_refused_before_training(job):
    folder = job()
    (folder / "input/data/test/a.json").write_text('{"start": "2026-01-01", "target": [1, 2, 3]}')
    lines: list[str] = []
    with pytest.raises(ClientError, match="channel `test` has no series to score; expected one of more than 3 values"):
        train.run(log=lines.append)
    assert lines == []


def test_several_instances_are_refused(job):
    folder = job()
    resources = {"current_host": "algo-2", "hosts": ["algo-1", "algo-2"]}
    (folder / "input/config/resourceconfig.json").write_text(json.dumps(resources))
    with pytest.raises(ClientError, match="the job has 2 instances; expected InstanceCount 1"):
        train.run(log=quiet)


def test_a_model_that_is_damaged_or_of_another_kind_is_named(tmp_path):
    with pytest.raises(ClientError, match=r"there is no .*model.json"):
        artifact.load(tmp_path)
    (tmp_path / "model.json").write_text('{"format": 2}')
    np.savez(tmp_path / "weights.npz", a=np.zeros(1))
    with pytest.raises(ClientError, match="of another format; expected `format` 1"):
        artifact.load(tmp_path)
    (tmp_path / "model.json").write_text('{"format": 1}')
    with pytest.raises(ClientError, match="lacks frequency, context_length"):
        artifact.load(tmp_path)
    (tmp_path / "weights.npz").write_bytes(b"PK no zip")
    with pytest.raises(ClientError, match="holds no readable model"):
        artifact.load(tmp_path)
    np.savez(tmp_path / "weights.npz", a=np.array([{}], dtype=object))
    with pytest.raises(ClientError, match="Object arrays cannot be loaded"):
        artifact.load(tmp_path)
