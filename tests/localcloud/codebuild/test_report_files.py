"""Reports read from their files."""

from __future__ import annotations

import pytest

from localcloud.codebuild.report_files import MOST_CASES, File, ReportError, coverages, total
from localcloud.codebuild.report_files import test_cases as cases_of
from localcloud.codebuild.report_files import test_summary as summary_of

BOMB = '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><testsuite>&c;</testsuite>'
CLOVER = """<coverage><project><package><file name="a.py" path="src/a.py">
<line num="1" type="stmt" count="3"/><line num="2" type="method" count="0"/>
<line num="3" type="cond" truecount="1" falsecount="0"/>
</file></package></project></coverage>"""


def file(content: str) -> File:
    return File("r.xml", content.encode())


def test_a_suite_alone_and_times_that_are_none() -> None:
    cases = cases_of([file('<testsuite name="s"><testcase name="a" time="1,000.5"/><testcase time="x"/></testsuite>')])
    assert [case["durationInNanoSeconds"] for case in cases] == [1_000_500_000_000, 0]
    assert cases[0]["testSuiteName"] == "s"
    assert summary_of(cases)["statusCounts"]["SUCCEEDED"] == 2


def test_failed_cases_come_first() -> None:
    many = "".join(f'<testcase name="{number}"/>' for number in range(MOST_CASES))
    cases = cases_of([file(f'<testsuite>{many}<testcase name="e"><error/></testcase></testsuite>')])
    assert (cases[0]["name"], cases[0]["status"], len(cases)) == ("e", "ERROR", MOST_CASES + 1)


@pytest.mark.parametrize(("content", "said"), [("<a/>", "<a>"), ("no xml", "no XML"), (BOMB, "no XML"), ("", "no XML")])
def test_what_is_no_report(content: str, said: str) -> None:
    with pytest.raises(ReportError, match=said):
        cases_of([file(content)])


def test_clover() -> None:
    (found,) = coverages([file(CLOVER)], "CLOVERXML")
    assert found.path == "src/a.py"
    assert (found.lines_covered, found.lines_missed) == (1, 1)
    assert (found.branches_covered, found.branches_missed) == (1, 1)
    assert total([found, found]).members()["lineCoveragePercentage"] == 50.0


def test_nothing_to_cover() -> None:
    assert total([]).members()["branchCoveragePercentage"] == 0.0
    with pytest.raises(ReportError, match="<a>"):
        coverages([file("<a/>")], "COBERTURAXML")
