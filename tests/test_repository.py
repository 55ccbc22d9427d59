"""What the repository says of itself: links that lead somewhere, locks without addresses, one version."""

import re
import subprocess
from pathlib import Path

import pytest

from pipelines.cli import VERBS

ROOT = Path(__file__).resolve().parent.parent
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
# But for those of a project's repository, whose links lead from that one's root: tests/pipelines/test_seed.py.
PAGES = [name for name in TRACKED if name.endswith(".md") and not name.startswith("template/seed/")]


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_of_a_page_leads_to_a_file(page: str) -> None:
    # What stands between backquotes is no link, but a pattern, say.
    text = re.sub(r"`[^`\n]*`", "", (ROOT / page).read_text())
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    missing = [
        link
        for link in links
        if not link.startswith(("http:", "https:", "mailto:")) and not (ROOT / page).parent.joinpath(link).exists()
    ]
    assert missing == []


def test_the_table_of_the_readme_sends_to_each_part() -> None:
    table = (ROOT / "README.md").read_text().split("## Looking for…")[1].split("## Layout")[0]
    linked = set(re.findall(r"\]\(([^)]+)\)", table))
    assert {"configs/", "localcloud/", "pipelines/cli/", "benchmarks/", "tests/contract/"} <= linked


def test_the_layout_table_names_every_folder_and_no_other() -> None:
    table = (ROOT / "README.md").read_text().split("## Layout")[1]
    named = set(re.findall(r"^\| `([\w.-]+)/`", table, flags=re.MULTILINE))
    folders = {name.split("/")[0] for name in TRACKED if "/" in name and not name.startswith(".")}
    assert named == folders


def test_locks_hold_names_and_versions_only() -> None:
    locks = [name for name in TRACKED if re.search(r"requirements[\w/]*\.txt$", name)]
    assert "requirements/base.txt" in locks
    pin = re.compile(r"[A-Za-z0-9._-]+(\[[\w,-]+\])?==[\w.!+-]+( *; .+)?")
    wrong = [
        f"{name}:{number}: {line}"
        for name in locks
        for number, line in enumerate((ROOT / name).read_text().splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#") and not pin.fullmatch(line.strip())
    ]
    assert wrong == []


def test_an_images_pins_are_those_of_the_one_environment() -> None:
    """localcloud runs an image's programs with the project's environment: it must hold what the image holds."""

    def pins(name: str) -> dict[str, str]:
        lines = (ROOT / name).read_text().splitlines()
        return dict(line.split(" ;")[0].strip().split("==") for line in lines if "==" in line and line[0] != "#")

    base = pins("requirements/base.txt")
    images = [name for name in TRACKED if re.fullmatch(r"seed_code/\w+/requirements\.txt", name)]
    assert images
    for image in images:
        assert {package: base.get(package) for package in pins(image)} == pins(image)


def test_the_changelog_begins_with_the_version_of_the_code() -> None:
    version = re.search(r'version="([^"]+)"', (ROOT / "setup.py").read_text())
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert version
    assert newest
    assert newest[1] == version[1]


def test_every_benchmark_is_listed_and_keeps_its_result() -> None:
    programs = {Path(name).stem for name in TRACKED if re.fullmatch(r"benchmarks/\w+\.py", name)}
    listed = set(re.findall(r"^\| `(\w+)\.py`", (ROOT / "benchmarks/README.md").read_text(), flags=re.MULTILINE))
    results = {Path(name).stem for name in TRACKED if re.fullmatch(r"benchmarks/results/\w+\.json", name)}
    assert listed == programs
    assert results == programs


def test_the_reference_lists_every_verb_of_the_command_line() -> None:
    listed = re.findall(r"^\| `mlops ([\w-]+)", (ROOT / "docs/reference/cli.md").read_text(), flags=re.MULTILINE)
    assert sorted(listed) == sorted(VERBS)
