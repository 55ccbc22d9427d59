"""The runtime values of the workloads: parameters of the pipelines whose values live in SSM Parameter Store.

Each field of a workload's `tunables` is one parameter, `/{project}/{workload}/{Name}`. The configuration files give the
value that it is created with; after that only `set_value` changes it, and the starter of an execution reads it. Types
and ranges are those of the configuration's classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import boto3
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from pipelines import parameter_store
from pipelines.config import Configuration, Tunables, Workloads, parameter_name
from pipelines.errors import ParameterError, UsageError, suggestion
from pipelines.schema import expectation, meaning, schema_at
from pipelines.session import client

Value = int | float | str


@dataclass(frozen=True)
class RuntimeValue:
    """One runtime value. `value` is None while Parameter Store does not have it."""

    workload: str
    name: str
    path: str
    value: str | None
    file_value: str
    meaning: str
    expected: str
    """Type and range, in words."""

    @property
    def differs(self) -> bool:
        """Whether Parameter Store has another value than the files (or none)."""
        return self.value != self.file_value


def text(value: Value) -> str:
    """A value as Parameter Store and StartPipelineExecution have it: the shortest text that reads back as the same
    value.
    """
    return repr(value) if isinstance(value, float) else str(value)


def defaults(tunables: Tunables) -> dict[str, Value]:
    """A workload's runtime values as the files give them, by parameter name."""
    return {parameter_name(field): value for field, value in tunables}


def ensure(session: boto3.Session, configuration: Configuration) -> list[str]:
    """Create the parameters that are missing, with the files' values. Never overwrites one.

    Returns the full names of those that were created.
    """
    ssm = client(session, "ssm")
    created: list[str] = []
    for workload in Workloads.model_fields:
        tunables = configuration.tunables(workload)
        present = parameter_store.read(ssm, configuration.names.ssm_path(workload))
        for field, value in tunables:
            name = parameter_name(field)
            if name in present:
                continue
            path = configuration.names.ssm_parameter(workload, name)
            try:
                ssm.put_parameter(
                    Name=path, Value=text(value), Type="String", Description=meaning(type(tunables), field)
                )
            except ssm.exceptions.ParameterAlreadyExists:
                continue  # made by someone else since it was read
            created.append(path)
    return created


def list_values(session: boto3.Session, configuration: Configuration, workload: str) -> list[RuntimeValue]:
    """A workload's runtime values, in the order of its class. Raises UsageError for an unknown workload."""
    tunables = configuration.tunables(workload)
    stored = parameter_store.read(client(session, "ssm"), configuration.names.ssm_path(workload))
    return [
        _runtime_value(configuration, workload, field, stored.get(parameter_name(field)))
        for field in type(tunables).model_fields
    ]


def set_value(session: boto3.Session, configuration: Configuration, workload: str, name: str, new: str) -> RuntimeValue:
    """Give a parameter a value; it is read when the next execution starts.

    name: as the parameter (`MinRocAuc`) or as the key of the file (`min_roc_auc`).

    Raises UsageError, before anything is written, for an unknown name, a value of the wrong type or out of its range,
    and one that does not go with the others in Parameter Store (`MinClusters` above `MaxClusters`); ParameterError when
    a value that is already there is none of its type.
    """
    tunables = configuration.tunables(workload)
    fields = {parameter_name(field): field for field in type(tunables).model_fields}
    field = fields.get(name, name)
    if field not in type(tunables).model_fields:
        hint = suggestion(name, (*fields, *fields.values())) or f"; expected one of {', '.join(fields)}"
        raise UsageError(f"`{workload}` has no runtime value `{name}`{hint}")
    value = _checked(tunables, field, new)
    ssm = client(session, "ssm")
    together: dict[str, Any] = {**dict(tunables), **_others(ssm, configuration, workload, field), field: value}
    try:
        type(tunables).model_validate(together)
    except ValidationError as error:
        problems = "; ".join(str(details["msg"]).removeprefix("Value error, ") for details in error.errors())
        raise UsageError(f"`{parameter_name(field)}` cannot be {text(value)}: {problems}") from error
    path = configuration.names.ssm_parameter(workload, parameter_name(field))
    ssm.put_parameter(Name=path, Value=text(value), Type="String", Overwrite=True)
    return _runtime_value(configuration, workload, field, text(value))


def check(configuration: Configuration, workload: str, name: str, value: str) -> bool:
    """Whether a workload has the runtime value `name` (as the parameter). Raises UsageError when it has, and the value
    is of the wrong type or out of its range.
    """
    tunables = configuration.tunables(workload)
    fields = {parameter_name(field): field for field in type(tunables).model_fields}
    if name in fields:
        _checked(tunables, fields[name], value)
    return name in fields


def _checked(tunables: Tunables, field: str, text: str) -> Value:
    """The text as the field's type. Raises UsageError when it is not, or out of range."""
    value = _typed(tunables, field, text)
    if value is None:
        expected = expectation(schema_at(type(tunables), (field,)))
        raise UsageError(f"`{parameter_name(field)}`: found {text!r}, expected {expected}")
    return value


def _others(ssm: Any, configuration: Configuration, workload: str, field: str) -> dict[str, Value]:
    """The values in Parameter Store of all fields but one, which may be about to be mended."""
    tunables = configuration.tunables(workload)
    present = parameter_store.read(ssm, configuration.names.ssm_path(workload))
    values: dict[str, Value] = {}
    for other in type(tunables).model_fields:
        name = parameter_name(other)
        if name not in present or other == field:
            continue
        value = _typed(tunables, other, present[name])
        if value is None:
            raise ParameterError(
                f"`{configuration.names.ssm_parameter(workload, name)}` is {present[name]!r} in Parameter Store, "
                f"expected {expectation(schema_at(type(tunables), (other,)))}; set it with "
                f"`mlops params set {workload} {name} {text(getattr(tunables, other))}`"
            )
        values[other] = value
    return values


def _typed(tunables: Tunables, field: str, value: str) -> Value | None:
    """The text as the field's type, in its range; None when it is not."""
    info: FieldInfo = type(tunables).model_fields[field]
    # Without the section's strictness: Parameter Store, and the command line, have texts only.
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[info.annotation, *info.metadata])  # type: ignore[arg-type]
    try:
        typed: Value = adapter.validate_python(value.strip())
        return typed
    except ValidationError:
        return None


def _runtime_value(configuration: Configuration, workload: str, field: str, value: str | None) -> RuntimeValue:
    tunables = configuration.tunables(workload)
    name = parameter_name(field)
    return RuntimeValue(
        workload=workload,
        name=name,
        path=configuration.names.ssm_parameter(workload, name),
        value=value,
        file_value=text(getattr(tunables, field)),
        meaning=meaning(type(tunables), field),
        expected=expectation(schema_at(type(tunables), (field,))),
    )
