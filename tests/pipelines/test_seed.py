"""The seed of a project's repository: which files, under which names, with which values, and the same bytes each time.

`pytest tests/pipelines/test_seed.py --regenerate` writes the list of files anew; its change belongs to the commit.
"""

from __future__ import annotations

import ast
import io
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pipelines import yaml_files
from pipelines.errors import UsageError
from pipelines.publishing import seed
from pipelines.publishing.seed import Seed
from tests.pipelines import small_template
from tests.pipelines.test_stack import free_port

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent / "golden" / "seed.txt"


@pytest.fixture(scope="module")
def true_seed() -> Seed:
    return seed.assemble(ROOT, "eu-west-1")


@pytest.fixture(scope="module")
def unpacked(true_seed: Seed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The seed as a folder, as a repository's first commit has it."""
    folder = tmp_path_factory.mktemp("seed")
    _unpack(true_seed, folder)
    return folder


def _unpack(made: Seed, folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(made.archive)) as archive:
        for entry in archive.infolist():
            place = Path(archive.extract(entry, folder))
            place.chmod((entry.external_attr >> 16) & 0o777)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return small_template.make(tmp_path / "tree", [])


def _manifest(tree: Path, old: str, new: str) -> None:
    file = tree / "template" / "seed.yml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def _content(made: Seed, name: str) -> str:
    [entry] = [entry for entry in made.entries if entry.name == name]
    return entry.content.decode()


# --- the repository's own ---------------------------------------------------------------------------------------------


def test_the_seed_holds_exactly_these_files(true_seed: Seed, regenerate: bool) -> None:
    listed = "".join(f"{entry.name}{' *' if entry.executable else ''}\n" for entry in true_seed.entries)
    if regenerate:
        GOLDEN.write_text(listed)
    assert listed == GOLDEN.read_text()


def test_the_same_files_give_the_same_bytes(true_seed: Seed) -> None:
    assert seed.assemble(ROOT, "eu-west-1").archive == true_seed.archive


def test_a_project_of_the_seed_has_no_name_of_its_own(unpacked: Path) -> None:
    values = yaml_files.read(unpacked / "configs" / "project.yml", "configs/project.yml").values
    assert values is not None
    assert (values["name"], values["account_id"], values["region"]) == ("", "", "eu-west-1")
    ours = (ROOT / "configs" / "project.yml").read_text().splitlines()
    theirs = (unpacked / "configs" / "project.yml").read_text().splitlines()
    # Three values are others: every comment and every other line is as it was.
    assert sum(one != other for one, other in zip(ours, theirs, strict=True)) == 3


def test_programs_of_the_seed_are_executable(unpacked: Path) -> None:
    assert (unpacked / "seed_code/cardholders/bin/train").stat().st_mode & 0o111
    assert not (unpacked / "setup.py").stat().st_mode & 0o111


def test_every_link_of_the_seeds_pages_leads_to_a_file(unpacked: Path) -> None:
    missing = [
        f"{page.relative_to(unpacked)}: {link}"
        for page in sorted(unpacked.rglob("*.md"))
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", re.sub(r"`[^`\n]+`", "", page.read_text()))
        if not link.startswith(("http:", "https:", "mailto:")) and not (page.parent / link).exists()
    ]
    assert missing == []


def test_what_the_seeds_programs_import_is_in_the_seed(true_seed: Seed) -> None:
    ours = ("localcloud", "pipelines", "seed_code", "tests")
    known = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in true_seed.names}
    known |= {package.rpartition(".")[0] for package in known}  # folders without an __init__
    missing = set()
    for entry in true_seed.entries:
        if not entry.name.endswith(".py"):
            continue
        for node in ast.walk(ast.parse(entry.content)):
            modules = [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            missing |= {
                f"{entry.name}: {module}" for module in modules if module.split(".")[0] in ours and module not in known
            }
    assert sorted(missing) == []


def test_the_seed_stands_alone(unpacked: Path) -> None:
    """Its tests are found, and nothing that they import is missing."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests/test_definitions.py"],
        cwd=unpacked,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# --- the manifest -----------------------------------------------------------------------------------------------------


def test_patterns_names_and_values_make_a_seed(tree: Path) -> None:
    made = seed.assemble(tree, "us-east-1")
    assert "seed_code/cardholders/secret.py" not in made.names
    assert "setup.py" not in made.names
    assert _content(made, "README.md") == "# A project\n"
    assert 'region: "us-east-1" # AWS_REGION' in _content(made, "configs/project.yml")


def test_what_git_ignores_is_in_no_seed(tree: Path) -> None:
    (tree / ".gitignore").write_text(".mlops/\n*.log\n")
    (tree / "configs" / "run.log").write_text("noise")
    without_git = seed.assemble(tree, "eu-west-1").names
    subprocess.run(["git", "init", "-q", str(tree)], check=True)
    assert seed.assemble(tree, "eu-west-1").names == without_git
    assert "configs/run.log" not in without_git


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[/configs/, ", "[/configs/, /gone/, ", "include: `/gone/` fits no file"),
        ("exclude: [", "exclude: [/gone.py, ", "exclude: `/gone.py` fits no file"),
        ('rename: {template/seed/: ""}', "rename: {gone/: x/}", "rename: there is no `gone/`"),
        ("template/seed/: ", "seed_code/cardholders/Dockerfile: .gitignore, template/seed/: ", "two files are"),
        ("configs/project.yml: {", "configs/gone.yml: {", "values.configs/gone.yml: the seed has no such file"),
        ("include:", "inclued:", "inclued"),
    ],
)
def test_a_mistake_of_the_manifest_is_named(tree: Path, old: str, new: str, said: str) -> None:
    _manifest(tree, old, new)
    with pytest.raises(UsageError) as refused:
        seed.assemble(tree, "eu-west-1")
    assert said in str(refused.value)


def test_a_link_is_refused(tree: Path) -> None:
    (tree / "configs" / "link.yml").symlink_to("project.yml")
    with pytest.raises(UsageError, match="is a link"):
        seed.assemble(tree, "eu-west-1")


_QUICK = tuple(f"tests/seed_code/cardholders/test_{part}.py" for part in ("features", "split", "clusters"))
_SIZE = ("--transactions", "60000", "--holders", "900")


# --- a project of it --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_project_of_the_seed_is_in_order_and_builds_a_model(unpacked: Path, tmp_path: Path) -> None:
    """What a person does first: look it over, test it, start the servers, train."""
    tools = ROOT / ".venvs" / "lint" / "bin"
    assert tools.is_dir(), f"no {tools}; `make lint` makes it"
    for command in (
        (str(tools / "ruff"), "check", "."),
        (str(tools / "ruff"), "format", "--check", "."),
        (str(tools / "lint-imports"),),
        (sys.executable, "-m", "pytest", "-q", "tests/test_definitions.py", *_QUICK),
    ):
        _run(unpacked, *command)

    cards = tmp_path / "cards.csv"
    _run(unpacked, sys.executable, "-m", "seed_code.cardholders.generate", "--out", str(cards), *_SIZE)
    mlops = (sys.executable, "-m", "pipelines.cli")
    try:
        _run(unpacked, *mlops, "up", "--port", str(free_port()))
        _run(unpacked, *mlops, "run", "cardholders", "--data", str(cards))
        assert "PendingManualApproval" in _run(unpacked, *mlops, "models", "cardholders", "--json")
    finally:
        _run(unpacked, *mlops, "down")


def _run(folder: Path, *command: str) -> str:
    """What a command prints, as from a shell that knows of no AWS but of which project this is."""
    left_out = ("AWS_", "MLFLOW_", "MLOPS_", "PYTHONDONTWRITEBYTECODE", "PYTEST_", "COV_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    environment |= {"SAGEMAKER_PROJECT_NAME": "of-a-seed", "PYTHONPATH": str(folder), "AWS_DEFAULT_REGION": "eu-west-1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-5000:]}\n{done.stderr[-5000:]}"
    return done.stdout
