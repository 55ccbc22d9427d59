"""Test and coverage reports as their files say: JUnit, Cobertura and Clover XML. Pure functions of the content.

Sources: "Test reports" and "Code coverage reports" (AWS CodeBuild User Guide). A report holds at most 500 test cases;
failed ones come first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException, ElementTree  # type: ignore[import-untyped]

MOST_CASES = 500
_MESSAGE_LENGTH = 5000
_FAULTS = (("failure", "FAILED"), ("error", "ERROR"), ("skipped", "SKIPPED"))
_ORDER = {"FAILED": 0, "ERROR": 1}
_STATUSES = ("SUCCEEDED", "FAILED", "ERROR", "SKIPPED", "UNKNOWN")
_CONDITION = re.compile(r"\((\d+)/(\d+)\)")
_NANOSECONDS = 1_000_000_000


class ReportError(Exception):
    """A file that is no report of its format; the message says why."""


@dataclass(frozen=True)
class File:
    """A report's file by its path in the build."""

    path: str
    content: bytes


@dataclass(frozen=True)
class Coverage:
    """How much of a source file was run."""

    path: str
    lines_covered: int
    lines_missed: int
    branches_covered: int
    branches_missed: int

    def members(self) -> dict[str, Any]:
        """As DescribeCodeCoverages and the summary have it; percentages are 0 where there is nothing to cover."""
        return {
            "lineCoveragePercentage": _percentage(self.lines_covered, self.lines_missed),
            "linesCovered": self.lines_covered,
            "linesMissed": self.lines_missed,
            "branchCoveragePercentage": _percentage(self.branches_covered, self.branches_missed),
            "branchesCovered": self.branches_covered,
            "branchesMissed": self.branches_missed,
        }


def test_cases(files: Iterable[File]) -> list[dict[str, Any]]:
    """The cases of JUnit files, all of them, failed ones first; as DescribeTestCases has them, without their ARN.
    Raises ReportError."""
    found = []
    for file in files:
        root = _root(file)
        if root.tag not in ("testsuites", "testsuite"):
            raise ReportError(f"{file.path} is no JUnit report: it begins with <{root.tag}>")
        suites = [root] if root.tag == "testsuite" else list(root.iter("testsuite"))
        for suite in suites:
            found += [_case(case, suite, file) for case in suite.findall("testcase")]
    return sorted(found, key=lambda case: _ORDER.get(case["status"], 2))


def test_summary(cases: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """How many cases there are, of which status, and how long they took."""
    cases = list(cases)
    counts = Counter(case["status"] for case in cases)
    return {
        "total": len(cases),
        "statusCounts": {status: counts[status] for status in _STATUSES},
        "durationInNanoSeconds": sum(case["durationInNanoSeconds"] for case in cases),
    }


def coverages(files: Iterable[File], file_format: str) -> list[Coverage]:
    """The source files of coverage reports, by path. Raises ReportError."""
    read = _cobertura if file_format == "COBERTURAXML" else _clover
    found: dict[str, Coverage] = {}
    for file in files:
        root = _root(file)
        if root.tag != "coverage":
            raise ReportError(f"{file.path} is no report of {file_format}: it begins with <{root.tag}>")
        for one in read(root):
            found[one.path] = one
    return sorted(found.values(), key=lambda one: one.path)


def total(files: Iterable[Coverage]) -> Coverage:
    """The sum over files."""
    files = list(files)
    return Coverage(
        "",
        sum(one.lines_covered for one in files),
        sum(one.lines_missed for one in files),
        sum(one.branches_covered for one in files),
        sum(one.branches_missed for one in files),
    )


def _root(file: File) -> Element:
    try:
        root: Element = ElementTree.fromstring(file.content)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise ReportError(f"{file.path} is no XML that can be read: {error}") from error
    return root


def _case(case: Element, suite: Element, file: File) -> dict[str, Any]:
    status, message = "SUCCEEDED", ""
    for tag, meaning in _FAULTS:
        fault = case.find(tag)
        if fault is not None:
            status = meaning
            message = "\n".join(text for text in (fault.get("message"), (fault.text or "").strip()) if text)
            break
    return {
        "testRawDataPath": file.path,
        "prefix": case.get("classname", ""),
        "name": case.get("name", ""),
        "status": status,
        "durationInNanoSeconds": _duration(case.get("time")),
        "message": message[:_MESSAGE_LENGTH],
        "testSuiteName": suite.get("name", ""),
    }


def _duration(text: str | None) -> int:
    try:
        return max(0, round(float((text or "0").replace(",", "")) * _NANOSECONDS))
    except (ValueError, OverflowError):
        return 0


def _cobertura(root: Element) -> Iterable[Coverage]:
    by_path: dict[str, list[Element]] = {}
    for one in root.iter("class"):
        # A file may have several classes; methods repeat the lines of their class.
        lines = one.find("lines")
        by_path.setdefault(one.get("filename", ""), []).extend(lines.findall("line") if lines is not None else [])
    for path, lines_found in by_path.items():
        covered = sum(_number(line.get("hits")) > 0 for line in lines_found)
        branches = [_CONDITION.search(line.get("condition-coverage") or "") for line in lines_found]
        taken = sum(int(found[1]) for found in branches if found)
        there = sum(int(found[2]) for found in branches if found)
        yield Coverage(path, covered, len(lines_found) - covered, taken, max(0, there - taken))


def _clover(root: Element) -> Iterable[Coverage]:
    for file in root.iter("file"):
        lines = file.findall("line")
        plain = [line for line in lines if line.get("type") != "cond"]
        conditions = [line for line in lines if line.get("type") == "cond"]
        covered = sum(_number(line.get("count")) > 0 for line in plain)
        taken = sum((_number(line.get("truecount")) > 0) + (_number(line.get("falsecount")) > 0) for line in conditions)
        path = file.get("path") or file.get("name") or ""
        yield Coverage(path, covered, len(plain) - covered, taken, 2 * len(conditions) - taken)


def _number(text: str | None) -> int:
    try:
        return int(text or 0)
    except ValueError:
        return 0


def _percentage(covered: int, missed: int) -> float:
    return round(100 * covered / (covered + missed), 2) if covered + missed else 0.0
