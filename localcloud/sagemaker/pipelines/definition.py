"""A pipeline definition (version 2020-12-01), read and checked.

`parse` finds every mistake there is and raises one error with them all. A `Definition` that it gives is one whose steps
are of known types, whose references lead somewhere, and whose graph has an order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from botocore.model import Shape

from localcloud.errors import ServiceError, validation
from localcloud.sagemaker import shapes
from localcloud.sagemaker.pipelines import conditions, retry
from localcloud.sagemaker.pipelines.duration import DurationError, parse_duration
from localcloud.sagemaker.pipelines.paths import PathError
from localcloud.sagemaker.pipelines.paths import parse as parse_path

VERSION = "2020-12-01"
_UNREADABLE = "Unable to parse pipeline definition"
STEP_TYPES = (
    "Processing",
    "Training",
    "Transform",
    "Model",
    "RegisterModel",
    "Lambda",
    "Callback",
    "Condition",
    "Fail",
)
CACHEABLE = ("Processing", "Training", "Transform", "Lambda", "Callback")
# What a step calls, and where the definition says which one.
CALLED_BY = {"Lambda": "FunctionArn", "Callback": "SqsQueueUrl"}
# What a step's Gets see: the response of the operation that describes what it made.
DESCRIBED_BY = {
    "Processing": "DescribeProcessingJob",
    "Training": "DescribeTrainingJob",
    "Transform": "DescribeTransformJob",
    "Model": "DescribeModel",
    "RegisterModel": "DescribeModelPackage",
}
REQUESTED_BY = {
    "Processing": "CreateProcessingJob",
    "Training": "CreateTrainingJob",
    "Transform": "CreateTransformJob",
    "Model": "CreateModel",
    "RegisterModel": "CreateModelPackage",
}
# Set by the service when the step runs, so a definition may leave them out.
SET_BY_SERVICE = {"ProcessingJobName", "TrainingJobName", "TransformJobName", "ModelName", "ClientToken"}
EXECUTION_VARIABLES = (
    "CurrentDateTime",
    "PipelineArn",
    "PipelineExecutionArn",
    "PipelineExecutionId",
    "PipelineName",
    "ProcessingJobName",
    "StartDateTime",
    "TrainingJobName",
    "TransformJobName",
)
_TYPES: dict[str, tuple[type, ...]] = {"String": (str,), "Integer": (int,), "Float": (int, float), "Boolean": (bool,)}
# Members of the objects that a definition is made of, and their JSON types. null is as good as absent.
_Members = Mapping[str, tuple[type, ...]]
_ANY: tuple[type, ...] = (object,)
_DOCUMENT: _Members = {
    "Version": (str,),
    "Metadata": _ANY,
    "MlflowConfig": _ANY,
    "Parameters": (list,),
    "PipelineExperimentConfig": (dict,),
    "Steps": (list,),
}
_PARAMETER: _Members = {
    "Name": (str,),
    "Type": (str,),
    "Description": (str,),
    "DefaultValue": _ANY,
    "EnumValues": (list,),
}
_STEP: _Members = {
    "Name": (str,),
    "Type": (str,),
    "Arguments": (dict,),
    "DependsOn": (list,),
    "DisplayName": (str,),
    "Description": (str,),
    "CacheConfig": (dict,),
    "RetryPolicies": (list,),
    "PropertyFiles": (list,),
}
_CALL: Mapping[str, _Members] = {
    name: {member: (str, dict), "OutputParameters": (list,)} for name, member in CALLED_BY.items()
}
_OUTPUT: _Members = {"OutputName": (str,), "OutputType": (str,)}
_MOST_OUTPUTS = 50
_CONDITION: _Members = {"Conditions": (list,), "IfSteps": (list,), "ElseSteps": (list,)}
_FAIL: _Members = {"ErrorMessage": (str, dict)}
_EXPERIMENT: _Members = {"ExperimentName": (str, dict), "TrialName": (str, dict)}
_CACHE: _Members = {"Enabled": (bool,), "ExpireAfter": (str,)}
_PROPERTY_FILE: _Members = {"PropertyFileName": (str,), "OutputName": (str,), "FilePath": (str,)}
_DEEPEST = 100
_INTEGER, _FLOAT = re.compile(r"[+-]?[0-9]+"), re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PARAMETER_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}")


@dataclass(frozen=True)
class Parameter:
    """A pipeline parameter. `default` is None where there is none: such a one must be given at the start."""

    name: str
    type: str
    default: Any = None
    choices: tuple[Any, ...] = ()

    def convert(self, text: str) -> Any:
        """The value that StartPipelineExecution gives as text. Raises ValueError saying what was expected."""
        value: Any = text
        try:
            if self.type == "Integer":
                value = int(_matching(_INTEGER, text))
            elif self.type == "Float":
                value = float(_matching(_FLOAT, text))
            elif self.type == "Boolean":
                value = {"true": True, "false": False}[text.lower()]
        except (ValueError, KeyError):
            raise ValueError(f"parameter {self.name!r} is of type {self.type}; got {text!r}") from None
        if self.choices and value not in self.choices:
            raise ValueError(f"parameter {self.name!r} is one of {', '.join(map(repr, self.choices))}; got {text!r}")
        return value


@dataclass(frozen=True)
class Step:
    """One step. `needs` are the steps that must have succeeded first; `gate` says which condition's branch it is in."""

    name: str
    type: str
    arguments: Mapping[str, Any]
    needs: frozenset[str]
    gate: tuple[str, bool] | None = None
    display_name: str | None = None
    description: str | None = None
    cache_enabled: bool = False
    cache_expiry: str | None = None
    retry_policies: tuple[retry.Policy, ...] = ()
    property_files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    called: Any = None
    """The function's ARN of a Lambda step, the queue's URL of a Callback step; both may be expressions."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """The types of the output parameters that such a step declares, by name."""


@dataclass(frozen=True)
class Definition:
    """A definition without mistakes. Steps are in the document's order, those of branches after their condition."""

    parameters: Mapping[str, Parameter]
    steps: Mapping[str, Step]
    experiment: Mapping[str, Any] | None = None

    def values(self, given: list[dict[str, str]]) -> dict[str, Any]:
        """The value of every parameter, typed. Raises ValidationException with all that is wrong with those given."""
        mistakes: list[str] = []
        values: dict[str, Any] = {name: parameter.default for name, parameter in self.parameters.items()}
        seen: set[str] = set()
        for entry in given:
            name = entry["Name"]
            parameter = self.parameters.get(name)
            if parameter is None:
                known = ", ".join(sorted(self.parameters)) or "none"
                mistakes.append(f"the pipeline has no parameter {name!r}; its parameters are: {known}")
                continue
            if name in seen:
                mistakes.append(f"parameter {name!r} is given twice")
            seen.add(name)
            try:
                values[name] = parameter.convert(entry["Value"])
            except ValueError as error:
                mistakes.append(str(error))
        for name, parameter in self.parameters.items():
            if parameter.default is None and name not in seen:
                mistakes.append(f"parameter {name!r} of type {parameter.type} has no default and was not given")
        if mistakes:
            raise _error("Invalid pipeline parameters", mistakes)
        return values


def parse(text: str) -> Definition:
    """Read a definition. Raises ValidationException that lists every mistake found."""
    try:
        document = json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise validation(f"{_UNREADABLE}: it is nested too deeply") from None
    except ValueError as error:
        raise validation(f"{_UNREADABLE}: it is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise validation(f"{_UNREADABLE}: expected an object, got {_kind(document)}")
    if _is_deeper(document, _DEEPEST):
        raise validation(f"{_UNREADABLE}: it is nested more than {_DEEPEST} levels deep")
    return _Reader(document).read()


@dataclass(frozen=True)
class Reference:
    """A `Get`, and where it stands."""

    target: str
    where: str


def references(value: Any, where: str) -> Iterator[Reference]:
    """Every Get in a JSON value, also those within Std:Join and Std:JsonGet."""
    if isinstance(value, dict):
        if set(value) == {"Get"} and isinstance(value["Get"], str):
            yield Reference(value["Get"], where)
            return
        for key, item in value.items():
            yield from references(item, f"{where}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from references(item, f"{where}[{index}]")


class _Reader:
    """Walks one document and gathers what is wrong with it."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._mistakes: list[str] = []
        # Name, document and gate of each step, branches' included, before anything in them is looked at.
        self._raw: dict[str, tuple[dict[str, Any], tuple[str, bool] | None]] = {}
        self._parameters: dict[str, Parameter] = {}

    def read(self) -> Definition:
        document = self._known("the definition", self._document, _DOCUMENT)
        if document.get("Version") != VERSION:
            self._wrong(f"Version must be {VERSION!r}; got {document.get('Version')!r}")
        if document.get("MlflowConfig"):
            self._wrong("localcloud writes no execution to MLflow by itself: leave MlflowConfig out, or null")
        self._read_parameters(document.get("Parameters", []))
        if not document.get("Steps"):
            self._wrong("Steps must be a list of at least one step")
        self._collect(document.get("Steps", []), None, "Steps")
        read = {name: self._read_step(name, document, gate) for name, (document, gate) in self._raw.items()}
        self._check_order(read)
        where = "PipelineExperimentConfig"
        experiment = self._known(where, document.get(where, {}), _EXPERIMENT)
        self._check_references(experiment, where)
        if self._mistakes:
            raise _error(_UNREADABLE, self._mistakes)
        return Definition(self._parameters, read, experiment)

    def _known(self, where: str, value: Any, members: _Members) -> dict[str, Any]:
        """The members of an object that it may have, without the empty ones; whatever else is in it is a mistake."""
        if not isinstance(value, dict):
            self._wrong(f"{where} must be an object; got {_kind(value)}")
            return {}
        for name in value.keys() - members.keys():
            if value[name] is not None:
                self._wrong(f"{where} has the unknown member {name!r}; known are {', '.join(members)}")
        known: dict[str, Any] = {}
        for name, types in members.items():
            item = value.get(name)
            if isinstance(item, types) and item is not None:
                known[name] = item
            elif item is not None:
                expected = " or ".join(_KINDS[type_name] for type_name in types)
                self._wrong(f"{where}: {name} must be {expected}; got {_kind(item)}")
        return known

    def _wrong(self, message: str) -> None:
        if message not in self._mistakes:
            self._mistakes.append(message)

    def _read_parameters(self, entries: list[Any]) -> None:
        for index, raw in enumerate(entries):
            where = f"Parameters[{index}]"
            entry = self._known(where, raw, _PARAMETER)
            name, type_name = entry.get("Name"), entry.get("Type")
            if name is None or not _PARAMETER_NAME.fullmatch(name):
                self._wrong(f"{where} has the name {name!r}; expected letters, digits, '-' and '_'")
                continue
            if name in self._parameters:
                self._wrong(f"there are two parameters named {name!r}")
            if type_name not in _TYPES:
                self._wrong(f"parameter {name!r} has the type {type_name!r}; expected {', '.join(_TYPES)}")
                type_name = "String"
            default, choices = entry.get("DefaultValue"), entry.get("EnumValues", [])
            if default is not None and not is_of_type(default, type_name):
                self._wrong(f"the default of parameter {name!r} must be of type {type_name}; got {default!r}")
            for choice in choices:
                if not is_of_type(choice, type_name):
                    self._wrong(f"the enum value {choice!r} of parameter {name!r} must be of type {type_name}")
            if choices and default is not None and default not in choices:
                allowed = ", ".join(map(repr, choices))
                self._wrong(f"the default of parameter {name!r} must be one of {allowed}; got {default!r}")
            self._parameters[name] = Parameter(name, type_name, default, tuple(choices))

    def _collect(self, steps: list[Any], gate: tuple[str, bool] | None, where: str) -> None:
        for index, raw in enumerate(steps):
            named = isinstance(raw, dict) and isinstance(raw.get("Name"), str)
            members = {**_STEP, **_CALL.get(str(raw.get("Type")), {})} if isinstance(raw, dict) else _STEP
            step = self._known(f"step {raw['Name']!r}" if named else f"{where}[{index}]", raw, members)
            name = step.get("Name")
            if name is None or not _NAME.fullmatch(name):
                self._wrong(f"{where}[{index}] has the name {name!r}; expected 1 to 64 letters, digits, '-' and '_'")
                continue
            if name in self._raw:
                self._wrong(f"there are two steps named {name!r}; names must be unique, branches included")
                continue
            self._raw[name] = (step, gate)
            if step.get("Type") == "Condition":
                arguments = self._known(f"step {name!r}: Arguments", step.get("Arguments", {}), _CONDITION)
                self._collect(arguments.get("IfSteps", []), (name, True), f"IfSteps of {name!r}")
                self._collect(arguments.get("ElseSteps", []), (name, False), f"ElseSteps of {name!r}")

    def _read_step(self, name: str, document: dict[str, Any], gate: tuple[str, bool] | None) -> Step:
        where = f"step {name!r}"
        type_name, arguments = document.get("Type"), document.get("Arguments")
        if type_name not in STEP_TYPES:
            self._wrong(f"{where} has the unknown type {type_name!r}; known are {', '.join(STEP_TYPES)}")
        if arguments is None:
            self._wrong(f"{where} needs Arguments, an object")
            arguments = {}
        needs = {gate[0]} if gate else set()
        own = arguments
        if type_name == "Condition":
            # The branches are steps of their own: what they refer to is no need of the condition's.
            own = {"Conditions": arguments.get("Conditions")}
            for mistake in conditions.mistakes(own["Conditions"]):
                self._wrong(f"{where}: {mistake}")
        elif type_name == "Fail":
            if "ErrorMessage" not in self._known(f"{where}: Arguments", arguments, _FAIL):
                self._wrong(f"{where} needs an ErrorMessage in its Arguments")
        elif type_name in CALLED_BY:
            own = {"Arguments": arguments, CALLED_BY[type_name]: document.get(CALLED_BY[type_name])}
            if own[CALLED_BY[type_name]] is None:
                self._wrong(f"{where} needs {CALLED_BY[type_name]}")
        elif type_name in REQUESTED_BY:
            self._check_arguments(where, REQUESTED_BY[type_name], arguments)
        self._check_functions(own, f"{where}: Arguments")
        needs |= self._check_references(own, f"{where}: Arguments", name)
        for other in document.get("DependsOn", []):
            if not isinstance(other, str) or other not in self._raw:
                self._wrong(f"{where} depends on {other!r}, but there is no step of that name")
            else:
                needs.add(other)
        enabled, expiry = self._read_cache(where, document.get("CacheConfig"))
        policies: list[retry.Policy] = []
        for index, policy in enumerate(document.get("RetryPolicies", [])):
            try:
                policies.append(retry.read(policy))
            except ValueError as error:
                self._wrong(f"{where}: RetryPolicies[{index}]: {error}")
        return Step(
            name=name,
            type=str(type_name),
            arguments=arguments,
            needs=frozenset(needs),
            gate=gate,
            display_name=document.get("DisplayName"),
            description=document.get("Description"),
            cache_enabled=enabled,
            cache_expiry=expiry,
            retry_policies=tuple(policies),
            property_files=self._read_property_files(where, document),
            called=document.get(CALLED_BY.get(str(type_name), "")),
            outputs=self._read_outputs(where, document),
        )

    def _read_cache(self, where: str, document: dict[str, Any] | None) -> tuple[bool, str | None]:
        if not document:
            return False, None
        cache = self._known(f"{where}: CacheConfig", document, _CACHE)
        if "Enabled" not in cache:
            self._wrong(f"{where}: CacheConfig needs Enabled, true or false")
            return False, None
        expiry = cache.get("ExpireAfter")
        if expiry is not None:
            try:
                parse_duration(expiry)
            except DurationError as error:
                self._wrong(f"{where}: CacheConfig.ExpireAfter: {error}")
        return cache["Enabled"], expiry

    def _read_outputs(self, where: str, document: dict[str, Any]) -> dict[str, str]:
        outputs: dict[str, str] = {}
        entries = document.get("OutputParameters", [])
        if len(entries) > _MOST_OUTPUTS:
            self._wrong(f"{where} has {len(entries)} OutputParameters; a step has at most {_MOST_OUTPUTS}")
        for index, raw in enumerate(entries):
            place = f"{where}: OutputParameters[{index}]"
            entry = self._known(place, raw, _OUTPUT)
            name, type_name = entry.get("OutputName"), entry.get("OutputType", "String")
            if not name:
                self._wrong(f"{place} needs an OutputName")
                continue
            if name in outputs:
                self._wrong(f"{where} has two output parameters named {name!r}")
            if type_name not in _TYPES:
                self._wrong(f"{place}: the OutputType of {name!r} is {type_name!r}; expected {', '.join(_TYPES)}")
            outputs[name] = type_name
        return outputs

    def _read_property_files(self, where: str, document: dict[str, Any]) -> dict[str, dict[str, str]]:
        files: dict[str, dict[str, str]] = {}
        for index, raw in enumerate(document.get("PropertyFiles", [])):
            entry = self._known(f"{where}: PropertyFiles[{index}]", raw, _PROPERTY_FILE)
            if len(entry) < len(_PROPERTY_FILE):
                self._wrong(f"{where}: PropertyFiles[{index}] needs {', '.join(_PROPERTY_FILE)} as text; got {raw!r}")
                continue
            outputs = _output_names(document)
            if outputs is not None and entry["OutputName"] not in outputs:
                self._wrong(
                    f"{where}: property file {entry['PropertyFileName']!r} is in the output {entry['OutputName']!r},"
                    f" but the step's outputs are: {', '.join(sorted(outputs)) or 'none'}"
                )
            files[entry["PropertyFileName"]] = entry
        return files

    def _check_arguments(self, where: str, operation: str, arguments: dict[str, Any]) -> None:
        """Members that the request does not know, and required ones that are missing: values are known at run time."""
        shape = shapes.operation(operation).input_shape
        required = set(shape.required_members) - SET_BY_SERVICE
        if operation == "CreateTransformJob":
            required.add("ModelName")  # names what there is, and not what the step makes
        self._check_members(where, "Arguments", arguments, shape, required)

    def _check_members(self, where: str, path: str, value: Any, shape: Shape, required: set[str]) -> None:
        for name in sorted(required - set(value)):
            self._wrong(f"{where}: {path} lacks {name!r}, which {shape.name} requires")
        for name in value:
            if name not in shape.members:
                known = ", ".join(sorted(shape.members))
                self._wrong(f"{where}: {path} has the unknown member {name!r}; {shape.name} has {known}")
        for name, item in value.items():
            if name in shape.members:
                self._check_value(where, f"{path}.{name}", item, shape.members[name])

    def _check_value(self, where: str, path: str, value: Any, shape: Shape) -> None:
        if _is_expression(value):
            return
        if shape.type_name == "structure" and isinstance(value, dict):
            self._check_members(where, path, value, shape, set(shape.required_members) - SET_BY_SERVICE)
        elif shape.type_name == "list" and isinstance(value, list):
            for index, item in enumerate(value):
                self._check_value(where, f"{path}[{index}]", item, shape.member)
        elif shape.type_name in _JSON_TYPES and not isinstance(value, _JSON_TYPES[shape.type_name]):
            self._wrong(f"{where}: {path} must be of type {shape.type_name}; got {value!r}")

    def _check_functions(self, value: Any, where: str) -> None:
        """Std: functions are known ones, with the members that they need."""
        if isinstance(value, list):
            for index, item in enumerate(value):
                self._check_functions(item, f"{where}[{index}]")
        if not isinstance(value, dict):
            return
        for key, item in value.items():
            if key.startswith("Std:") and key not in ("Std:Join", "Std:JsonGet"):
                self._wrong(f"{where}: unknown function {key!r}; known are Std:Join and Std:JsonGet")
            elif key == "Std:Join":
                if not isinstance(item, dict) or not isinstance(item.get("Values"), list) or "On" not in item:
                    self._wrong(f"{where}: Std:Join needs On and a list of Values; got {item!r}")
            elif key == "Std:JsonGet":
                self._check_json_get(item, where)
            self._check_functions(item, f"{where}.{key}")

    def _check_json_get(self, item: Any, where: str) -> None:
        if not isinstance(item, dict) or not isinstance(item.get("Path"), str):
            self._wrong(f"{where}: Std:JsonGet needs a Path; got {item!r}")
            return
        try:
            parse_path(item["Path"])
        except PathError as error:
            self._wrong(f"{where}: Std:JsonGet: {error}")
        source = item.get("PropertyFile")
        named = isinstance(source, dict) and isinstance(source.get("Get"), str)
        if named == ("S3Uri" in item) or (source is not None and not named):
            self._wrong(f"{where}: Std:JsonGet needs a PropertyFile (a Get) or an S3Uri; got {item!r}")
        elif named and isinstance(source, dict) and ".PropertyFiles." not in source["Get"]:
            self._wrong(
                f"{where}: the PropertyFile of Std:JsonGet must be Steps.STEP.PropertyFiles.NAME; got {source!r}"
            )

    def _check_references(self, value: Any, where: str, step: str | None = None) -> set[str]:
        """Check each Get; gives the steps that they name."""
        needs: set[str] = set()
        for reference in references(value, where):
            try:
                parts = parse_path(reference.target)
            except PathError as error:
                self._wrong(f"{reference.where}: {error}")
                continue
            head, rest = (parts[0], parts[1:]) if parts else ("", ())
            if head == "Parameters" and len(rest) == 1:
                if rest[0] not in self._parameters:
                    known = ", ".join(sorted(self._parameters)) or "none"
                    self._wrong(f"{reference.where}: there is no parameter {rest[0]!r}; there are: {known}")
            elif head == "Execution" and len(rest) == 1:
                if rest[0] not in EXECUTION_VARIABLES:
                    self._wrong(
                        f"{reference.where}: there is no Execution.{rest[0]}; there are:"
                        f" {', '.join(EXECUTION_VARIABLES)}"
                    )
            elif head == "Steps" and len(rest) >= 2 and step is not None:
                target = str(rest[0])
                if target not in self._raw:
                    known = ", ".join(self._raw)
                    self._wrong(
                        f"{reference.where}: {reference.target!r} names the step {target!r}; there are: {known}"
                    )
                    continue
                needs.add(target)
                self._check_property(reference, target, rest[1:])
            else:
                self._wrong(
                    f"{reference.where}: {reference.target!r} is no reference; expected Parameters.NAME, Execution.NAME"
                    " or Steps.STEP.PROPERTY"
                )
        return needs

    def _check_property(self, reference: Reference, target: str, path: tuple[str | int, ...]) -> None:
        document, _ = self._raw[target]
        type_name = document.get("Type")
        if path[0] == "PropertyFiles":
            names = [e.get("PropertyFileName") for e in document.get("PropertyFiles", []) if isinstance(e, dict)]
            if len(path) != 2 or path[1] not in names:
                known = ", ".join(map(str, names)) or "none"
                self._wrong(f"{reference.where}: step {target!r} has no property file {path[-1]!r}; it has: {known}")
            return
        if type_name == "Condition":
            if path != ("Outcome",):
                self._wrong(f"{reference.where}: a Condition step has Outcome only; got {reference.target!r}")
            return
        if type_name in CALLED_BY:
            entries = document.get("OutputParameters", [])
            declared = [str(entry.get("OutputName")) for entry in entries if isinstance(entry, dict)]
            if len(path) != 2 or path[0] != "OutputParameters" or path[1] not in declared:
                known = ", ".join(declared) or "none"
                self._wrong(
                    f"{reference.where}: {reference.target!r} is no output parameter of step {target!r}, as"
                    f" OutputParameters['NAME'] would be; it has: {known}"
                )
            return
        if type_name not in DESCRIBED_BY:
            if type_name in STEP_TYPES:
                self._wrong(f"{reference.where}: step {target!r} is of type {type_name}, which has no properties")
            return
        properties = shapes.members(shapes.output_shape(DESCRIBED_BY[type_name]).name)
        if path[0] not in properties:
            self._wrong(
                f"{reference.where}: step {target!r} has no property {path[0]!r}; it has"
                f" {', '.join(sorted(properties))}"
            )
        elif path[:2] == ("ProcessingOutputConfig", "Outputs") and len(path) > 2 and isinstance(path[2], str):
            outputs = _output_names(document)
            if outputs is not None and path[2] not in outputs:
                known_outputs = ", ".join(sorted(outputs)) or "none"
                self._wrong(f"{reference.where}: step {target!r} has no output {path[2]!r}; it has: {known_outputs}")

    def _check_order(self, steps: Mapping[str, Step]) -> None:
        try:
            tuple(TopologicalSorter({name: step.needs for name, step in steps.items()}).static_order())
        except CycleError as error:
            self._wrong(f"the steps depend on each other in a circle: {' -> '.join(reversed(error.args[1]))}")


_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    # Numbers and booleans are left to the check before the step runs: the service takes them as text, too.
}


def _is_expression(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in ("Get", "Std:Join", "Std:JsonGet")


def _output_names(document: dict[str, Any]) -> set[str] | None:
    """The names of a Processing step's outputs, or None where they are not to be seen."""
    try:
        outputs = document["Arguments"].get("ProcessingOutputConfig", {}).get("Outputs", [])
        return {output["OutputName"] for output in outputs if isinstance(output["OutputName"], str)}
    except (KeyError, TypeError, AttributeError):
        return None


def is_of_type(value: Any, type_name: str) -> bool:
    """Whether a value, as of JSON, is one of a parameter's type."""
    # True is an int to Python, and never one to a pipeline.
    return isinstance(value, _TYPES[type_name]) and isinstance(value, bool) == (type_name == "Boolean")


_KINDS = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}


def _kind(value: Any) -> str:
    return repr(value) if isinstance(value, bool) else _KINDS.get(type(value), repr(value))


def _matching(pattern: re.Pattern[str], text: str) -> str:
    """Python's own numbers are more than AWS's: `1_000`, `nan`, digits of other scripts."""
    if pattern.fullmatch(text) is None:
        raise ValueError(text)
    return text


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    items = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in items)


def _error(what: str, mistakes: list[str]) -> ServiceError:
    if len(mistakes) == 1:
        return validation(f"{what}: {mistakes[0]}")
    listed = "\n".join(f"  {number}. {mistake}" for number, mistake in enumerate(mistakes, 1))
    return validation(f"{what}: {len(mistakes)} mistakes\n{listed}")
