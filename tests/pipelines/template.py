"""The templates as plain data: a short form such as `!Ref Bucket` is what it stands for, {"Ref": "Bucket"}."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml

from tests.pipelines.conftest import ROOT


@cache
def read(name: str = "project") -> dict[str, Any]:
    """template/{name}.yml."""
    return parse((ROOT / "template" / f"{name}.yml").read_text())


def parse(text: str) -> dict[str, Any]:
    """A template's text."""
    document: dict[str, Any] = yaml.load(text, _Loader)
    return document


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms."""


def _short_form(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)
