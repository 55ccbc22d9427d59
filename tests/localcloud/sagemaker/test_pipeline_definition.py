"""What is wrong with a definition is said, all at once, and names the thing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localcloud.errors import ServiceError
from localcloud.sagemaker.pipelines.definition import parse

JOB = {
    "RoleArn": "arn:aws:iam::123456789012:role/x",
    "AppSpecification": {"ImageUri": "image"},
    "ProcessingResources": {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}},
    "ProcessingOutputConfig": {
        "Outputs": [
            {
                "OutputName": "out",
                "S3Output": {"S3Uri": "s3://b/x", "LocalPath": "/opt/ml/processing/x", "S3UploadMode": "EndOfJob"},
            }
        ]
    },
}


def job(name: str, **members: Any) -> dict[str, Any]:
    return {"Name": name, "Type": "Processing", "Arguments": JOB, **members}


def with_argument(name: str, value: Any, **members: Any) -> dict[str, Any]:
    return {**job(name, **members), "Arguments": {**JOB, "Environment": {"X": value}}}


def gate(condition: Any, *if_steps: Any) -> dict[str, Any]:
    arguments = {"Conditions": [condition], "IfSteps": list(if_steps), "ElseSteps": []}
    return {"Name": "Gate", "Type": "Condition", "Arguments": arguments}


def document(*steps: Any, parameters: Any = (), **members: Any) -> dict[str, Any]:
    return {"Version": "2020-12-01", "Parameters": list(parameters), "Steps": list(steps), **members}


def message(definition: Any) -> str:
    with pytest.raises(ServiceError) as raised:
        parse(definition if isinstance(definition, str) else json.dumps(definition))
    assert raised.value.code == "ValidationException"
    return raised.value.message


def parameter(**members: Any) -> dict[str, Any]:
    return {"Name": "P", "Type": "Integer", **members}


EQUALS = {"Type": "Equals", "LeftValue": 1, "RightValue": 1}
MISTAKES: dict[str, tuple[Any, str]] = {
    "no json": ("{", "not JSON"),
    "a list": ([], "expected an object"),
    "version": (document(job("A")) | {"Version": "2019"}, "Version must be '2020-12-01'; got '2019'"),
    "no steps": (document(), "Steps must be a list"),
    "unknown type": (document({"Name": "A", "Type": "Spark", "Arguments": {}}), "unknown type 'Spark'"),
    "no arguments": (document({"Name": "A", "Type": "Processing"}), "step 'A' needs Arguments"),
    "required member": (
        document({"Name": "A", "Type": "Processing", "Arguments": {**JOB, "AppSpecification": {}}}),
        "AppSpecification lacks 'ImageUri'",
    ),
    "unknown member": (
        document({"Name": "A", "Type": "Processing", "Arguments": {**JOB, "Image": "x"}}),
        "unknown member 'Image'",
    ),
    "wrong type of a member": (
        document({"Name": "A", "Type": "Processing", "Arguments": {**JOB, "RoleArn": 5}}),
        "Arguments.RoleArn must be of type string; got 5",
    ),
    "two of a name": (document(job("A"), job("A")), "two steps named 'A'"),
    "two of a name in a branch": (document(job("A"), gate(EQUALS, job("A"))), "two steps named 'A'"),
    "bad name": (document(job("A B")), "has the name 'A B'"),
    "depends on nothing": (document(job("A", DependsOn=["B"])), "step 'A' depends on 'B'"),
    "get of no step": (document(with_argument("A", {"Get": "Steps.B.ProcessingJobName"})), "names the step 'B'"),
    "get of no property": (
        document(job("A"), with_argument("B", {"Get": "Steps.A.ModelArtifacts"})),
        "step 'A' has no property 'ModelArtifacts'",
    ),
    "get of no output": (
        document(job("A"), with_argument("B", {"Get": "Steps.A.ProcessingOutputConfig.Outputs['in'].S3Output.S3Uri"})),
        "step 'A' has no output 'in'; it has: out",
    ),
    "get of no parameter": (document(with_argument("A", {"Get": "Parameters.X"})), "there is no parameter 'X'"),
    "get of no variable": (document(with_argument("A", {"Get": "Execution.Name"})), "there is no Execution.Name"),
    "get in a join": (
        document(with_argument("A", {"Std:Join": {"On": "", "Values": [{"Get": "Parameters.X"}]}})),
        "there is no parameter 'X'",
    ),
    "get of nonsense": (document(with_argument("A", {"Get": "Nothing"})), "'Nothing' is no reference"),
    "unreadable get": (document(with_argument("A", {"Get": "Steps.A[x"})), "cannot be read at '[x'"),
    "no such function": (document(with_argument("A", {"Std:Split": {}})), "unknown function 'Std:Split'"),
    "join without values": (document(with_argument("A", {"Std:Join": {"On": ""}})), "Std:Join needs On"),
    "no property file": (
        document(
            job("A"),
            gate(
                {
                    **EQUALS,
                    "LeftValue": {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.A.PropertyFiles.F"}, "Path": "x"}},
                }
            ),
        ),
        "step 'A' has no property file 'F'",
    ),
    "property file in no output": (
        document(job("A", PropertyFiles=[{"PropertyFileName": "F", "OutputName": "no", "FilePath": "f.json"}])),
        "is in the output 'no', but the step's outputs are: out",
    ),
    "member of the document": (document(job("A"), Step=[]), "the definition has the unknown member 'Step'"),
    "mlflow": (document(job("A"), MlflowConfig={"ExperimentName": "e"}), "leave MlflowConfig out"),
    "member of a step": (document(job("A", Dependson=["B"])), "step 'A' has the unknown member 'Dependson'"),
    "member of a condition": (
        document({"Name": "G", "Type": "Condition", "Arguments": {"Conditions": [EQUALS], "Ifsteps": []}}),
        "step 'G': Arguments has the unknown member 'Ifsteps'",
    ),
    "member of a parameter": (document(job("A"), parameters=[parameter(Default=5)]), "unknown member 'Default'"),
    "member of the experiment": (document(job("A"), PipelineExperimentConfig={"Name": "x"}), "unknown member 'Name'"),
    "step type of another type": (document(job("A") | {"Type": ["Fail"]}), "step 'A': Type must be text; got a list"),
    "policies of another type": (document(job("A", RetryPolicies=3)), "RetryPolicies must be a list; got 3"),
    "parameter type of another type": (document(job("A"), parameters=[parameter(Type=[])]), "Type must be text"),
    "enum of another type": (document(job("A"), parameters=[parameter(EnumValues=5)]), "EnumValues must be a list"),
    "condition type of another type": (document(gate({"Type": ["Equals"]})), "must be an object with a Type"),
    "half an attempt": (
        document(job("A", RetryPolicies=[{"ExceptionType": ["Step.THROTTLING"], "MaxAttempts": 1.5}])),
        "MaxAttempts must be a whole number; got 1.5",
    ),
    "no number": ('{"Version": NaN}', "NaN is no JSON number"),
    "too deep to read": ("[" * 100_000, "nested too deeply"),
    "too deep to resolve": (document(with_argument("A", json.loads("[" * 200 + "]" * 200))), "nested more than"),
    "circle": (document(job("A", DependsOn=["B"]), job("B", DependsOn=["A"])), "depend on each other in a circle"),
    "circle of a get and a branch": (
        document(gate({**EQUALS, "LeftValue": {"Get": "Steps.A.ProcessingJobName"}}, job("A"))),
        "depend on each other in a circle",
    ),
    "condition type": (document(gate({"Type": "Like"})), "unknown condition type 'Like'"),
    "condition without a side": (document(gate({"Type": "Equals", "LeftValue": 1})), "lacks RightValue"),
    "condition within": (
        document(gate({"Type": "Not", "Condition": {"Type": "Or", "Conditions": []}})),
        "Conditions[0].Condition.Conditions must be a list",
    ),
    "fail without a message": (document({"Name": "F", "Type": "Fail", "Arguments": {}}), "needs an ErrorMessage"),
    "parameter type": (document(job("A"), parameters=[parameter(Type="List")]), "has the type 'List'"),
    "parameter default": (document(job("A"), parameters=[parameter(DefaultValue="5")]), "must be of type Integer"),
    "boolean is no integer": (
        document(job("A"), parameters=[parameter(DefaultValue=True)]),
        "must be of type Integer; got True",
    ),
    "enum": (document(job("A"), parameters=[parameter(DefaultValue=5, EnumValues=[1, 2])]), "one of 1, 2; got 5"),
    "enum type": (document(job("A"), parameters=[parameter(EnumValues=["x"])]), "enum value 'x'"),
    "two parameters": (document(job("A"), parameters=[parameter(), parameter()]), "two parameters named 'P'"),
    "cache": (document(job("A", CacheConfig={"Enabled": True, "ExpireAfter": "soon"})), "no ISO 8601 duration"),
    "retry": (
        document(job("A", RetryPolicies=[{"ExceptionType": ["Oops"], "MaxAttempts": 3}])),
        "RetryPolicies[0]: ExceptionType must be a list of",
    ),
    "retry both limits": (
        document(
            job("A", RetryPolicies=[{"ExceptionType": ["Step.THROTTLING"], "MaxAttempts": 3, "ExpireAfterMin": 5}])
        ),
        "give one of MaxAttempts and ExpireAfterMin",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named(name: str) -> None:
    definition, expected = MISTAKES[name]
    assert expected in message(definition)


def test_every_mistake_is_listed() -> None:
    text = message(
        document(
            {"Name": "A", "Type": "Spark", "Arguments": {}},
            job("B", DependsOn=["Nowhere"]),
            with_argument("C", {"Get": "Parameters.Missing"}),
            parameters=[parameter(DefaultValue="five")],
        )
    )
    assert "4 mistakes" in text
    for word in ("'Spark'", "'Nowhere'", "'Missing'", "'five'"):
        assert word in text


def test_needs_come_from_gets_and_depends_on_and_branches() -> None:
    name = {"Get": "Steps.A.ProcessingJobName"}
    inner = with_argument("Inner", {"Std:Join": {"On": "-", "Values": [{"Get": "Steps.B.ProcessingJobName"}]}})
    condition = {"Type": "Or", "Conditions": [{"Type": "In", "QueryValue": name, "Values": ["x"]}]}
    read = parse(json.dumps(document(job("A"), job("B", DependsOn=["A"]), gate(condition, inner))))
    assert {step.name: set(step.needs) for step in read.steps.values()} == {
        "A": set(),
        "B": {"A"},
        "Gate": {"A"},
        "Inner": {"Gate", "B"},
    }
    assert read.steps["Inner"].gate == ("Gate", True)


def test_parameters_are_typed() -> None:
    types = (("I", "Integer"), ("F", "Float"), ("B", "Boolean"), ("S", "String"))
    read = parse(json.dumps(document(job("A"), parameters=[{"Name": name, "Type": kind} for name, kind in types])))
    given = {"I": "7", "F": "1e-3", "B": "True", "S": "7"}
    values = read.values([{"Name": name, "Value": value} for name, value in given.items()])
    assert values == {"I": 7, "F": 0.001, "B": True, "S": "7"}
    with pytest.raises(ServiceError, match="no default and was not given"):
        read.values([])


def test_null_is_as_good_as_absent() -> None:
    # The SDK writes these.
    read = parse(json.dumps(document(job("A", CacheConfig=None), MlflowConfig=None, PipelineExperimentConfig=None)))
    assert list(read.steps) == ["A"]


@pytest.mark.parametrize(
    ("kind", "text"), [("Integer", "1_000"), ("Integer", "\u0661"), ("Float", "nan"), ("Float", "")]
)
def test_what_only_python_takes_for_a_number_is_refused(kind: str, text: str) -> None:
    read = parse(json.dumps(document(job("A"), parameters=[{"Name": "P", "Type": kind}])))
    with pytest.raises(ServiceError, match=f"'P' is of type {kind}"):
        read.values([{"Name": "P", "Value": text}])
