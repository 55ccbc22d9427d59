"""Runtime values: created from the files when missing, then changed by `set` alone, typed and in range."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import parameter_store, parameters
from pipelines.config import Workloads, load
from pipelines.errors import ParameterError, UsageError

ROOT = Path(__file__).resolve().parents[2]


def _stored(project: Any, workload: str = "cardholders") -> dict[str, str]:
    return parameter_store.read(project.session.client("ssm"), project.names.ssm_path(workload))


def test_missing_parameters_are_created_with_the_files_values(project: Any) -> None:
    assert _stored(project) == {}
    created = parameters.ensure(project.session, project.configuration)
    for workload in Workloads.model_fields:
        expected = parameters.defaults(project.configuration.tunables(workload))
        assert _stored(project, workload) == {name: parameters.text(value) for name, value in sorted(expected.items())}
        assert {project.names.ssm_parameter(workload, name) for name in expected} <= set(created)
    assert len(created) == len(set(created)) > 20  # more than two pages of ten


def test_what_is_there_is_never_overwritten(project: Any) -> None:
    parameters.ensure(project.session, project.configuration)
    parameters.set_value(project.session, project.configuration, "cardholders", "MinRocAuc", "0.9")
    project.session.client("ssm").delete_parameter(Name=project.names.ssm_parameter("cardholders", "Seed"))
    assert parameters.ensure(project.session, project.configuration) == [
        project.names.ssm_parameter("cardholders", "Seed")
    ]
    assert _stored(project)["MinRocAuc"] == "0.9"


@pytest.mark.parametrize(
    ("name", "given_value", "stored"),
    [
        ("MinRocAuc", "0.75", "0.75"),
        ("min_roc_auc", " 1 ", "1.0"),
        ("MaxClusters", "12", "12"),
        ("MinSilhouette", "-0.5", "-0.5"),
        ("LearningRate", "5e-2", "0.05"),
    ],
)
def test_a_value_is_set_by_either_name(project: Any, name: str, given_value: str, stored: str) -> None:
    new = parameters.set_value(project.session, project.configuration, "cardholders", name, given_value)
    assert new.value == stored
    assert new.differs
    assert _stored(project) == {new.name: stored}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MinRocAuc", "high", "`MinRocAuc`: found 'high', expected a number from 0 to 1"),
        ("MinRocAuc", "1.5", "found '1.5', expected a number from 0 to 1"),
        ("MinRocAuc", "nan", "found 'nan', expected a number from 0 to 1"),
        ("MinRocAuc", "", "found '', expected a number from 0 to 1"),
        ("MaxClusters", "2.5", "found '2.5', expected an integer from 2 to 50"),
        (
            "MaxClusters",
            "2",
            "`MaxClusters` cannot be 2: max_clusters is 2, expected at least min_clusters, which is 3",
        ),
        ("MinRocAcu", "0.5", "has no runtime value `MinRocAcu`; did you mean `MinRocAuc`"),
        ("xyz", "0.5", "expected one of MinClusters, MaxClusters"),
    ],
)
def test_a_wrong_name_or_value_writes_nothing(project: Any, name: str, value: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        parameters.set_value(project.session, project.configuration, "cardholders", name, value)
    assert said in str(raised.value)
    assert _stored(project) == {}


def test_a_value_must_go_with_the_others_in_parameter_store(project: Any) -> None:
    parameters.set_value(project.session, project.configuration, "cardholders", "MaxClusters", "20")
    parameters.set_value(project.session, project.configuration, "cardholders", "MinClusters", "15")
    with pytest.raises(UsageError, match="MaxClusters` cannot be 14"):
        parameters.set_value(project.session, project.configuration, "cardholders", "MaxClusters", "14")


def test_a_stored_value_of_the_wrong_type_is_reported_with_the_command_that_mends_it(project: Any) -> None:
    path = project.names.ssm_parameter("cardholders", "MinClusters")
    project.session.client("ssm").put_parameter(Name=path, Value="few", Type="String")
    with pytest.raises(ParameterError, match="mlops params set cardholders MinClusters 3"):
        parameters.set_value(project.session, project.configuration, "cardholders", "Seed", "1")
    mended = parameters.set_value(project.session, project.configuration, "cardholders", "MinClusters", "3")
    assert mended.value == "3"


def test_an_unknown_workload_is_refused_with_a_suggestion(project: Any) -> None:
    with pytest.raises(UsageError, match="did you mean `cardholders`"):
        parameters.list_values(project.session, project.configuration, "cardholder")


def test_the_list_shows_what_differs_from_the_files(project: Any) -> None:
    parameters.ensure(project.session, project.configuration)
    parameters.set_value(project.session, project.configuration, "cardholders", "Seed", "7")
    project.session.client("ssm").delete_parameter(Name=project.names.ssm_parameter("cardholders", "MaskShare"))
    values = parameters.list_values(project.session, project.configuration, "cardholders")
    differing = {value.name: (value.value, value.file_value) for value in values if value.differs}
    assert differing == {"Seed": ("7", "0"), "MaskShare": (None, "0.3")}
    assert all(value.meaning and value.expected for value in values)


@given(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)))
def test_a_values_text_reads_back_as_the_same_value(value: int | float) -> None:
    assert type(value)(parameters.text(value)) == value


def test_the_files_values_lie_in_their_own_ranges() -> None:
    configuration = load(ROOT, environ={})
    for workload in Workloads.model_fields:
        for value in parameters.defaults(configuration.tunables(workload)).values():
            assert isinstance(value, int | float)


# --- the verb ---------------------------------------------------------------------------------------------------------


def test_the_verb_creates_sets_and_lists(project: Any, mlops: Callable[..., tuple[int, str, str]]) -> None:
    status, out, _ = mlops(project.root, "params", "create", "--json")
    assert status == 0
    assert project.names.ssm_parameter("forecaster", "UpdateRate") in json.loads(out)
    status, out, _ = mlops(project.root, "params", "set", "cardholders", "MinRocAuc", "0.8")
    assert (status, out) == (0, f"{project.names.ssm_parameter('cardholders', 'MinRocAuc')} = 0.8\n")
    status, out, _ = mlops(project.root, "params", "list", "cardholders", "--json")
    listed = {value["name"]: value for value in json.loads(out)}
    assert (status, listed["MinRocAuc"]["value"], listed["MinRocAuc"]["differs"]) == (0, "0.8", True)
    assert listed["Seed"]["differs"] is False
    status, out, _ = mlops(project.root, "params", "list")
    assert status == 0
    rows = [line.split() for line in out.splitlines()]
    assert ["cardholders", "MinRocAuc", "0.8", "0.7"] in [row[:4] for row in rows]
    assert len(rows) == 1 + len(listed) + len(
        parameters.list_values(project.session, project.configuration, "forecaster")
    )
    assert "…" not in out  # a name can be copied


def test_the_verb_says_in_one_line_what_is_wrong(project: Any, mlops: Callable[..., tuple[int, str, str]]) -> None:
    status, out, err = mlops(project.root, "params", "set", "cardholders", "MinRocAuc", "2")
    assert (status, out) == (2, "")
    assert err == "mlops: `MinRocAuc`: found '2', expected a number from 0 to 1\n"
    status, _, err = mlops(project.root, "params", "list", "cardholder")
    assert status == 2
    assert err.startswith("mlops: workload `cardholder` does not exist; did you mean `cardholders`?")
