"""CloudFormation templates as they are published: checked, and with values for what nobody should be asked.

SageMaker Studio shows a form with a template's parameters. What an account's administrator knows stands in the
published copy as `Default:`, so that the form asks for a name and no more; every other line is the file's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import yaml

from pipelines.errors import UsageError
from pipelines.publishing import yaml_edit
from pipelines.yaml_files import KeyPath

__all__ = ["ASKED", "filled", "lint", "missing_buildspecs", "parameters", "unfilled"]

ASKED = "SageMakerProjectName"
"""The only parameter that has to be given."""
# Up to the next line that begins with a letter: the next section.
_PARAMETERS = re.compile(r"^Parameters:.*?(?=^[A-Za-z]|\Z)", re.MULTILINE | re.DOTALL)
_BUILDSPEC = re.compile(r"\bbuildspecs/[\w.-]+\.yml\b")


def lint(files: Iterable[Path], root: Path, region: str, kept: Path) -> list[str]:
    """What cfn-lint finds in templates, as `template/project.yml:12: E3002: …`; nothing where all is well.

    root: which the files are shown from. kept: a folder that remembers the files of which nothing was found, by their
    content and cfn-lint's version: a look at one takes seconds.
    """
    found: list[str] = []
    for file in files:
        text = file.read_text(encoding="utf-8")
        digest = hashlib.sha256("\0".join((version("cfn-lint"), region, text)).encode()).hexdigest()
        if (kept / digest).is_file():
            continue
        shown = file.relative_to(root).as_posix()
        wrong = [f"{shown}:{line}: {rule}: {message}" for line, rule, message in _lint(text, region)]
        if not wrong:
            kept.mkdir(parents=True, exist_ok=True)
            (kept / digest).touch()
        found += wrong
    return found


def _lint(text: str, region: str) -> Iterator[tuple[int, str, str]]:
    # Here and not above: cfn-lint takes half a second to import.
    from cfnlint.api import lint as linted
    from cfnlint.config import ManualArgs

    for match in linted(text, config=ManualArgs(regions=[region])):
        yield match.linenumber, match.rule.id, match.message


def parameters(template: str) -> dict[str, str | None]:
    """A template's parameters and their defaults; None for one without."""
    document = yaml.compose(_section(template)[1], Loader=yaml.SafeLoader)
    section = document.value[0][1] if isinstance(document, yaml.MappingNode) and document.value else None
    if not isinstance(section, yaml.MappingNode):
        return {}
    return {
        str(key.value): next((str(value.value) for name, value in below.value if name.value == "Default"), None)
        for key, below in section.value
        if isinstance(below, yaml.MappingNode)
    }


def filled(template: str, defaults: Mapping[str, str]) -> str:
    """The template with other defaults. Raises UsageError for one that it has no parameter for."""
    if unknown := defaults.keys() - parameters(template).keys():
        named = ", ".join(f"`{name}`" for name in sorted(unknown))
        raise UsageError(f"template/project.yml has no parameter {named}; add it there, or publish what it is made for")
    before, section, after = _section(template)
    values: dict[KeyPath, yaml_edit.Scalar] = {
        ("Parameters", name, "Default"): value for name, value in defaults.items()
    }
    return before + yaml_edit.with_values(section, values) + after


def _section(template: str) -> tuple[str, str, str]:
    """What stands before the parameters, they themselves, and what comes after: the whole takes a second to parse."""
    found = _PARAMETERS.search(template)
    if found is None:
        return template, "", ""
    return template[: found.start()], found[0], template[found.end() :]


def unfilled(template: str) -> list[str]:
    """The parameters that whoever makes a project would have to give, beyond the project's name."""
    return [name for name, default in parameters(template).items() if default is None and name != ASKED]


def missing_buildspecs(template: str, seed: Iterable[str]) -> list[str]:
    """The buildspecs that the template's CodeBuild projects run and the seed does not have."""
    return sorted(set(_BUILDSPEC.findall(template)) - set(seed))
