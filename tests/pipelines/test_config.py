"""The configuration: values in files, meaning in classes, every mistake reported at once."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from pipelines.config import FILES, Configuration, find_root, load, overrides_from, parameter_name
from pipelines.errors import ConfigurationError, UsageError
from pipelines.schema import expectation, meaning, schema_at

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference" / "configuration.md"


def _mistakes(root: Path, overrides: Path | None = None, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        load(root, overrides, environ or {})
    return [line.strip() for line in str(raised.value).splitlines()[1:-1]]


def _change(root: Path, file: str, old: str, new: str) -> None:
    path = root / file
    text = path.read_text()
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
    path.write_text(text.replace(old, new))


# --- what is right ----------------------------------------------------------------------------------------------------


def test_the_repositorys_own_files_are_valid_alone_and_with_what_a_laptop_overrides() -> None:
    plain = load(ROOT, environ={})
    local = load(ROOT, ROOT / "configs" / "local.yml", {})
    assert plain.project.account_id == "111122223333"
    assert local.project.account_id == "123456789012"
    assert local.project.name == plain.project.name


def test_overrides_go_before_files_and_standard_variables_before_both(copy: Path, tmp_path: Path) -> None:
    laptop = tmp_path / "laptop.yml"
    laptop.write_text("project: {region: eu-central-1}\nworkloads: {cardholders: {tunables: {max_iterations: 20}}}\n")
    files, overridden = load(copy, environ={}), load(copy, laptop, {})
    assert files.workloads.cardholders.tunables.max_iterations != 20
    assert overridden.workloads.cardholders.tunables.max_iterations == 20
    assert overridden.workloads.cardholders.tunables.seed == files.workloads.cardholders.tunables.seed
    assert (files.project.region, overridden.project.region) == ("eu-west-1", "eu-central-1")
    assert load(copy, laptop, {"AWS_DEFAULT_REGION": "us-east-1"}).project.region == "us-east-1"
    both = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_REGION": "us-west-2"}
    assert load(copy, laptop, both).project.region == "us-west-2"


def test_a_list_in_the_overrides_replaces_the_list_below_it(copy: Path, tmp_path: Path) -> None:
    laptop = tmp_path / "laptop.yml"
    laptop.write_text("workloads: {cardholders: {serving: {realtime_instance_types: [ml.c5.large]}}}\n")
    serving = load(copy, laptop, {}).workloads.cardholders.serving
    assert serving.realtime_instance_types == ("ml.c5.large",)
    assert len(serving.transform_instance_types) > 0


def test_which_project_it_is_is_taken_from_the_environment_and_nothing_else(copy: Path) -> None:
    noise = {"PROJECT_NAME": "other", "MLOPS_ACCOUNT_ID": "999999999999", "MLOPS_REGION": "us-east-1"}
    assert load(copy, environ=noise) == load(copy, environ={})
    told = {"SAGEMAKER_PROJECT_NAME": "other", "AWS_ACCOUNT_ID": "999999999999"}
    project = load(copy, environ=told).project
    assert (project.name, project.account_id) == ("other", "999999999999")
    with pytest.raises(ConfigurationError, match="environment variable SAGEMAKER_PROJECT_NAME"):
        load(copy, environ={"SAGEMAKER_PROJECT_NAME": "Other"})


def test_an_empty_overrides_file_changes_nothing(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.yml").write_text("# nothing\n")
    assert load(copy, tmp_path / "empty.yml", {}) == load(copy, environ={})


def test_the_configuration_cannot_be_changed(copy: Path) -> None:
    configuration = load(copy, environ={})
    with pytest.raises(ValidationError, match="frozen"):
        configuration.project.name = "other"  # type: ignore[misc]
    assert hash(configuration) == hash(load(copy, environ={}))


def test_the_root_is_found_from_any_folder_below_it(copy: Path, tmp_path: Path) -> None:
    assert find_root(copy / "configs" / "workloads") == copy
    with pytest.raises(UsageError, match=r"configs/project\.yml"):
        find_root(tmp_path)


def test_the_overrides_file_is_named_by_one_variable() -> None:
    assert overrides_from({"MLOPS_OVERRIDES": "configs/local.yml"}) == Path("configs/local.yml")
    assert overrides_from({}) is None
    assert overrides_from({"MLOPS_OVERRIDES": ""}) is None


def test_parameters_are_named_after_their_fields() -> None:
    assert parameter_name("min_roc_auc") == "MinRocAuc"
    assert parameter_name("l2_regularization") == "L2Regularization"


# --- what is wrong ----------------------------------------------------------------------------------------------------


def test_the_mistakes_of_all_files_are_reported_together(copy: Path, tmp_path: Path) -> None:
    _change(copy, "configs/project.yml", 'account_id: "111122223333"', "account_id: 111122223333")
    _change(copy, "configs/workloads/cardholders.yml", "  max_clusters: 8", "  max_cluster: 8")
    _change(copy, "configs/workloads/cardholders.yml", "  min_roc_auc: 0.7", "  min_roc_auc: high")
    _change(copy, "configs/workloads/forecaster.yml", "  confidence: 90", "  confidence: 120")
    _change(copy, "configs/stages/prod.yml", "traffic: CANARY", "traffic: canary")
    laptop = tmp_path / "laptop.yml"
    laptop.write_text("workloads:\n  forecaster:\n    tunables:\n      epochs: [1, 2]\n")
    found = _mistakes(copy, laptop)
    assert found == [
        "configs/project.yml:3: account_id: found 111122223333 (an integer), expected text of 12 digits; "
        "put it in quotes",
        *[line for line in found if "max_clusters: missing, expected an integer from 2 to 50" in line],
        *[line for line in found if "min_roc_auc: found 'high' (text), expected a number from 0 to 1" in line],
        *[line for line in found if "max_cluster: unknown key; did you mean `max_clusters`" in line],
        *[line for line in found if "confidence: found 120 (an integer), expected an integer from 50 to 99" in line],
        f"{laptop}:4: workloads.forecaster.tunables.epochs: found a list, expected an integer from 1 to 1000",
        *[line for line in found if "traffic: found 'canary' (text), expected one of ALL_AT_ONCE, CANARY" in line],
    ]
    assert len(found) == 7


def _leaves(values: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _leaves(value, (*path, key))
    else:
        yield path


_LEAVES = [(file, leaf) for file, _ in FILES.values() for leaf in _leaves(yaml.safe_load((ROOT / file).read_text()))]


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=30)
@given(st.lists(st.sampled_from(_LEAVES), min_size=1, max_size=12, unique=True))
def test_each_wrong_value_is_reported_with_its_file_line_and_key(wrong: list[tuple[str, tuple[str, ...]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shutil.copytree(ROOT / "configs", root / "configs")
        for file in {file for file, _ in wrong}:
            values = yaml.safe_load((root / file).read_text())
            for leaf in (leaf for name, leaf in wrong if name == file):
                inner = values
                for key in leaf[:-1]:
                    inner = inner[key]
                inner[leaf[-1]] = {"no": "value is a mapping"}
            (root / file).write_text(yaml.safe_dump(values))
        found = _mistakes(root)
        reported = {(line.split(":")[0], line.split(": ")[1]) for line in found}
        assert reported == {(file, ".".join(leaf)) for file, leaf in wrong}
        for line in found:
            where, number = line.split(": ")[0].split(":")
            key = line.split(": ")[1].split(".")[-1]
            assert (root / where).read_text().splitlines()[int(number) - 1].strip().startswith(f"{key}:")
            assert "found a mapping, expected" in line


def test_a_missing_file_does_not_hide_the_mistakes_of_the_others(copy: Path) -> None:
    (copy / "configs" / "stages" / "staging.yml").unlink()
    _change(copy, "configs/project.yml", "region: eu-west-1", "region: Ireland")
    found = _mistakes(copy)
    assert len(found) == 2
    assert found[0].startswith("configs/project.yml:4: region: found 'Ireland' (text)")
    assert found[1] == "configs/stages/staging.yml: the file does not exist"


def test_a_missing_overrides_file_is_a_mistake(copy: Path) -> None:
    assert _mistakes(copy, copy / "laptop.yml") == ["laptop.yml: the file does not exist"]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("name: a\nregion: [eu-west-1\naccount_id: x\n", 3, "not valid YAML"),
        ("name: a\n\tregion: b\n", 2, "not valid YAML"),
        ("- name\n", 1, "found a list, expected a mapping"),
        ("just text\n", 1, "found text, expected a mapping"),
        ("name: &n fraud\nregion: *n\n", 1, "written out"),
        ("name: &n [*n]\n", 1, "written out"),
    ],
)
def test_a_file_that_is_no_mapping_of_values_is_reported_with_its_line(
    copy: Path, text: str, line: int, said: str
) -> None:
    (copy / "configs" / "project.yml").write_text(text)
    (found,) = _mistakes(copy)
    assert found.startswith(f"configs/project.yml:{line}: ")
    assert said in found


def test_a_key_that_stands_twice_is_refused(copy: Path) -> None:
    _change(copy, "configs/project.yml", "region: eu-west-1", "region: eu-west-1\nname: other")
    (found,) = _mistakes(copy)
    assert found == "configs/project.yml:5: name: the key stands twice (first in line 2)"


def test_bytes_that_are_no_text_are_reported(copy: Path) -> None:
    (copy / "configs" / "project.yml").write_bytes(b"name: \xff\xfe\n")
    assert _mistakes(copy) == ["configs/project.yml: not UTF-8 text (byte 6)"]


def test_an_empty_file_lacks_every_key(copy: Path) -> None:
    (copy / "configs" / "project.yml").write_text("")
    found = _mistakes(copy)
    assert [line.split(": ")[1] for line in found] == [
        "name",
        "account_id",
        "region",
        "api",
        "notices",
        "budget",
        "images",
    ]
    assert all("missing, expected" in line for line in found)


def test_overrides_of_something_that_does_not_exist_are_mistakes(copy: Path, tmp_path: Path) -> None:
    laptop = tmp_path / "laptop.yml"
    laptop.write_text("workload: {}\nworkloads: {cardholder: {}, forecaster: 3}\nstages: []\nproject: {nam: x}\n")
    found = _mistakes(copy, laptop)
    assert [line.removeprefix(f"{laptop}:") for line in found] == [
        "1: workload: unknown key; did you mean `workloads`?",
        "2: workloads.cardholder: unknown key; did you mean `cardholders`?",
        "2: workloads.forecaster: found an integer, expected a mapping of keys to values",
        "3: stages: found a list, expected a mapping of keys to values",
        "4: project.nam: unknown key; did you mean `name`?",
    ]


def test_a_region_of_the_environment_that_is_none_is_reported_as_such(copy: Path) -> None:
    (found,) = _mistakes(copy, environ={"AWS_REGION": "Ireland"})
    assert found.startswith("environment variable AWS_REGION: region: found 'Ireland'")


def test_values_that_only_together_are_wrong(copy: Path) -> None:
    _change(copy, "configs/workloads/cardholders.yml", "  min_clusters: 3", "  min_clusters: 9")
    _change(copy, "configs/workloads/cardholders.yml", "    last_name: Cardholder Last Name\n", "")
    _change(copy, "configs/stages/prod.yml", "instance_count: 2", "instance_count: 1")
    found = "\n".join(_mistakes(copy))
    assert "tunables: max_clusters is 8, expected at least min_clusters, which is 9" in found
    assert "data.columns: nothing names the cardholder" in found
    assert "endpoint.instance_count is 1, expected at least 2" in found


_SERVERLESS = "mode: serverless\n  memory_mb: 2048\n  max_concurrency: 20"
_REAL_TIME = "mode: real-time\n  instance_type: ml.t2.medium\n  instance_count: 1"


def test_a_stage_may_be_serverless(copy: Path) -> None:
    _change(copy, "configs/stages/staging.yml", _REAL_TIME, _SERVERLESS)
    _change(copy, "configs/stages/staging.yml", "percent: 100", "percent: 0")
    endpoint = load(copy, environ={}).stages.staging.endpoint
    assert (endpoint.memory_mb, endpoint.max_concurrency, endpoint.instance_type) == (2048, 20, None)


@pytest.mark.parametrize(
    ("stage", "old", "new", "said"),
    [
        (
            "staging",
            _REAL_TIME,
            _SERVERLESS,
            "capture.percent is 100, expected 0: SageMaker refuses it for a serverless",
        ),
        (
            "staging",
            "mode: real-time",
            "mode: serverless",
            "mode is serverless; instance_type goes with `mode: real-time`",
        ),
        ("staging", "  instance_count: 1\n", "", "mode is real-time; instance_count goes with `mode: real-time`"),
        ("staging", "ALL_AT_ONCE", "ALL_AT_ONCE\n  step_percent: 10", "step_percent goes with `traffic: CANARY` and"),
        (
            "staging",
            "ALL_AT_ONCE",
            "CANARY\n  step_percent: 10",
            "endpoint.instance_count is 1, expected at least 2 with",
        ),
        ("prod", "  step_percent: 50 # of two machines, one\n", "", "step_percent goes with"),
        (
            "prod",
            "traffic: CANARY\n  step_percent: 50",
            "traffic: LINEAR\n  step_percent: 5",
            "expected at least 10 with",
        ),
        (
            "prod",
            "timeout_seconds: 3600",
            "timeout_seconds: 600",
            "timeout_seconds is 600, expected at least 720: wait_",
        ),
        ("prod", "max_instances: 4", "max_instances: 2", "max_instances is 2, expected more than min_instances"),
        (
            "prod",
            "min_instances: 2",
            "min_instances: 3",
            "endpoint.instance_count is 2, expected 3 to 4, the bounds of",
        ),
    ],
)
def test_what_sagemaker_refuses_of_a_stage_is_refused_here(
    copy: Path, stage: str, old: str, new: str, said: str
) -> None:
    _change(copy, f"configs/stages/{stage}.yml", old, new)
    assert any(said in mistake for mistake in _mistakes(copy)), _mistakes(copy)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "traffic: ALL_AT_ONCE\n  wait_seconds: 0",
            "traffic: ALL_AT_ONCE\n  wait_seconds: 9",
            "wait_seconds 9, expected",
        ),
        (
            "timeout_seconds: 1800",
            "timeout_seconds: 1800\n\nscaling:\n  min_instances: 1\n  max_instances: 2\n  invocations_per_instance: 5",
            "scaling is given, expected none: SageMaker refuses it",
        ),
    ],
)
def test_what_a_serverless_stage_cannot_have_is_refused(copy: Path, old: str, new: str, said: str) -> None:
    _change(copy, "configs/stages/staging.yml", _REAL_TIME, _SERVERLESS)
    _change(copy, "configs/stages/staging.yml", "percent: 100", "percent: 0")
    _change(copy, "configs/stages/staging.yml", old, new)
    [mistake] = _mistakes(copy)
    assert said in mistake


def test_what_the_built_in_deepar_does_not_have_is_refused_with_it(copy: Path) -> None:
    _change(copy, "configs/workloads/forecaster.yml", "image: own", "image: built-in")
    assert load(copy, environ={}).workloads.forecaster.network.image == "built-in"
    _change(copy, "configs/workloads/forecaster.yml", "seasonal_lags: none", "seasonal_lags: daily")
    [mistake] = _mistakes(copy)
    assert "seasonal_lags is daily, expected none with `image: built-in`" in mistake


@pytest.mark.parametrize(("confidence", "quantiles"), [(90, ("0.05", "0.5", "0.95")), (75, ("0.125", "0.5", "0.875"))])
def test_the_quantiles_are_the_edges_of_the_band_and_the_median(
    copy: Path, confidence: int, quantiles: tuple[str, ...]
) -> None:
    _change(copy, "configs/workloads/forecaster.yml", "confidence: 90", f"confidence: {confidence}")
    assert load(copy, environ={}).workloads.forecaster.forecast.quantiles == quantiles


def test_a_number_that_yaml_reads_as_text_is_explained(copy: Path) -> None:
    _change(copy, "configs/workloads/forecaster.yml", "learning_rate: 0.004968", "learning_rate: 5e-3")
    (found,) = _mistakes(copy)
    assert "found '5e-3' (text), expected a number from 1e-05 to 0.1" in found
    assert "1.0e-5" in found


def test_true_is_no_number_and_a_number_no_text(copy: Path) -> None:
    _change(copy, "configs/workloads/forecaster.yml", "epochs: 253", "epochs: true")
    _change(copy, "configs/workloads/forecaster.yml", "target: avg_fee_1min", "target: 5")
    found = _mistakes(copy)
    assert len(found) == 2
    assert "target: found 5 (an integer), expected a feature's name" in found[0]
    assert "epochs: found True (true or false), expected an integer" in found[1]


# --- the reference ----------------------------------------------------------------------------------------------------


def _rows(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[str]:
    for name, field in model.model_fields.items():
        below = (*path, name)
        # `Scaling | None` is a section that may be left away.
        inner = next((part for part in get_args(field.annotation) if part is not NoneType), field.annotation)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _rows(inner, below)
        else:
            words = expectation(schema_at(model, (name,))).replace("|", "\\|")
            parameter = f" Parameter `{parameter_name(name)}`." if "tunables" in path else ""
            yield f"| `{'.'.join(below)}` | {words} | {meaning(model, name)}{parameter} |"


def _tables() -> str:
    parts: list[str] = []
    shown: set[type[BaseModel]] = set()
    for _, model in FILES.values():
        if model in shown:
            continue
        shown.add(model)
        files = ", ".join(f"`{name}`" for name, other in FILES.values() if other is model)
        parts += [f"## {files}", "", "| key | expected | meaning |", "|---|---|---|", *_rows(model), ""]
    return "\n".join(parts)


def test_the_reference_lists_every_key(regenerate: bool) -> None:
    begin, end = "<!-- keys: written by `pytest --regenerate` -->\n", "<!-- end of keys -->\n"
    text = REFERENCE.read_text()
    before, rest = text.split(begin)
    listed, after = rest.split(end)
    if regenerate:
        REFERENCE.write_text(f"{before}{begin}{_tables()}{end}{after}")
        return
    assert listed == _tables()
    undescribed = [line for line in listed.splitlines() if re.search(r"\|  \|$", line)]
    assert undescribed == []


def test_the_reference_documents_the_precedence() -> None:
    text = REFERENCE.read_text()
    places = [text.index(word) for word in ("configs/project.yml", "MLOPS_OVERRIDES", "AWS_REGION")]
    assert places == sorted(places)


def test_every_section_of_the_configuration_is_described() -> None:
    def sections(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
        yield model
        for field in model.model_fields.values():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                yield from sections(field.annotation)

    assert [model.__name__ for model in sections(Configuration) if not model.__doc__] == []
