"""Requests and answers, without HTTP."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from seed_code.common.request_errors import RequestError
from seed_code.forecaster import forecasts
from seed_code.forecaster.forecasts import Configuration, Forecaster

INSTANCE = {"start": "2026-01-01 00:00:00", "target": [float(k % 24) for k in range(100)]}
HORIZON = 6


@pytest.fixture
def plain(settings: Callable, panel_of_series: Callable, untrained: Callable) -> Forecaster:
    """A model without categories or dynamic features."""
    return Forecaster(untrained(settings(), panel_of_series())[1])


@pytest.fixture
def rich(settings: Callable, panel_of_series: Callable, untrained: Callable) -> Forecaster:
    """A model with categories [2, 3] and two dynamic features."""
    return Forecaster(untrained(settings(), panel_of_series(rich=True))[1])


@pytest.fixture
def ignoring(settings: Callable, panel_of_series: Callable, untrained: Callable) -> Forecaster:
    """A model whose data had both, and whose settings ignore them."""
    chosen = settings(cardinality="ignore", num_dynamic_feat="ignore")
    return Forecaster(untrained(chosen, panel_of_series(rich=True))[1])


def full(**changes: Any) -> dict[str, Any]:
    return {**INSTANCE, "cat": [1, 2], "dynamic_feat": [[0.5] * 106, [1.5] * 106], **changes}


def test_an_answer_holds_what_was_asked_for(plain):
    (prediction,) = plain.answer({"instances": [INSTANCE]})["predictions"]
    assert set(prediction) == {"mean", "quantiles"}
    assert list(prediction["quantiles"]) == [f"0.{k}" for k in range(1, 10)]
    stacked = np.stack(list(prediction["quantiles"].values()))
    assert stacked.shape == (9, HORIZON)
    assert (np.diff(stacked, axis=0) >= 0).all()

    configuration = {"num_samples": 37, "output_types": ["samples"]}
    (prediction,) = plain.answer({"instances": [INSTANCE], "configuration": configuration})["predictions"]
    assert set(prediction) == {"samples"}
    assert prediction["samples"].shape == (37, HORIZON)

    configuration = {"num_samples": 60, "output_types": ["mean", "quantiles", "samples"], "quantiles": ["0.05", 0.5]}
    first, second = plain.answer({"instances": [INSTANCE] * 2, "configuration": configuration})["predictions"]
    assert list(first["quantiles"]) == ["0.05", "0.5"]
    np.testing.assert_allclose(first["mean"], first["samples"].mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(first["quantiles"]["0.5"], np.median(first["samples"], axis=0), rtol=1e-4)
    assert (first["samples"] != second["samples"]).any()


def test_the_same_request_has_the_same_answer_and_another_series_its_own_chance(plain):
    request = {"instances": [INSTANCE]}
    other = {"instances": [{**INSTANCE, "start": "2026-01-02 00:00:00"}]}
    means = [plain.answer(one)["predictions"][0]["mean"] for one in (request, request, other)]
    np.testing.assert_array_equal(means[0], means[1])
    assert (means[0] != means[2]).any()


@pytest.mark.parametrize("target", [[], [1.0], [None] * 50, ["NaN", float("nan"), None, 4], [0] * 50, [-5] * 50])
def test_short_missing_or_odd_histories_are_forecast_from_what_there_is(plain, target):
    (prediction,) = plain.answer({"instances": [{"start": "2026-01-01", "target": target}]})["predictions"]
    assert np.isfinite(prediction["mean"]).all()


@pytest.mark.parametrize("likelihood", ["student-T", "gaussian", "negative-binomial", "deterministic-L1"])
@pytest.mark.parametrize("target", [[3e38] * 300, [-3.4e38, 3.4e38] * 150], ids=["large", "both signs"])
def test_the_largest_numbers_are_answered_with_numbers(settings, panel_of_series, untrained, likelihood, target):
    forecaster = Forecaster(untrained(settings(likelihood=likelihood), panel_of_series(likelihood))[1])
    every = {"output_types": ["mean", "quantiles", "samples"]}
    request = {"instances": [{"start": "2026-01-01", "target": target}], "configuration": every}
    (prediction,) = forecaster.answer(request)["predictions"]
    for values in (prediction["mean"], prediction["samples"], *prediction["quantiles"].values()):
        assert np.isfinite(values).all()


def test_values_too_far_apart_for_a_forecast_are_named(plain):
    apart = {"start": "2026-01-01", "target": [3e38] * 200 + [1e-9] * 100}
    with pytest.raises(RequestError, match=r"has values of sizes from 1e-09 to 3e\+38, which") as refused:
        plain.answer({"instances": [INSTANCE, apart]})
    assert refused.value.field == "instances[1].target"


def test_what_the_training_data_had_is_required_and_used(rich):
    base = rich.answer({"instances": [full()]})["predictions"][0]["mean"]
    for changed in (full(cat=[0, 2]), full(dynamic_feat=[[0.5] * 100 + [9.0] * 6, [1.5] * 106])):
        assert (rich.answer({"instances": [changed]})["predictions"][0]["mean"] != base).any()


def test_what_the_settings_ignored_may_come_along(ignoring):
    both = ignoring.answer({"instances": [full()]})["predictions"][0]["mean"]
    assert np.isfinite(both).all()
    assert ignoring.answer({"instances": [INSTANCE]})["predictions"]


@pytest.mark.parametrize(
    ("document", "field", "expected"),
    [
        (None, None, "the body is null; expected an object with `instances`"),
        ([INSTANCE], None, "expected an object with `instances`"),
        ({}, "instances", "is missing; expected a list of at least one series"),
        ({"instances": []}, "instances", "is []; expected a list of at least one series"),
        ({"instances": {}}, "instances", "is {}; expected a list"),
        ({"instances": [7]}, "instances[0]", "the record is `7`; expected an object"),
        ({"instances": [INSTANCE, {"start": "2026-01-01"}]}, "instances[1].target", "is missing; found `start`"),
        ({"instances": [{"target": [1]}]}, "instances[0].start", "is missing"),
        ({"instances": [{**INSTANCE, "start": "2026-01-01T00:00:00Z"}]}, "instances[0].start", "no time zone"),
        ({"instances": [{**INSTANCE, "target": [1, {}]}]}, "instances[0].target[1]", "is an object; expected a number"),
        (
            {"instances": [{**INSTANCE, "freq": "min"}]},
            "instances[0].freq",
            'is "min"; expected `1H`, the frequency that',
        ),
        ({"instances": [{**INSTANCE, "freq": "2H"}]}, "instances[0].freq", 'is "2H"; expected `1H`'),
        ({"instances": [{**INSTANCE, "freq": "often"}]}, "instances[0].freq", "expected a multiple"),
        ({"instances": [{**INSTANCE, "freq": 5}]}, "instances[0].freq", "is 5; expected `1H`"),
        ({"instances": [full()]}, "instances[0].cat", "is [1, 2]; expected none: the model was trained without"),
        ({"instances": [full(cat=None)]}, "instances[0].dynamic_feat", "has 2 features; expected none"),
        ({"instances": [INSTANCE] * 20_000}, "instances", "holds 20000 series; expected at most 16666 in one request"),
        ({"instances": [INSTANCE], "configuration": 5}, "configuration", "is 5; expected an object"),
        ({"instances": [INSTANCE], "configuration": {"samples": 5}}, "configuration.samples", "is unknown"),
    ],
)
def test_a_request_that_cannot_be_answered_names_the_field(plain, document, field, expected):
    with pytest.raises(RequestError) as refused:
        plain.answer(document)
    assert refused.value.status == 400
    assert refused.value.field == field
    assert expected in refused.value.message


@pytest.mark.parametrize(
    ("instance", "field", "expected"),
    [
        (full(cat=None), "cat", "is missing; expected 2 numbers below [2, 3]"),
        (full(cat=[2, 0]), "cat", "is [2, 0]; expected 2 numbers below [2, 3]"),
        (full(cat=[0, -1]), "cat[1]", "is `-1`; expected a whole number from 0 to 2147483647"),
        (full(cat=[1]), "cat", "is [1]; expected 2 numbers"),
        (full(cat=["a", "b"]), "cat[0]", "is `a`; expected a whole number from 0 to 2147483647"),
        (
            full(dynamic_feat=None),
            "dynamic_feat",
            "is missing; expected 2 of 106: 100 as in `target` and 6 to forecast",
        ),
        (full(dynamic_feat=[[1.0] * 106]), "dynamic_feat", "has 1 features of 106 values; expected 2 of 106"),
        (full(dynamic_feat=[[1.0] * 100] * 2), "dynamic_feat", "has 2 features of 100 values; expected 2 of 106"),
        (full(dynamic_feat=[[1.0] * 105 + [None]] * 2), "dynamic_feat[0][105]", "is null; expected a number"),
    ],
)
def test_categories_and_dynamic_features_must_be_those_of_the_training(rich, instance, field, expected):
    with pytest.raises(RequestError) as refused:
        rich.answer({"instances": [full(), instance]})
    assert refused.value.field == f"instances[1].{field}"
    assert expected in refused.value.message


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"num_samples": 0}, "num_samples"),
        ({"num_samples": 10_001}, "num_samples"),
        ({"num_samples": "100"}, "num_samples"),
        ({"num_samples": True}, "num_samples"),
        ({"num_samples": 1.5}, "num_samples"),
        ({"output_types": []}, "output_types"),
        ({"output_types": "mean"}, "output_types"),
        ({"output_types": ["mean", "median"]}, "output_types"),
        ({"output_types": [["mean"]]}, "output_types"),
        ({"quantiles": []}, "quantiles"),
        ({"quantiles": "0.5"}, "quantiles"),
        ({"quantiles": ["0.5", "1"]}, "quantiles[1]"),
        ({"quantiles": ["p90"]}, "quantiles[0]"),
        ({"quantiles": ["nan"]}, "quantiles[0]"),
        ({"quantiles": [None]}, "quantiles[0]"),
        ({"quantiles": [0]}, "quantiles[0]"),
    ],
)
def test_a_wrong_configuration_is_named(document, field):
    with pytest.raises(RequestError) as refused:
        Configuration.parse(document)
    assert refused.value.field == f"configuration.{field}"
    assert "; expected " in refused.value.message


def test_the_limit_is_on_values_not_on_series(plain):
    most = forecasts.MOST_VALUES // HORIZON
    plain.predict([INSTANCE] * 2, Configuration(1, ("mean",), {}))
    with pytest.raises(RequestError, match="expected at most 166 in one request with 10000 samples of 6 steps"):
        plain.answer({"instances": [INSTANCE] * 167, "configuration": {"num_samples": 10_000}})
    assert most > 1_000_000
