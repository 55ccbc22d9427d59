"""Which resource of an API a path is of, and which of its methods a request asks for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import unquote

from localcloud.apigateway.deployed import Method
from localcloud.apigateway.gateway.refusals import Refused

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_STATIC, _VARIABLE, _GREEDY = range(3)
Verbs = dict[str, Method]


class Routes:
    """The resources of a deployed API. Never changed once made."""

    def __init__(self, methods: Iterable[Method]) -> None:
        resources: dict[str, Verbs] = {}
        for method in methods:
            resources.setdefault(method.resource_path, {})[method.verb] = method
        self._static = {path: verbs for path, verbs in resources.items() if "{" not in path}
        self._patterns = sorted(
            (_Pattern(path, verbs) for path, verbs in resources.items()), key=lambda pattern: pattern.kinds
        )

    def find(self, verb: str, path: str) -> tuple[Method, Mapping[str, str]] | None:
        """The method for a request, and its path parameters, decoded; None where the API has none.

        A slash at the end of a path is passed over. Literal segments go before `{name}`, and these before `{name+}`.
        A resource that has the path but not the method ends the search. Raises Refused for a path that is not
        percent-encoded as it should be.
        """
        if _BAD_ESCAPE.search(path):
            raise Refused("DEFAULT_4XX", "Bad Request", detail=f"the path {path[:200]!r} has a % without two digits")
        verbs = self._static.get(path) or self._static.get(path.rstrip("/") if path != "/" else path)
        if verbs is not None:
            return _of(verbs, verb, {})
        segments = _segments(path)
        for pattern in self._patterns:
            found = pattern.match(segments)
            if found is not None:
                return _of(pattern.verbs, verb, found)
        return None


class _Pattern:
    def __init__(self, path: str, verbs: Verbs) -> None:
        self.verbs = verbs
        self._parts = [_kind(segment) for segment in path.split("/")[1:] if segment]
        # Compared segment by segment, the more literal one first. An end goes before a greedy segment, which needs one.
        self.kinds = [kind for kind, _ in self._parts]

    def match(self, segments: Sequence[str]) -> dict[str, str] | None:
        found: dict[str, str] = {}
        for index, (kind, name) in enumerate(self._parts):
            if index >= len(segments):
                return None
            if kind == _GREEDY:
                found[name] = "/".join(segments[index:])
                return found
            segment = segments[index]
            if kind == _STATIC and segment != name:
                return None
            if kind == _VARIABLE:
                if not segment:
                    return None
                found[name] = segment
        return found if len(segments) == len(self._parts) else None


def _kind(segment: str) -> tuple[int, str]:
    if segment.startswith("{") and segment.endswith("+}"):
        return _GREEDY, segment[1:-2]
    if segment.startswith("{") and segment.endswith("}"):
        return _VARIABLE, segment[1:-1]
    return _STATIC, segment


def _segments(path: str) -> list[str]:
    segments = [unquote(segment) for segment in path.split("/")[1:]]
    while segments and not segments[-1]:
        segments.pop()
    return segments


def _of(verbs: Verbs, verb: str, parameters: Mapping[str, str]) -> tuple[Method, Mapping[str, str]] | None:
    method = verbs.get(verb) or verbs.get("ANY")
    return None if method is None else (method, parameters)
