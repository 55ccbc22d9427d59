"""Hyperparameters: the built-in algorithm's names, defaults and ranges; every mistake at once."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seed_code.common.errors import ClientError
from seed_code.forecaster.frequency import Frequency
from seed_code.forecaster.hyperparameters import DEFAULT_QUANTILES, RULES, Hyperparameters, parse

REQUIRED = {"time_freq": "5min", "context_length": "12", "prediction_length": "6", "epochs": "2"}


def test_defaults_are_the_documented_ones():
    assert parse(REQUIRED) == Hyperparameters(
        time_freq=Frequency("min", 5), context_length=12, prediction_length=6, epochs=2, num_cells=40, num_layers=2,
        mini_batch_size=128, learning_rate=1e-3, dropout_rate=0.1, embedding_dimension=10, num_eval_samples=100,
        test_quantiles=DEFAULT_QUANTILES, likelihood="student-T", cardinality="auto", num_dynamic_feat="auto",
        early_stopping_patience=None, seasonal_lags="none", seed=0,
    )  # fmt: skip


def test_every_setting_can_be_given_as_the_string_that_the_platform_passes():
    given_ = {
        "time_freq": "1H", "context_length": "72", "prediction_length": "48", "epochs": "400", "num_cells": "64",
        "num_layers": "3", "mini_batch_size": "114", "learning_rate": "4.968e-3", "dropout_rate": "0.10126986",
        "embedding_dimension": "19", "num_eval_samples": "200", "test_quantiles": "[0.05, 0.5, 0.95]",
        "likelihood": "negative-binomial", "cardinality": "[2, 3]", "num_dynamic_feat": "4",
        "early_stopping_patience": "40", "seasonal_lags": "weekly", "seed": "7",
    }  # fmt: skip
    assert set(given_) == set(RULES)
    values = parse(given_)
    assert values.learning_rate == 0.004968
    assert values.test_quantiles == (0.05, 0.5, 0.95)
    assert values.cardinality == (2, 3)
    assert values.num_dynamic_feat == 4
    assert values.early_stopping_patience == 40


@pytest.mark.parametrize("text", ["ignore", ""])
def test_an_empty_string_means_ignore(text):
    values = parse({**REQUIRED, "cardinality": text, "num_dynamic_feat": text})
    assert (values.cardinality, values.num_dynamic_feat) == ("ignore", "ignore")


def test_all_mistakes_come_at_once():
    with pytest.raises(ClientError) as refused:
        parse({"time_freq": "1s", "epochs": "0", "num_cell": "40", "dropout_rate": "1", "prediction_length": "6"})
    message = str(refused.value)
    for part in (
        "`time_freq` is `1s`; expected a multiple",
        "`epochs` is `0`; expected a whole number from 1 to",
        "`num_cell` (value `40`) is unknown; expected one of time_freq",
        "`dropout_rate` is `1`; expected a number in [0, 1)",
        "`context_length` is missing; expected a whole number",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *((name, text) for name in RULES for text in ("$(rm -rf /)", "`id`", "; true", "1\n2", "\u0131", "a" * 5000)),
        *((name, "") for name in RULES if name not in ("cardinality", "num_dynamic_feat")),
        *(
            (name, text)
            for name in ("epochs", "num_cells", "seed")
            for text in ("1.0", "1e3", "-1", "1_0", "٣", " 1", "nan")
        ),
        *(("learning_rate", text) for text in ("0", "-1", "1.01", "nan", "inf", "1e999", "0x1")),
        *(("dropout_rate", text) for text in ("-0.1", "1", "nan")),
        *(("test_quantiles", text) for text in ("[]", "[0]", "[1]", "0.5", "[0.5, 0.5]", '["0.5"]', "[true]", "[NaN]")),
        *(("cardinality", text) for text in ("[]", "[0]", "[1.5]", "3", "automatic", "[true]", "[" * 100_000)),
        *(("num_dynamic_feat", text) for text in ("0", "-1", "1.5", "many")),
        ("likelihood", "student-t"),
        ("likelihood", "Gaussian"),
        ("seasonal_lags", "yearly"),
        *(("time_freq", text) for text in ("0H", "-1H", "1.5H", "S", "Y", "B", "H1", "1 H", "1,H", "hourly")),
    ],
)
def test_a_wrong_value_is_named_with_its_range_on_one_line(name, text):
    with pytest.raises(ClientError) as refused:
        parse({**REQUIRED, name: text})
    message = str(refused.value)
    assert f"`{name}` is `" in message
    assert "; expected " in message
    assert "\n" not in message
    assert len(message) < 600


def outcome(given_: dict[str, str]) -> Hyperparameters | str:
    """The parsed settings, or the message that refuses them."""
    try:
        return parse(given_)
    except ClientError as refused:
        return str(refused)


@given(st.dictionaries(st.text(max_size=30), st.text(max_size=30), max_size=5))
def test_no_strings_do_more_than_be_refused(given_):
    found = outcome({**REQUIRED, **given_})
    assert isinstance(found, Hyperparameters) or (found.startswith("hyperparameters: ") and found.isprintable())


@given(st.sampled_from(sorted(RULES)), st.text(alphabet=string.printable, max_size=12))
def test_a_known_name_takes_a_fitting_text_or_refuses_it_by_name(name, text):
    found = outcome({**REQUIRED, name: text})
    assert isinstance(found, Hyperparameters) or f"`{name}` is `" in found


@given(st.integers(1, 999_999), st.sampled_from(["M", "W", "D", "H", "min", "h", "T", "ME", "MS", "W-SUN"]))
def test_frequencies_are_multiples_in_any_of_pandas_spellings(multiple, spelling):
    frequency = parse({**REQUIRED, "time_freq": f"{multiple}{spelling}"}).time_freq
    assert frequency.multiple == multiple
    assert frequency.base == {"h": "H", "T": "min", "ME": "M", "MS": "M", "W-SUN": "W"}.get(spelling, spelling)
    assert Frequency.parse(str(frequency)) == frequency
