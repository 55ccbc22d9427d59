"""The definitions: golden text, what botocore and SageMaker accept, and that nothing but the configuration is in them.

`pytest tests/pipelines/test_definition.py --regenerate` writes the golden definition anew; its change belongs to the
commit.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from pipelines import definitions, images, parameters
from pipelines.config import Configuration, TransformJob, load
from pipelines.definition_cache import ENTRIES_KEPT, DefinitionCache
from pipelines.definition_diff import steps
from pipelines.errors import UsageError
from pipelines.names import EXECUTION_INPUTS, LocalPaths

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent / "golden"
DIGEST = "0" * 64


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    return load(ROOT, environ={})


@pytest.fixture(scope="module")
def rendered(configuration: Configuration) -> dict[tuple[str, str], str]:
    """Every definition, for images that stay the same while the workloads are worked on."""
    return {
        (workload, kind): definitions.render_for_image(
            workload, kind, configuration, configuration.names.image_uri(workload, DIGEST)
        )
        for workload, kind in definitions.PIPELINES
    }


@pytest.fixture(scope="module")
def texts(rendered: dict[tuple[str, str], str]) -> dict[str, str]:
    """The definition of each workload's build."""
    return {workload: text for (workload, kind), text in rendered.items() if kind == "build"}


@pytest.fixture(params=["cardholders", "forecaster"])
def workload(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def definition(workload: str, texts: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(texts[workload])
    return found


def _walk(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _walk(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _walk(inner, f"{path}[{index}]")


def _gets(value: Any) -> set[str]:
    return {str(found["Get"]) for _, found in _walk(value) if isinstance(found, dict) and set(found) == {"Get"}}


def _needs(step: dict[str, Any]) -> set[str]:
    """The steps whose results a step uses."""
    return {get.split(".")[1] for get in _gets(step["Arguments"]) if get.startswith("Steps.")}


# --- the text ---------------------------------------------------------------------------------------------------------


def test_the_definition_is_the_golden_one(workload: str, definition: dict[str, Any], regenerate: bool) -> None:
    golden = GOLDEN / f"{workload}-build.json"
    shown = json.dumps(definition, indent=1) + "\n"
    if regenerate:
        golden.write_text(shown)
    assert shown == golden.read_text(), "if the change is meant: pytest tests/pipelines/test_definition.py --regenerate"


def test_the_definition_of_the_monitor_pipeline_is_the_golden_one(
    workload: str, rendered: dict[tuple[str, str], str], regenerate: bool
) -> None:
    golden = GOLDEN / f"{workload}-monitor.json"
    shown = json.dumps(json.loads(rendered[workload, "monitor"]), indent=1) + "\n"
    if regenerate:
        golden.write_text(shown)
    assert shown == golden.read_text(), "if the change is meant: pytest tests/pipelines/test_definition.py --regenerate"


def test_the_package_says_where_its_evaluation_and_its_golden_requests_are(definition: dict[str, Any]) -> None:
    metadata = steps(definition)["Register"]["Arguments"]["CustomerMetadataProperties"]
    folder = {"Get": "Steps.Evaluate.ProcessingOutputConfig.Outputs['evaluation'].S3Output.S3Uri"}
    for key, file in (("evaluation_uri", "evaluation.json"), ("golden_requests_uri", "golden.jsonl")):
        assert metadata[key] == {"Std:Join": {"On": "/", "Values": [folder, file]}}


_ELSEWHERE = """
import sys
tried = []
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        tried.append(event)  # the SDK passes over errors of some of its calls
        raise RuntimeError("no connection while a definition is rendered")
sys.addaudithook(refuse)
from pathlib import Path
from pipelines import config, definitions
configuration = config.load(Path.cwd(), environ={})
for workload, kind in definitions.PIPELINES:
    uri = configuration.names.image_uri(workload, "0" * 64)
    sys.stdout.write(definitions.render_for_image(workload, kind, configuration, uri))
sys.stderr.write("".join(tried))
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, str]:
    """The variables of a machine that has other defaults, and neither network nor credentials."""
    defaults = tmp_path / "sagemaker" / "config.yaml"  # what a host's administrator may have put there
    defaults.parent.mkdir()
    defaults.write_text(
        "SchemaVersion: '1.0'\nSageMaker: {TrainingJob: {RoleArn: 'arn:aws:iam::999999999999:role/other'}}\n"
    )
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "XDG_CONFIG_DIRS": str(tmp_path),
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(defaults),
        "AWS_PROFILE": "does-not-exist",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "PYTHONHASHSEED": "42",
        "PYTHONPATH": str(ROOT),
    }


def test_without_network_or_credentials_the_same_bytes_are_rendered(
    rendered: dict[tuple[str, str], str],
    configuration: Configuration,
    elsewhere: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []

    def refuse(*arguments: Any, **_: Any) -> None:
        tried.append(arguments)  # the SDK passes over errors of some of its calls
        raise RuntimeError("no connection while a definition is rendered")

    for name in os.environ.keys() - elsewhere.keys():
        monkeypatch.delenv(name)
    for name, value in elsewhere.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for call in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, call, refuse)
    # The other deploy pipelines are rendered like this one, see below.
    for workload, kind in (("cardholders", "build"), ("forecaster", "build"), ("forecaster", "deploy-staging")):
        uri = configuration.names.image_uri(workload, DIGEST)
        assert definitions.render_for_image(workload, kind, configuration, uri) == rendered[workload, kind]
    assert tried == []


@pytest.mark.slow
def test_another_process_without_network_or_credentials_renders_the_same_bytes(
    rendered: dict[tuple[str, str], str], elsewhere: dict[str, str]
) -> None:
    """So that the SDK's import, too, is looked at; it takes ten seconds."""
    done = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE], cwd=ROOT, env=elsewhere, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout == "".join(rendered.values())


def test_rendering_leaves_the_environment_as_it_was(configuration: Configuration) -> None:
    before = dict(os.environ)
    definitions.render_for_image(
        "cardholders", "build", configuration, configuration.names.image_uri("cardholders", DIGEST)
    )
    assert dict(os.environ) == before


# --- what AWS accepts -------------------------------------------------------------------------------------------------


def _resolved(value: Any) -> Any:
    """Arguments as they are when the step runs, with placeholders for what only then is known."""
    if isinstance(value, dict):
        if set(value) == {"Get"}:
            return "s3://bucket/key" if value["Get"].startswith("Steps.") else "placeholder"
        if set(value) == {"Std:Join"}:
            return value["Std:Join"]["On"].join(str(_resolved(part)) for part in value["Std:Join"]["Values"])
        if set(value) == {"Std:JsonGet"}:
            return "0.5"
        return {key: _resolved(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_resolved(inner) for inner in value]
    return value


_REQUESTS = {
    "Processing": ("CreateProcessingJob", {"ProcessingJobName": "pipelines-abc-step"}),
    "Training": ("CreateTrainingJob", {"TrainingJobName": "pipelines-abc-step"}),
    "Model": ("CreateModel", {"ModelName": "pipelines-abc-step"}),
    "Transform": ("CreateTransformJob", {"TransformJobName": "pipelines-abc-step"}),
    "RegisterModel": ("CreateModelPackage", {}),
}


def test_botocore_accepts_the_arguments_of_every_step(workload: str, definition: dict[str, Any]) -> None:
    model = botocore.session.get_session().get_service_model("sagemaker")
    checked = []
    for name, step in steps(definition).items():
        if step["Type"] not in _REQUESTS:
            continue
        operation, given = _REQUESTS[step["Type"]]
        shape = model.operation_model(operation).input_shape
        report = ParamValidator().validate({**_resolved(step["Arguments"]), **given}, shape)
        assert report.generate_report() == "", name
        checked.append(name)
    assert (
        set(checked)
        == {"Prepare", "Evaluate", "Register", "LinkMlflow"}
        | {
            "cardholders": {"TrainClusters", "TrainPurchase", "Package"},
            "forecaster": {"Train", "CreateModel", "Transform"},
        }[workload]
    )


def test_every_instance_type_is_one_that_sagemaker_has(configuration: Configuration) -> None:
    model = botocore.session.get_session().get_service_model("sagemaker")
    jobs = set(model.shape_for("ProcessingInstanceType").enum) & set(model.shape_for("TrainingInstanceType").enum)
    hosts = set(model.shape_for("ProductionVariantInstanceType").enum)
    transforms = set(model.shape_for("TransformInstanceType").enum)
    stages = configuration.stages
    for workload in (configuration.workloads.cardholders, configuration.workloads.forecaster):
        for _, job in workload.steps:
            assert job.instance_type in (transforms if isinstance(job, TransformJob) else jobs)
        assert set(workload.serving.realtime_instance_types) <= hosts
        assert set(workload.serving.transform_instance_types) <= transforms
    assert {stages.staging.endpoint.instance_type, stages.prod.endpoint.instance_type} <= hosts


def test_arguments_keep_within_sagemakers_limits(definition: dict[str, Any]) -> None:
    for name, step in steps(definition).items():
        specification = step["Arguments"].get("AppSpecification", {})
        given = specification.get("ContainerArguments", [])
        assert len(given) <= 100
        for argument in given:
            assert 0 < len(str(_resolved(argument))) <= 256, (name, argument)
        for key, value in step["Arguments"].get("HyperParameters", {}).items():
            assert not isinstance(value, int | float), f"{key}: hyperparameters are texts"
        for key, value in step["Arguments"].get("CustomerMetadataProperties", {}).items():
            assert re.fullmatch(r"[\w .:/=+@-]{1,128}", key)
            assert re.fullmatch(r"[\w .:/=+@-]{1,256}", str(_resolved(value))), key
    assert len(json.dumps(definition)) < 100_000


# --- what it says -----------------------------------------------------------------------------------------------------


DRAWN = {
    "cardholders": {
        "Prepare": set(),
        "TrainClusters": {"Prepare"},
        "TrainPurchase": {"Prepare"},
        "Package": {"Prepare", "TrainClusters", "TrainPurchase"},
        "Evaluate": {"Prepare", "Package"},
        "QualityGate": {"Evaluate"},
        "AlreadyRegistered": {"Evaluate"},
        "Register": {"Evaluate", "Package"},
        "LinkMlflow": {"Register", "Evaluate"},
        "QualityTooLow": {"Evaluate"},
    },
    "forecaster": {
        "Prepare": set(),
        "Train": {"Prepare"},
        "AlreadyRegistered": {"Train"},
        "CreateModel": {"Train"},
        "Transform": {"CreateModel", "Prepare"},
        "Evaluate": {"Prepare", "Train", "Transform"},
        "QualityGate": {"Evaluate"},
        "Register": {"Evaluate", "Train"},
        "LinkMlflow": {"Register", "Evaluate"},
        "QualityTooLow": {"Evaluate"},
    },
}
BRANCHES = {
    "cardholders": {
        "QualityGate": (["AlreadyRegistered"], ["QualityTooLow"]),
        "AlreadyRegistered": ([], ["Register", "LinkMlflow"]),
    },
    "forecaster": {
        "AlreadyRegistered": ([], ["CreateModel", "Transform", "Evaluate", "QualityGate"]),
        "QualityGate": (["Register", "LinkMlflow"], ["QualityTooLow"]),
    },
}


def test_steps_depend_on_each_other_as_drawn(workload: str, definition: dict[str, Any]) -> None:
    known = steps(definition)
    assert {name: _needs(step) for name, step in known.items()} == DRAWN[workload]
    branches = {
        name: (step["Arguments"]["IfSteps"], step["Arguments"]["ElseSteps"])
        for name, step in known.items()
        if step["Type"] == "Condition"
    }
    assert branches == BRANCHES[workload]


def test_every_get_refers_to_something_that_exists(definition: dict[str, Any]) -> None:
    declared = {parameter["Name"] for parameter in definition["Parameters"]}
    known = steps(definition)
    for get in _gets(definition):
        kind, name, *rest = get.split(".")
        if kind == "Parameters":
            assert name in declared
        elif kind == "Steps":
            if found := re.match(r"ProcessingOutputConfig\.Outputs\['(\w+)'\]", ".".join(rest)):
                outputs = known[name]["Arguments"]["ProcessingOutputConfig"]["Outputs"]
                assert found[1] in {output["OutputName"] for output in outputs}
            elif rest[0] == "PropertyFiles":
                assert rest[1] in {file["PropertyFileName"] for file in known[name]["PropertyFiles"]}
        else:
            assert kind == "Execution"


def test_every_parameter_is_used_and_every_runtime_value_is_one(
    workload: str, definition: dict[str, Any], configuration: Configuration
) -> None:
    declared = {parameter["Name"]: parameter.get("DefaultValue") for parameter in definition["Parameters"]}
    used = {get.split(".")[1] for get in _gets(definition["Steps"]) if get.startswith("Parameters.")}
    assert used == set(declared)
    runtime = parameters.defaults(configuration.tunables(workload))
    runtime.pop("UpdateRate", None)  # of deployments
    assert {name: value for name, value in declared.items() if name not in EXECUTION_INPUTS} == runtime


def test_what_differs_between_executions_reaches_no_cached_step_but_in_where_it_writes(
    workload: str,
    definition: dict[str, Any],
) -> None:
    cached = {name: step for name, step in steps(definition).items() if "CacheConfig" in step}
    assert (
        set(cached)
        == {
            "cardholders": {"Prepare", "TrainClusters", "TrainPurchase", "Package", "Evaluate"},
            # A model has another name each time, so that nothing behind it could be found again.
            "forecaster": {"Prepare", "Train"},
        }[workload]
    )
    for name, step in cached.items():
        arguments = {key: value for key, value in step["Arguments"].items() if key != "ProcessingOutputConfig"}
        assert not any(get.startswith("Execution.") for get in _gets(arguments)), name


def test_outputs_lie_below_the_execution_and_the_step(
    workload: str, definition: dict[str, Any], configuration: Configuration
) -> None:
    for name, step in steps(definition).items():
        for output in step["Arguments"].get("ProcessingOutputConfig", {}).get("Outputs", []):
            uri = output["S3Output"]["S3Uri"]["Std:Join"]
            root = configuration.names.outputs_uri(workload, "build")
            assert uri["Values"] == [root, {"Get": "Execution.PipelineExecutionId"}, name, output["OutputName"]]
            assert output["S3Output"]["LocalPath"] == f"/opt/ml/processing/output/{output['OutputName']}"


IMAGES = (".ImageUri", ".TrainingImage", ".Image", ".image")


def test_every_step_runs_the_one_image_that_the_package_serves_with(
    workload: str, definition: dict[str, Any], configuration: Configuration
) -> None:
    found = [value for path, value in _walk(definition["Steps"]) if path.endswith(IMAGES)]
    assert len(found) == {"cardholders": 8, "forecaster": 7}[workload]
    assert set(found) == {configuration.names.image_uri(workload, DIGEST)}


GATES = {
    "cardholders": {
        "metrics.roc_auc": ("GreaterThanOrEqualTo", "Parameters.MinRocAuc"),
        "metrics.calibration_error": ("LessThanOrEqualTo", "Parameters.MaxCalibrationError"),
        "metrics.silhouette": ("GreaterThanOrEqualTo", "Parameters.MinSilhouette"),
        "champion_comparison.roc_auc_difference": ("GreaterThanOrEqualTo", "Parameters.MinChampionDifference"),
    },
    "forecaster": {
        "metrics.mean_wql": ("LessThanOrEqualTo", "Parameters.MaxWql"),
        "champion_comparison.mean_wql_difference": ("LessThanOrEqualTo", "Parameters.MaxChampionDifference"),
    },
}


def test_each_gate_compares_a_figure_with_a_runtime_value_and_the_failure_gives_both(
    workload: str, definition: dict[str, Any]
) -> None:
    known = steps(definition)
    compared = {}
    for condition in known["QualityGate"]["Arguments"]["Conditions"]:
        figure = condition["LeftValue"]["Std:JsonGet"]["Path"]
        compared[figure] = (condition["Type"], condition["RightValue"]["Get"])
    assert compared == GATES[workload]
    message = known["QualityTooLow"]["Arguments"]["ErrorMessage"]
    given = {
        value["Std:JsonGet"]["Path"]
        for _, value in _walk(message)
        if isinstance(value, dict) and "Std:JsonGet" in value
    }
    assert given == set(compared)
    assert {limit for _, limit in compared.values()} <= _gets(message)


def test_jobs_have_the_limits_and_retries_of_the_configuration(
    workload: str, definition: dict[str, Any], rendered: dict[tuple[str, str], str], configuration: Configuration
) -> None:
    monitor = steps(json.loads(rendered[workload, "monitor"]))
    known = {**steps(definition), "Monitor": monitor["Evaluate"], "DriftReport": monitor["DriftReport"]}
    for field, job in getattr(configuration.workloads, workload).steps:
        step = known["".join(word.capitalize() for word in field.split("_"))]
        if not isinstance(job, TransformJob):  # which has no time limit
            assert step["Arguments"]["StoppingCondition"]["MaxRuntimeInSeconds"] == job.max_runtime_seconds
        retried = {kind for policy in step["RetryPolicies"] for kind in policy["ExceptionType"]}
        assert {"Step.SERVICE_FAULT", "Step.THROTTLING", "SageMaker.CAPACITY_ERROR"} <= retried


# --- the two images of DeepAR -----------------------------------------------------------------------------------------


def test_the_built_in_deepar_takes_the_place_of_ours_and_nothing_else_changes(
    texts: dict[str, str], configuration: Configuration, tmp_path: Path
) -> None:
    overrides = tmp_path / "built-in.yml"
    overrides.write_text("workloads: {forecaster: {network: {image: built-in}}}\n")
    uri = configuration.names.image_uri("forecaster", DIGEST)
    ours = json.loads(texts["forecaster"])
    theirs = json.loads(definitions.render_for_image("forecaster", "build", load(ROOT, overrides, environ={}), uri))
    built_in = "224300973850.dkr.ecr.eu-west-1.amazonaws.com/forecasting-deepar:1"
    known = steps(theirs)
    assert known["Train"]["Arguments"]["AlgorithmSpecification"].pop("TrainingImage") == built_in
    assert known["CreateModel"]["Arguments"]["PrimaryContainer"].pop("Image") == built_in
    package = known["Register"]["Arguments"]
    assert package["InferenceSpecification"]["Containers"][0].pop("Image") == built_in
    assert package["CustomerMetadataProperties"].pop("image") == built_in
    own = steps(ours)
    assert own["Train"]["Arguments"]["AlgorithmSpecification"].pop("TrainingImage") == uri
    # SageMaker knows the built-in's metrics, and refuses definitions of them.
    assert own["Train"]["Arguments"]["AlgorithmSpecification"].pop("MetricDefinitions")
    own["CreateModel"]["Arguments"]["PrimaryContainer"].pop("Image")
    own["Register"]["Arguments"]["InferenceSpecification"]["Containers"][0].pop("Image")
    own["Register"]["Arguments"]["CustomerMetadataProperties"].pop("image")
    assert known == own


def test_the_metrics_are_those_that_the_image_logs() -> None:
    """The pipelines import no image's code; their regular expressions and its log must agree all the same."""
    from pipelines.build.forecaster import METRICS
    from seed_code.forecaster import train

    assert METRICS == train.METRICS


# --- rendering and its cache ------------------------------------------------------------------------------------------


def _entries(root: Path) -> list[Path]:
    return sorted(LocalPaths(root).definitions_cache.glob("*.json"))


def test_a_definition_is_rendered_once_and_again_when_its_entry_is_damaged(copy: Path) -> None:
    configuration = load(copy, environ={})
    first = definitions.render("cardholders", "build", configuration, copy)
    (entry,) = _entries(copy)
    cache, planted = DefinitionCache(entry.parent), json.dumps({"planted": True})
    cache.put(entry.stem, planted)
    assert definitions.render("cardholders", "build", configuration, copy) == planted
    entry.write_bytes(entry.read_bytes()[:-5])
    assert definitions.render("cardholders", "build", configuration, copy) == first
    assert cache.get(entry.stem) == first


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b"null", b'{"sha256": "0", "definition": "{}"}', b'{"sha256": 1, "definition": 1}', b"\xff"],
)
def test_a_damaged_entry_is_none(tmp_path: Path, damage: bytes) -> None:
    cache = DefinitionCache(tmp_path)
    cache.put("key", "definition")
    assert cache.get("key") == "definition"
    (tmp_path / "key.json").write_bytes(damage)
    assert cache.get("key") is None
    assert cache.get("other") is None


def test_the_cache_keeps_the_newest_entries(tmp_path: Path) -> None:
    cache = DefinitionCache(tmp_path / "cache")
    for number in range(ENTRIES_KEPT + 5):
        cache.put(f"{number:03}", str(number))
        os.utime(tmp_path / "cache" / f"{number:03}.json", ns=(number, number))
    assert cache.get("000") is None
    assert cache.get(f"{ENTRIES_KEPT + 4:03}") == str(ENTRIES_KEPT + 4)
    assert len(list((tmp_path / "cache").iterdir())) == ENTRIES_KEPT


def test_configuration_and_image_have_entries_of_their_own(copy: Path, tmp_path: Path) -> None:
    laptop = tmp_path / "laptop.yml"
    laptop.write_text("workloads: {cardholders: {tunables: {seed: 9}}}\n")
    first = definitions.render("cardholders", "build", load(copy, environ={}), copy)
    second = definitions.render("cardholders", "build", load(copy, laptop, {}), copy)
    (copy / "seed_code" / "cardholders" / "program.py").write_text("print('changed')\n")
    third = definitions.render("cardholders", "build", load(copy, environ={}), copy)
    assert len({first, second, third}) == len(_entries(copy)) == 3
    assert images.read(copy, "cardholders").digest[:32] in third


def test_a_cache_that_cannot_be_written_is_done_without(copy: Path) -> None:
    LocalPaths(copy).state.write_text("a file where the folder would be")
    assert definitions.render("cardholders", "build", load(copy, environ={}), copy).startswith("{")


def test_a_pipeline_that_does_not_exist_is_refused_with_a_suggestion(copy: Path) -> None:
    with pytest.raises(UsageError, match="did you mean `cardholders build`"):
        definitions.render("cardholder", "build", load(copy, environ={}), copy)


def test_the_verb_prints_the_definition_and_needs_no_account(
    copy: Path, mlops: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "MLOPS_"))]:
        monkeypatch.delenv(name)
    status, out, err = mlops(copy, "definition", "cardholders", "build")
    assert (status, err) == (0, "")
    assert out.strip() == definitions.render("cardholders", "build", load(copy, environ={}), copy)
    status, out, err = mlops(copy, "definition", "cardholders", "biuld")
    assert (status, out) == (2, "")
    assert "did you mean `cardholders build`" in err


# --- the deploy pipelines ---------------------------------------------------------------------------------------------


@pytest.fixture
def deployment(rendered: dict[tuple[str, str], str]) -> dict[str, Any]:
    """The pipeline that deploys cardholders to production."""
    found: dict[str, Any] = json.loads(rendered["cardholders", "deploy-prod"])
    return found


def test_the_deploy_definition_is_the_golden_one(deployment: dict[str, Any], regenerate: bool) -> None:
    golden = GOLDEN / "cardholders-deploy-prod.json"
    shown = json.dumps(deployment, indent=1) + "\n"
    if regenerate:
        golden.write_text(shown)
    assert shown == golden.read_text(), "if the change is meant: pytest tests/pipelines/test_definition.py --regenerate"


def test_all_deploy_pipelines_are_the_same_but_for_workload_stage_and_settings(
    rendered: dict[tuple[str, str], str], deployment: dict[str, Any]
) -> None:
    for workload in ("cardholders", "forecaster"):
        for stage in ("staging", "prod"):
            text = rendered[workload, f"deploy-{stage}"].replace(workload, "cardholders").replace(stage, "prod")
            assert json.loads(text)["Steps"] == deployment["Steps"]


def test_the_stages_settings_are_the_parameters_defaults(
    rendered: dict[tuple[str, str], str], configuration: Configuration
) -> None:
    def defaults(stage: str) -> dict[str, Any]:
        declared = json.loads(rendered["forecaster", f"deploy-{stage}"])["Parameters"]
        return {one["Name"]: one.get("DefaultValue") for one in declared}

    prod, staging = defaults("prod"), defaults("staging")
    assert prod["Stage"] == "prod"
    assert prod["ModelPackageArn"] is None
    assert prod["MlflowTrackingUri"] is None
    assert (prod["Traffic"], prod["StepPercent"], prod["WaitSeconds"]) == ("CANARY", 50, 300)
    assert (prod["MinInstances"], prod["MaxInstances"], prod["InvocationsPerInstance"]) == (2, 4, 3000)
    # Without scaling the bounds are the number of machines.
    assert (staging["MinInstances"], staging["MaxInstances"], staging["InvocationsPerInstance"]) == (1, 1, 0)
    assert staging["InstanceType"] == configuration.stages.staging.endpoint.instance_type


def test_what_may_fail_after_the_update_is_followed_by_a_roll_back(deployment: dict[str, Any]) -> None:
    known = steps(deployment)
    order = ["UpdateEndpoint", "WaitForEndpoint", "TestEndpoint", "SetScaling"]
    for before, after in pairwise(order):
        assert {before} <= _needs(known[after]), after
        for output in ("Status", "Reason"):
            assert known[after]["Arguments"][output] == {"Get": f"Steps.{before}.OutputParameters['{output}']"}
    decided = known["Deployed"]["Arguments"]
    assert decided["Conditions"][0]["LeftValue"] == {"Get": "Steps.SetScaling.OutputParameters['Status']"}
    assert decided["IfSteps"] == ["MarkServing"]
    assert decided["ElseSteps"] == ["RollBack", "WaitForRollBack", "DeploymentFailed"]
    assert _needs(known["RollBack"]) == {"UpdateEndpoint"}
    reasons = {get for get in _gets(known["DeploymentFailed"]["Arguments"])}
    assert reasons == {f"Steps.{step}.OutputParameters['Reason']" for step in ("SetScaling", "WaitForRollBack")}


def test_no_deployment_step_is_cached_and_every_parameter_of_it_is_used(deployment: dict[str, Any]) -> None:
    assert not any("CacheConfig" in step for step in steps(deployment).values())
    declared = {one["Name"] for one in deployment["Parameters"]}
    assert {get.split(".")[1] for get in _gets(deployment["Steps"]) if get.startswith("Parameters.")} == declared


def test_the_functions_know_every_action_and_output_that_the_pipeline_asks_for(
    deployment: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.deploy.functions.steps import ACTIONS

    asked = {}
    for step in steps(deployment).values():
        if step["Type"] == "Lambda":
            outputs = [one["OutputName"] for one in step["OutputParameters"]]
            asked[step["Arguments"]["Action"]] = tuple(outputs[2:])
            assert outputs[:2] == ["Status", "Reason"]
    assert asked == {action: outputs for action, (_, outputs) in ACTIONS.items()}
