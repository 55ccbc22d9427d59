"""Which files of the repository concern which CodePipeline.

The triggers of template/project.yml say the same for a repository on GitHub, where CodePipeline itself looks at the
paths; a test holds the two against each other. No import but the standard library's: a Lambda function carries this.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.names import BUILD, MINUTES, MONITOR

# What every workload's pipelines are made of, a folder with `/**`.
_OF_KIND = {
    BUILD: (
        "configs/project.yml",
        "requirements/base.txt",
        "seed_code/common/**",
        "buildspecs/build.yml",
        "buildspecs/images.yml",
        "pipelines/build/**",
        "pipelines/steps.py",
    ),
    MONITOR: ("seed_code/common/**", "buildspecs/monitor.yml", "pipelines/monitor/**"),
}
# What one workload's are made of beside that. Its monitoring goes by the model that serves, and follows each
# deployment; a push need not wait for one where it changes the monitoring itself.
_OF_WORKLOAD = {
    BUILD: ("configs/workloads/{}.yml", "seed_code/{}/**"),
    MONITOR: ("configs/workloads/{}.yml", "seed_code/{}/drift_report.py", "seed_code/{}/monitor.py"),
}
_STREAM = ("configs/ingestion.yml", "seed_code/ingestion/**", "template/ingestion.yml")
# What the checks look at. A workload's own code is put to the proof by its build.
CHECKED = ("buildspecs/**", "pipelines/**", "template/**", "tests/**", "pyproject.toml", "setup.py")

STARTED_BY_PUSH = (BUILD, MONITOR)


def concerning(workload: str, kind: str) -> tuple[str, ...]:
    """The files and folders whose change starts a CodePipeline (`kind`: build or monitor), as globs."""
    stream = _STREAM if (workload, kind) == (MINUTES[0], BUILD) else ()
    return (*_OF_KIND[kind], *(one.format(workload) for one in _OF_WORKLOAD[kind]), *stream)


def first_match(paths: Iterable[str], globs: Iterable[str]) -> str | None:
    """The first of the paths that one of the globs names; None when there is none."""
    wanted = tuple(globs)
    return next((path for path in paths if any(matches(path, glob) for glob in wanted)), None)


def matches(path: str, glob: str) -> bool:
    """Whether a path is the file that a glob names, or lies in its folder."""
    return path.startswith(glob.removesuffix("**")) if glob.endswith("/**") else path == glob
