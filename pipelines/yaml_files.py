"""YAML files read for people: duplicate keys are refused, and every value knows the file and line it came from.

`yaml.safe_load` keeps the last of two equal keys in silence and forgets where a value stood; a configuration mistake
can then be neither seen nor pointed at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Position:
    """Where a value stands. `line` counts from 1; None is the file as a whole."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Mistake:
    """One thing wrong in one file: the key path below the file's root (empty for the file), and what is wrong."""

    position: Position
    key: str
    problem: str

    def __str__(self) -> str:
        return ": ".join(part for part in (str(self.position), self.key, self.problem) if part)


@dataclass(frozen=True)
class Document:
    """A file's values, the positions of its keys, and what is wrong with it. `values` is None when unusable."""

    file: str
    values: dict[str, Any] | None
    positions: Mapping[KeyPath, Position] = field(default_factory=dict)
    mistakes: tuple[Mistake, ...] = ()

    def position(self, path: KeyPath) -> Position:
        """The position of a key, or of the nearest key above it."""
        while path:
            if path in self.positions:
                return self.positions[path]
            path = path[:-1]
        return Position(self.file)


def dotted(path: KeyPath) -> str:
    """`("data", "columns", 2)` as people write it: `data.columns[2]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read(path: Path, shown_as: str, *, aliases: bool = False) -> Document:
    """Read one file whose root is a mapping. Mistakes are returned, not raised: the caller lists those of all files
    together. aliases: whether a value may stand for another one that has an anchor.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return _unusable(Position(shown_as), "the file does not exist")
    except UnicodeDecodeError as error:
        return _unusable(Position(shown_as), f"not UTF-8 text (byte {error.start})")
    except OSError as error:
        return _unusable(Position(shown_as), f"cannot be read: {error.strerror}")
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if not aliases and root is not None and (line := _shared(root, set())) is not None:
            return _unusable(Position(shown_as, line), "an anchor is used by an alias; expected each value written out")
        values = None if root is None else loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        return _unusable(Position(shown_as, line), f"not valid YAML: {problem}")
    except (yaml.YAMLError, ValueError) as error:  # an unreadable character; an impossible date such as 2024-02-30
        return _unusable(Position(shown_as), f"not valid YAML: {error}")
    finally:
        loader.dispose()
    if values is None:
        values = {}
    if not isinstance(values, dict):
        return _unusable(Position(shown_as, 1), f"found {kind(values)}, expected a mapping of keys to values")
    duplicates = () if root is None else tuple(_duplicates(root, shown_as))
    positions = {} if root is None else dict(_positions(root, (), shown_as))
    return Document(shown_as, values, positions, duplicates)


def kind(value: object) -> str:
    """What a value is, in YAML's words."""
    if value is None:
        return "nothing"
    for types, words in (
        (bool, "true or false"),
        (int, "an integer"),
        (float, "a number"),
        (str, "text"),
        (list, "a list"),
        (dict, "a mapping"),
    ):
        if isinstance(value, types):
            return words
    return f"a {type(value).__name__}"


def _unusable(position: Position, problem: str) -> Document:
    return Document(position.file, None, {}, (Mistake(position, "", problem),))


def _shared(node: yaml.Node, seen: set[int]) -> int | None:
    """The line of a value that an alias refers to, maybe from within itself: a node that is met twice. None without
    one.
    """
    if id(node) in seen:
        return int(node.start_mark.line) + 1
    seen.add(id(node))
    below: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        below = [each for pair in node.value for each in pair]
    elif isinstance(node, yaml.SequenceNode):
        below = list(node.value)
    return next((line for each in below if (line := _shared(each, seen)) is not None), None)


def _positions(node: yaml.Node, path: KeyPath, file: str) -> Iterator[tuple[KeyPath, Position]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*path, str(key.value))
            yield below, Position(file, key.start_mark.line + 1)
            yield from _positions(value, below, file)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            below = (*path, index)
            yield below, Position(file, value.start_mark.line + 1)
            yield from _positions(value, below, file)


def _duplicates(node: yaml.Node, file: str, path: KeyPath = ()) -> Iterator[Mistake]:
    if isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in first:
                yield Mistake(
                    Position(file, line), dotted((*path, name)), f"the key stands twice (first in line {first[name]})"
                )
            first.setdefault(name, line)
            yield from _duplicates(value, file, (*path, name))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _duplicates(value, file, (*path, index))
