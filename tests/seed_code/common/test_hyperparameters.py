"""Hyperparameters: from SageMaker's strings to checked numbers."""

import pytest

from seed_code.common import documents, hyperparameters
from seed_code.common.errors import ClientError
from seed_code.common.hyperparameters import Tunable

TUNABLES = (Tunable("count", 3, 1, 9, "how many"), Tunable("rate", 0.5, 0.0, 1.0, "how much"))


def test_defaults_and_given_values_have_the_defaults_type():
    values = hyperparameters.parse({"rate": "1"}, TUNABLES)
    assert values == {"count": 3, "rate": 1.0}
    assert type(values["rate"]) is float


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"count": "0"}, "`count` is `0`; expected a whole number from 1 to 9"),
        ({"count": "3.0"}, "`count` is `3.0`; expected a whole number"),
        ({"rate": "inf"}, "`rate` is `inf`; expected a number from 0.0 to 1.0"),
        ({"rate": "nan"}, "`rate` is `nan`"),
        ({"rate": ""}, "`rate` is ``"),
        ({"cuont": "1"}, "`cuont` is unknown; expected one of count, rate"),
    ],
)
def test_a_mistake_is_named_with_value_and_range(given, said):
    with pytest.raises(ClientError) as raised:
        hyperparameters.parse(given, TUNABLES)
    assert said in str(raised.value)


def test_all_mistakes_are_named_at_once():
    with pytest.raises(ClientError) as raised:
        hyperparameters.parse({"count": "x", "rate": "2", "other": "1"}, TUNABLES)
    assert str(raised.value).count("expected") == 3


def test_reading_leaves_the_platforms_entries_out(tmp_path):
    file = tmp_path / "hyperparameters.json"
    file.write_text('{"part": "clusters", "sagemaker_program": "x.py", "_tuning_objective_metric": "auc"}')
    assert hyperparameters.read(file) == {"part": "clusters"}
    assert hyperparameters.read(tmp_path / "none.json") == {}


@pytest.mark.parametrize("content", ["{", "[]", '{"count": 3}'])
def test_what_sagemaker_would_not_write_is_refused(tmp_path, content):
    file = tmp_path / "hyperparameters.json"
    file.write_text(content)
    with pytest.raises(ClientError, match=r"hyperparameters\.json (is not JSON|must hold a JSON object)"):
        hyperparameters.read(file)


def test_documents_are_strict_json(tmp_path):
    documents.write(tmp_path / "new" / "a.json", {"é": 1.5, "none": None})
    assert documents.read(tmp_path / "new" / "a.json") == {"é": 1.5, "none": None}
    with pytest.raises(ValueError, match="not JSON compliant"):
        documents.write(tmp_path / "b.json", {"x": float("nan")})
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(ClientError, match=r"c\.json is not JSON"):
        documents.read(tmp_path / "c.json")
