"""Our loss and our sampler against GluonTS's `DeepARModel`, fed the way GluonTS feeds it."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from gluonts.time_feature import time_features_from_frequency_str

from seed_code.forecaster import network, train
from seed_code.forecaster.hyperparameters import LIKELIHOODS
from seed_code.forecaster.sampler import Sampler
from seed_code.forecaster.windows import Layout
from seed_code.forecaster.windows import Sampler as WindowSampler

# gluonts/torch/util.py indexes with a list, which PyTorch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:Using a non-tuple sequence:UserWarning")


def gluonts_inputs(series, starts, model, settings, shape, filling):
    """What GluonTS's transformations and instance splitter make of windows, from pandas' own calendar."""
    past, horizon = model._past_length, settings.prediction_length
    rows = []
    for one, start in zip(series, starts, strict=True):
        first = pd.Period(ordinal=one.start, freq="h")
        index = pd.period_range(first, periods=max(len(one), start + horizon), freq="h")
        features = [feature(index) for feature in time_features_from_frequency_str("h")]
        features.append(np.log10(2.0 + np.arange(len(index))))
        features += list(one.dynamic_feat[: shape.num_dynamic_feat, : len(index)])
        features = np.stack(features, axis=1).astype(np.float32)
        observed = (~np.isnan(one.target)).astype(np.float32)
        target = np.nan_to_num(one.target, nan=filling)

        def cut(values, begin, end, length):
            piece = values[max(begin, 0) : end]
            padding = [(length - len(piece), 0)] + [(0, 0)] * (values.ndim - 1)
            return torch.from_numpy(np.pad(piece, padding)) if begin < 0 else torch.from_numpy(piece)

        rows.append(
            {
                "feat_static_cat": torch.tensor(one.cat if shape.cardinality else (0,)),
                "feat_static_real": torch.zeros(1),
                "past_time_feat": cut(features, start - past, start, past),
                "past_target": cut(target, start - past, start, past),
                "past_observed_values": cut(observed, start - past, start, past),
                "future_time_feat": torch.from_numpy(features[start : start + horizon]),
                "future_target": torch.from_numpy(target[start : start + horizon]),
                "future_observed_values": torch.from_numpy(observed[start : start + horizon]),
            }
        )
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


@pytest.mark.parametrize("rich", [False, True], ids=["plain", "cat, dynamic_feat, missing"])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_loss_and_its_gradients_are_those_of_gluonts(likelihood, rich, settings, panel_of_series, untrained):
    chosen = settings(likelihood=likelihood, dropout_rate="0")
    series = panel_of_series(likelihood, rich=rich)
    model, exported = untrained(chosen, series)
    # The second window reaches before its series' start, the third one's context is not observed at all.
    starts = np.array([900, 40, 700, 994])
    series[2].target[600:705] = np.nan
    data = train.Data.of(series, chosen)
    layout = Layout.of(chosen.context_length, chosen.prediction_length, data.lags)
    batch = data.panel().batch(layout, np.arange(4), starts)
    model.scaler.default_scale = data.default_scale

    ours = network.Loss(model, np.random.default_rng(0))(batch)
    ours.backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    theirs = model.loss(**gluonts_inputs(series, starts, model, chosen, data.shape, exported.filling)).mean()
    theirs.backward()

    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    for name, parameter in model.named_parameters():
        size = parameter.grad.abs().max().item()
        assert torch.allclose(gradients[name], parameter.grad, rtol=0, atol=1e-3 * size + 1e-7), name


@pytest.mark.parametrize("rich", [False, True], ids=["plain", "cat, dynamic_feat, missing"])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_samples_are_distributed_as_those_of_the_torch_network(likelihood, rich, settings, panel_of_series, untrained):
    paths, count = 2000, 2
    chosen = settings(likelihood=likelihood, num_cells="16", num_layers="3" if rich else "2", prediction_length="9")
    series = panel_of_series(likelihood, count=count, rich=rich, ahead=9)
    model, exported = untrained(chosen, [replace(one, dynamic_feat=one.dynamic_feat[:, :1000]) for one in series])
    shape = train.Data.of([replace(one, dynamic_feat=one.dynamic_feat[:, :1000]) for one in series], chosen).shape

    inputs = gluonts_inputs(series, [1000] * count, model, chosen, shape, exported.filling)
    del inputs["future_target"], inputs["future_observed_values"]
    torch.manual_seed(11)
    with torch.no_grad():
        theirs = model(**inputs, num_parallel_samples=paths).numpy().astype(np.float64)
    ours = Sampler(exported).sample(series, paths, np.random.default_rng(7)).astype(np.float64)

    assert ours.shape == theirs.shape == (count, paths, 9)
    if likelihood == "deterministic-L1":
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())
        assert np.ptp(ours, axis=1).max() == 0
        return
    assert np.ptp(theirs, axis=1).min() > 0
    spread = np.quantile(theirs, 0.9, axis=1) - np.quantile(theirs, 0.1, axis=1)
    # Kolmogorov-Smirnov: with two samples of `paths` values, a distance beyond 2.2 standard units has p = 1e-4.
    for one in range(count):
        for step in range(9):
            assert distance(ours[one, :, step], theirs[one, :, step]) < 2.2 * np.sqrt(2 / paths), (one, step)
    # The middle 98 %: a Student-T with two degrees of freedom has no variance to compare a mean by.
    trimmed = [np.sort(samples, axis=1)[:, paths // 100 : -paths // 100].mean(axis=1) for samples in (ours, theirs)]
    assert (np.abs(trimmed[0] - trimmed[1]) < 0.06 * spread).all()
    for quantile in (0.1, 0.5, 0.9):
        difference = np.quantile(ours, quantile, axis=1) - np.quantile(theirs, quantile, axis=1)
        # A count's quantile jumps by whole numbers.
        assert (np.abs(difference) <= np.maximum(0.1 * spread, 2.0 if likelihood == "negative-binomial" else 0)).all()


def distance(first, second):
    """The largest difference between two samples' distribution functions."""
    points = np.unique(np.concatenate([first, second]))
    of_first = np.searchsorted(np.sort(first), points, side="right") / len(first)
    of_second = np.searchsorted(np.sort(second), points, side="right") / len(second)
    return np.abs(of_first - of_second).max()


def test_the_first_step_follows_from_the_history_and_not_from_chance(settings, panel_of_series, untrained):
    """A wrong context or a wrong lag shows as a wrong first step: deterministic, so compared to the digit."""
    chosen = settings(likelihood="deterministic-L1")
    series = panel_of_series(count=2)
    model, exported = untrained(chosen, series)
    inputs = gluonts_inputs(series, [1000, 1000], model, chosen, train.Data.of(series, chosen).shape, 0.0)
    del inputs["future_target"], inputs["future_observed_values"]
    with torch.no_grad():
        theirs = model(**inputs, num_parallel_samples=1).numpy()
    ours = Sampler(exported).sample(series, 1, np.random.default_rng(0))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_many_series_give_what_each_gives_alone(settings, panel_of_series, untrained):
    chosen = settings(likelihood="deterministic-L1")
    series = panel_of_series(count=30)
    _, exported = untrained(chosen, series)
    sampler = Sampler(exported)
    together = sampler.sample(series, 100, np.random.default_rng(0))
    alone = np.concatenate([sampler.sample([one], 100, np.random.default_rng(0)) for one in series])
    np.testing.assert_allclose(together, alone, rtol=1e-4)


def test_dropout_masks_keep_the_mean_and_the_share(settings, panel_of_series, untrained):
    chosen = settings()
    model, _ = untrained(chosen, panel_of_series())
    mask = network.Loss(model, np.random.default_rng(0), 0.25)._mask(torch.Size((100, 50, 40)))
    assert mask.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert mask.mean().item() == pytest.approx(1, abs=0.01)


def test_windows_are_drawn_from_every_start_of_every_series_alike(settings, panel_of_series):
    chosen = settings()
    series = panel_of_series(count=2, steps=400)
    series.append(replace(series[0], target=series[0].target[:5]))  # shorter than the horizon: no window
    panel = train.Data.of(series, chosen).panel()
    sampler = WindowSampler(panel, Layout.of(12, 6, chosen.time_freq.lags()), np.random.default_rng(0))
    assert sampler.windows == 2 * (400 - 6 + 1)


def test_batches_do_not_depend_on_how_long_the_series_are(settings):
    """A batch is as large for a year of minutes as for a day, and the panel is five bytes a step."""
    from seed_code.forecaster.records import Series

    chosen = settings(time_freq="min", seasonal_lags="weekly")
    sizes, held = [], []
    for steps in (20_000, 525_600):
        series = [Series(29_000_000, np.ones(steps, np.float32), (), np.zeros((0, 0), np.float32))]
        data = train.Data.of(series, chosen)
        panel = data.panel()
        layout = Layout.of(chosen.context_length, chosen.prediction_length, data.lags)
        batch = WindowSampler(panel, layout, np.random.default_rng(0)).draw(128)
        sizes.append((len(layout.steps), batch.inputs.nbytes, batch.target.nbytes))
        held.append(sum(v.nbytes for v in vars(panel).values() if isinstance(v, np.ndarray)) / steps)
    assert sizes[0] == sizes[1]
    assert max(held) < 6
    assert len(layout.steps) < 200 + 3 * (chosen.context_length + chosen.prediction_length + 3) + 100


def test_serving_imports_neither_torch_nor_pandas():
    """`test_contract` has the same of training."""
    unwanted = ["torch", "pandas", "gluonts", "scipy", "pyarrow"]
    program = f"import sys, seed_code.forecaster.serve; print(*(name for name in {unwanted} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
