"""A buildspec, version 0.2: read from YAML, every key known or refused by name. Pure functions of the text.

Scalars are text, whatever YAML makes of them elsewhere: `python: 3.10` is not 3.1.
Source: "Build specification reference for CodeBuild" (AWS CodeBuild User Guide).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from localcloud.codebuild.errors import PhaseError

PHASES = ("install", "pre_build", "build", "post_build")
_SHELLS = ("bash", "sh")
_ON_FAILURE = ("ABORT", "CONTINUE")
_YES, _NO = ("yes", "true"), ("no", "false", "")
TEST_FORMATS = ("JUNITXML",)
COVERAGE_FORMATS = ("COBERTURAXML", "CLOVERXML")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CODE = "YAML_FILE_ERROR"


@dataclass(frozen=True)
class Phase:
    """The commands of a phase, each a text of one or more lines."""

    commands: tuple[str, ...] = ()
    finally_commands: tuple[str, ...] = ()
    on_failure: str | None = None
    """ABORT, CONTINUE, or None where the phases follow each other in the ordinary way."""


@dataclass(frozen=True)
class ReportFiles:
    """Which files make a report, and for which group."""

    group: str
    """A report group's ARN, or the last part of the name `PROJECT-NAME` of one."""
    files: tuple[str, ...]
    base_directory: str | None = None
    discard_paths: bool = False
    file_format: str = "JUNITXML"

    @property
    def is_coverage(self) -> bool:
        """Whether it is of code coverage, and not of tests."""
        return self.file_format in COVERAGE_FORMATS


@dataclass(frozen=True)
class ArtifactFiles:
    """Which files make an artifact."""

    files: tuple[str, ...]
    name: str | None = None
    base_directory: str | None = None
    discard_paths: bool = False
    exclude_paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class Buildspec:
    """What a build is to do."""

    shell: str = "sh"
    variables: dict[str, str] = field(default_factory=dict)
    parameter_store: dict[str, str] = field(default_factory=dict)
    """Names of parameters by those of variables."""
    secrets_manager: dict[str, str] = field(default_factory=dict)
    """`secret-id:json-key:version-stage:version-id` by the names of variables."""
    exported_variables: tuple[str, ...] = ()
    runtimes: dict[str, str] = field(default_factory=dict)
    """Versions by the names of languages."""
    phases: dict[str, Phase] = field(default_factory=dict)
    """By the names of `PHASES`; those that are not named are not in here."""
    reports: tuple[ReportFiles, ...] = ()
    artifacts: ArtifactFiles | None = None
    secondary_artifacts: dict[str, ArtifactFiles] = field(default_factory=dict)
    cache_paths: tuple[str, ...] = ()


def parse(text: str) -> Buildspec:
    """The buildspec that a text is. Raises PhaseError (YAML_FILE_ERROR) that names the key, its line, and what was
    expected there."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise PhaseError(_CODE, f"the buildspec is no YAML: {' '.join(str(error).split())}") from None
    if node is None:
        raise PhaseError(_CODE, "the buildspec is empty")
    top = _Keys(node, "the buildspec")
    version = top.text("version")
    if version != "0.2":
        raise PhaseError(_CODE, f"localcloud runs buildspecs of version 0.2; the version is {version or '(none)'!r}")
    env, phases, artifacts = top.keys("env"), top.keys("phases"), top.keys("artifacts")
    cache, proxy = top.keys("cache"), top.keys("proxy")
    if phases is None:
        raise PhaseError(_CODE, "phases is missing in the buildspec; expected one or more of " + ", ".join(PHASES))
    secondary = artifacts.keys("secondary-artifacts") if artifacts is not None else None
    runtimes, found = _phases(phases)
    variables = _env(env) if env is not None else _Variables()
    spec = Buildspec(
        shell=variables.shell,
        variables=variables.plain,
        parameter_store=variables.parameters,
        secrets_manager=variables.secrets,
        exported_variables=variables.exported,
        runtimes=runtimes,
        phases=found,
        reports=_reports(top.keys("reports")),
        artifacts=_artifact(artifacts, primary=True) if artifacts is not None else None,
        secondary_artifacts=_secondary(secondary),
        cache_paths=cache.texts("paths") if cache is not None else (),
    )
    if cache is not None:
        cache.end()
    if proxy is not None:
        for key in ("upload-artifacts", "logs"):
            if proxy.flag(key):
                raise PhaseError(_CODE, f"localcloud has no proxy; {proxy.path}/{key} must be no")
        proxy.end()
    top.end()
    return spec


def is_inline(buildspec: str) -> bool:
    """Whether a project's `buildspec` is the text of one, and not where one lies."""
    return "\n" in buildspec or re.match(r"\s*(\{|version\s*:)", buildspec) is not None


class _Keys:
    """The keys of a mapping, taken one by one. `end` refuses those that nobody took."""

    def __init__(self, node: Node, path: str) -> None:
        self.path = path
        if not isinstance(node, MappingNode):
            raise PhaseError(_CODE, f"Expected {path} to be a map of keys at line {_line(node)}")
        self._left: dict[str, tuple[Node, Node]] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, ScalarNode) else "(no text)"
            if name in self._left:
                raise PhaseError(_CODE, f"the key {name!r} stands twice in {path}, at line {_line(key)} again")
            self._left[name] = key, value

    def end(self) -> None:
        for name, (key, _) in self._left.items():
            raise PhaseError(
                _CODE, f"unknown key {name!r} in {self.path} at line {_line(key)}; localcloud knows no such"
            )

    def names(self) -> list[str]:
        return list(self._left)

    def text(self, name: str) -> str | None:
        node = self._take(name)
        return None if node is None else _scalar(node, self._at(name))

    def flag(self, name: str) -> bool:
        text = (self.text(name) or "").lower()
        if text not in (*_YES, *_NO):
            raise PhaseError(_CODE, f"{self._at(name)} is {text!r}; expected yes or no")
        return text in _YES

    def texts(self, name: str) -> tuple[str, ...]:
        node = self._take(name)
        if node is None or _is_empty(node):
            return ()
        if not isinstance(node, SequenceNode):
            raise PhaseError(_CODE, f"Expected {self._at(name)} to be a list of strings at line {_line(node)}")
        return tuple(_scalar(item, f"{name.capitalize()}[{number}]") for number, item in enumerate(node.value))

    def keys(self, name: str) -> _Keys | None:
        node = self._take(name)
        return None if node is None or _is_empty(node) else _Keys(node, self._at(name))

    def map(self, name: str) -> dict[str, str]:
        """A map from names of variables, or of languages, to text."""
        below = self.keys(name)
        return {} if below is None else {key: below.text(key) or "" for key in below.names()}

    def refuse(self, name: str, why: str) -> None:
        if name in self._left:
            raise PhaseError(
                _CODE, f"localcloud has no {name} in {self.path} (line {_line(self._left[name][0])}): {why}"
            )

    def _take(self, name: str) -> Node | None:
        found = self._left.pop(name, None)
        return None if found is None else found[1]

    def _at(self, name: str) -> str:
        return name if self.path == "the buildspec" else f"{self.path}/{name}"


@dataclass(frozen=True)
class _Variables:
    shell: str = "sh"
    plain: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    exported: tuple[str, ...] = ()


def _env(keys: _Keys) -> _Variables:
    shell = keys.text("shell") or "sh"
    if shell not in _SHELLS:
        raise PhaseError(_CODE, f"localcloud has no env/shell {shell!r}; expected {' or '.join(_SHELLS)}")
    found = _Variables(
        shell,
        keys.map("variables"),
        keys.map("parameter-store"),
        keys.map("secrets-manager"),
        keys.texts("exported-variables"),
    )
    # Git at localcloud's own address asks for no credentials, so that there is nothing to help with.
    keys.flag("git-credential-helper")
    keys.end()
    for name in (*found.plain, *found.parameters, *found.secrets, *found.exported):
        if not _NAME.fullmatch(name):
            raise PhaseError(_CODE, f"{name!r} in {keys.path} is no name of a variable; letters, digits and _ are")
    return found


def _phases(keys: _Keys) -> tuple[dict[str, str], dict[str, Phase]]:
    runtimes: dict[str, str] = {}
    found = {}
    for name in keys.names():
        if name not in PHASES:
            raise PhaseError(_CODE, f"unknown phase {name!r} in the buildspec; expected {', '.join(PHASES)}")
        below = keys.keys(name)
        if below is None:
            continue
        below.refuse("run-as", "a build's commands run as the user that localcloud runs as")
        if name == "install":
            runtimes = below.map("runtime-versions")
        on_failure = below.text("on-failure")
        if on_failure is not None and on_failure not in _ON_FAILURE:
            raise PhaseError(
                _CODE,
                f"localcloud has no on-failure {on_failure!r} in {below.path}; expected {' or '.join(_ON_FAILURE)}",
            )
        found[name] = Phase(below.texts("commands"), below.texts("finally"), on_failure)
        below.end()
    return runtimes, {name: found[name] for name in PHASES if name in found}


def _reports(keys: _Keys | None) -> tuple[ReportFiles, ...]:
    found = []
    for group in keys.names() if keys is not None else ():
        assert keys is not None
        below = keys.keys(group)
        if below is None:
            raise PhaseError(_CODE, f"reports/{group} says nothing; expected files")
        file_format = (below.text("file-format") or "JUNITXML").upper()
        if file_format not in (*TEST_FORMATS, *COVERAGE_FORMATS):
            known = ", ".join((*TEST_FORMATS, *COVERAGE_FORMATS))
            raise PhaseError(
                _CODE, f"localcloud reads no file-format {file_format!r} in {below.path}; expected {known}"
            )
        found.append(
            ReportFiles(group, _files(below), below.text("base-directory"), below.flag("discard-paths"), file_format)
        )
        below.end()
    return tuple(found)


def _artifact(keys: _Keys, *, primary: bool) -> ArtifactFiles | None:
    if keys.flag("enable-symlinks"):
        raise PhaseError(_CODE, f"localcloud packs no links; {keys.path}/enable-symlinks must be no")
    keys.refuse("s3-prefix", "give the artifact of the project a path")
    # With secondary artifacts alone there is no primary one.
    files = _files(keys) if not primary or keys.names() else ()
    found = ArtifactFiles(
        files,
        keys.text("name"),
        keys.text("base-directory"),
        keys.flag("discard-paths"),
        keys.texts("exclude-paths"),
    )
    keys.end()
    return found if files else None


def _secondary(keys: _Keys | None) -> dict[str, ArtifactFiles]:
    found = {}
    for identifier in keys.names() if keys is not None else ():
        assert keys is not None
        below = keys.keys(identifier)
        artifact = _artifact(below, primary=False) if below is not None else None
        if artifact is None:
            raise PhaseError(_CODE, f"artifacts/secondary-artifacts/{identifier} says nothing; expected files")
        found[identifier] = artifact
    return found


def _files(keys: _Keys) -> tuple[str, ...]:
    files = keys.texts("files")
    if not files:
        raise PhaseError(_CODE, f"{keys.path}/files is empty; expected a list of paths")
    return files


def _scalar(node: Node, what: str) -> str:
    if isinstance(node, ScalarNode):
        return str(node.value)
    found = "subkeys" if isinstance(node, MappingNode) else "a list"
    raise PhaseError(_CODE, f"Expected {what} to be of string type: found {found} instead at line {_line(node)}")


def _is_empty(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.value in ("", "~", "null")


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1
