"""A container by itself: its surroundings, its restart policy, its health check, its end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from localcloud.ecs import health
from localcloud.ecs.container import Container, Surroundings, prepare, restarts
from localcloud.ecs.fargate import cpu_units, megabytes
from localcloud.ecs.pace import Pace
from localcloud.ecs.placement import assign
from localcloud.ecs.running import overridden
from localcloud.jobs.container import Root
from localcloud.jobs.images import Image, ImageError
from localcloud.jobs.reaper import Reaper


@pytest.fixture
def around() -> Iterator[Surroundings]:
    """Whose seconds take ten milliseconds."""
    reaper = Reaper()
    yield Surroundings("http://127.0.0.1:1", "eu-west-1", reaper, Pace(0.01))
    reaper.stop()


class Made:
    """A container of a program in a file, and what was told of it."""

    def __init__(self, folder: Path, around: Surroundings, program: str, **members: Any) -> None:
        self.root, self.volume = Root(folder / "root"), folder / "volume"
        self.volume.mkdir()
        place = folder / "image" / "opt" / "program"
        place.mkdir(parents=True)
        (place / "main.py").write_text(program)
        image = Image("uri", "sha256:0", folder / "image", {}, "/opt/program", (), ())
        definition = {
            "name": "main",
            "entryPoint": [sys.executable],
            "command": ["/opt/program/main.py"],
            **members,
        }
        mounts = {"/var/spool": self.volume}
        plan = prepare(definition, image, self.root, mounts, "key", None, around)
        self.told: list[Mapping[str, Any]] = []
        self.changed = threading.Event()
        self.container = Container(plan, around, self.tell)

    def tell(self, members: Mapping[str, Any]) -> None:
        self.told.append(members)
        self.changed.set()

    def text(self, name: str) -> str:
        return (self.volume / name).read_text()


COUNT = """
import pathlib, sys
counter = pathlib.Path("/var/spool/count".replace("/var/spool", sys.argv[1]))
number = int(counter.read_text()) + 1 if counter.exists() else 1
counter.write_text(str(number))
sys.exit(int(sys.argv[2]) if number < 3 else 0)
"""


def test_a_restart_policy_starts_it_again_with_its_volumes(tmp_path: Path, around: Surroundings) -> None:
    policy = {"enabled": True, "ignoredExitCodes": [0], "restartAttemptPeriod": 0.001}
    made = Made(tmp_path, around, COUNT, command=["/opt/program/main.py", "/var/spool", "7"], restartPolicy=policy)
    made.container.run()
    assert (made.text("count"), made.container.exit_code) == ("3", 0)


def test_without_a_policy_it_ends(tmp_path: Path, around: Surroundings) -> None:
    made = Made(tmp_path, around, COUNT, command=["/opt/program/main.py", "/var/spool", "7"])
    made.container.run()
    assert (made.text("count"), made.container.exit_code) == ("1", 7)


def test_a_container_that_ends_too_soon_is_not_started_again() -> None:
    policy = {"enabled": True, "ignoredExitCodes": [3]}
    assert restarts(policy, 1, 300)
    assert not restarts(policy, 1, 299)
    assert not restarts(policy, 3, 1000)
    assert restarts({"enabled": True, "restartAttemptPeriod": 60}, 0, 60)
    assert not restarts({"enabled": False}, 1, 1000)
    assert not restarts(None, 1, 1000)


HANG = """
import pathlib, signal, sys
pathlib.Path(sys.argv[1], "here").write_text("x")
signal.pause()
"""


def test_its_health_is_told(tmp_path: Path, around: Surroundings) -> None:
    check = {"command": ["CMD-SHELL", "test -e /var/spool/here && test ! -e /var/spool/ill"], "interval": 5}
    made = Made(tmp_path, around, HANG, command=["/opt/program/main.py", "/var/spool"], healthCheck=check)
    thread = threading.Thread(target=made.container.run)
    thread.start()
    assert made.changed.wait(30)
    assert made.told == [{"healthStatus": "HEALTHY"}]
    made.changed.clear()
    (made.volume / "ill").write_text("x")
    assert made.changed.wait(30)
    assert made.told[1:] == [{"healthStatus": "UNHEALTHY"}]
    made.container.stop()
    thread.join()
    assert made.container.exit_code == 128 + 15


def test_health_needs_several_failures_and_one_success() -> None:
    found = health.Health(health.Check(("x",), interval=1, retries=2, start_period=10))
    # While it starts a failure says nothing.
    assert [found.take(False, age) for age in (0.25, 0.75, 1.75, 9)] == ["UNKNOWN"] * 4
    assert found.pause_seconds == 1
    assert [found.take(False, age) for age in (11, 12)] == ["UNKNOWN", "UNHEALTHY"]
    assert [found.take(well, 13) for well in (True, False, True, False, False)] == [
        "HEALTHY",
        "HEALTHY",
        "HEALTHY",
        "HEALTHY",
        "UNHEALTHY",
    ]


def test_health_is_asked_for_sooner_at_first() -> None:
    found = health.Health(health.Check(("x",), interval=30))
    pauses = []
    for _ in range(9):
        pauses.append(found.pause_seconds)
        found.take(False, 0)
    assert pauses == [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30]
    found.take(True, 0)
    assert found.pause_seconds == 30


def test_a_check_of_a_definition() -> None:
    assert health.Check.of(None) is None
    assert health.Check.of({"command": ["NONE"]}) is None
    assert health.Check.of({"command": ["CMD", "a", "b c"]}) == health.Check(("a", "b c"))
    shell = health.Check.of({"command": ["CMD-SHELL", "a || exit 1"], "interval": 7, "timeout": 3, "retries": 5})
    assert shell == health.Check(("/bin/sh", "-c", "a || exit 1"), 7, 3, 5)


def test_an_image_without_a_program_is_refused(tmp_path: Path, around: Surroundings) -> None:
    with pytest.raises(ImageError, match="neither ENTRYPOINT nor CMD"):
        Made(tmp_path, around, "", entryPoint=[], command=[])


def test_a_read_only_root_cannot_be_written_to(tmp_path: Path, around: Surroundings) -> None:
    made = Made(tmp_path, around, "", readonlyRootFilesystem=True)
    modes = {folder.stat().st_mode & 0o222 for folder in (made.root.path, made.root.home, made.root.temporary)}
    assert modes == {0}
    made.root.remove()
    assert not made.root.path.exists()


def test_overrides_join_the_definitions_environment() -> None:
    container = {"name": "a", "command": ["x"], "environment": [{"name": "A", "value": "1"}]}
    override = {"name": "a", "command": ["y"], "environment": [{"name": "A", "value": "2"}, {"name": "B"}]}
    assert overridden(container, override) == {
        "name": "a",
        "command": ["y"],
        "environment": [{"name": "A", "value": "2"}, {"name": "B", "value": ""}],
    }
    assert overridden(container, {}) == container


def test_sizes_are_read_in_both_notations() -> None:
    assert [cpu_units(text) for text in ("256", ".25 vCPU", "1 vcpu", "x")] == [256, 256, 1024, 0]
    assert [megabytes(text) for text in ("512", "0.5 GB", "2GB", "-1")] == [512, 512, 2048, 0]


def test_a_strategy_fills_its_base_and_then_goes_by_weight() -> None:
    strategy = [
        {"capacityProvider": "FARGATE", "base": 1, "weight": 1},
        {"capacityProvider": "FARGATE_SPOT", "base": 0, "weight": 2},
    ]
    running: dict[str, int] = {}
    for _ in range(7):
        chosen = assign(strategy, running)
        running[chosen] = running.get(chosen, 0) + 1
    assert running == {"FARGATE": 3, "FARGATE_SPOT": 4}
