"""Programs: how they run, are stopped, and leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from localcloud.jobs import reaper as reaper_module
from localcloud.jobs.process import Control, Ended, Launcher, Slots, kill_marked
from localcloud.jobs.reaper import Reaper

WAIT_SECONDS = 30.0


@pytest.fixture
def reaper() -> Iterator[Reaper]:
    made = Reaper()
    yield made
    made.stop()


class Output:
    """Collects what a program writes; `seen` is set when the text it waits for has come."""

    def __init__(self, wanted: bytes = b"") -> None:
        self.content = b""
        self.wanted = wanted
        self.seen = threading.Event()

    def __call__(self, chunk: bytes) -> None:
        self.content += chunk
        if self.wanted in self.content:
            self.seen.set()


def run(
    reaper: Reaper,
    folder: Path,
    script: str,
    output: Callable[[bytes], None],
    control: Control | None = None,
    *,
    limit_seconds: float | None = None,
    grace_seconds: float = WAIT_SECONDS,
) -> Ended:
    environment = {"PATH": os.environ["PATH"], "SAGEMAKER_BASE_DIR": str(folder / "opt/ml")}
    return Launcher(reaper, grace_seconds).run(
        ["/bin/sh", "-c", script], environment, folder, output, lambda: None, limit_seconds, control or Control()
    )


def dies(pid: int) -> bool:
    """Whether a process is gone or a zombie, soon: one that was killed may take a moment to leave the process table."""
    deadline, never = time.monotonic() + WAIT_SECONDS, threading.Event()
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        never.wait(0.01)
    return False


def test_output_and_status(reaper: Reaper, tmp_path: Path) -> None:
    output = Output()
    ended = run(reaper, tmp_path, 'echo out; echo err >&2; pwd; cat; echo "$0 $#"; exit 3', output)
    assert (ended.returncode, ended.stopped, ended.timed_out) == (3, False, False)
    assert output.content.decode().splitlines() == ["out", "err", str(tmp_path), "/bin/sh 0"]


def test_a_program_gets_its_environment_and_no_other(
    reaper: Reaper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_OF_THE_CALLER", "x")
    output = Output()
    run(reaper, tmp_path, "env", output)
    names = {line.partition("=")[0] for line in output.content.decode().splitlines()}
    assert names <= {"PATH", "SAGEMAKER_BASE_DIR", "PWD", "SHLVL", "_", "OLDPWD"}


def test_stop_is_polite_first(reaper: Reaper, tmp_path: Path) -> None:
    output, control = Output(b"ready"), Control()
    thread = threading.Thread(target=lambda: output.seen.wait(WAIT_SECONDS) and control.stop())
    thread.start()
    ended = run(
        reaper, tmp_path, "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 1 & wait; done", output, control
    )
    thread.join()
    assert ended == Ended(0, stopped=True, timed_out=False)
    assert output.content.endswith(b"bye\n")


def test_stop_is_final(reaper: Reaper, tmp_path: Path) -> None:
    output, control = Output(b"ready"), Control()
    thread = threading.Thread(target=lambda: output.seen.wait(WAIT_SECONDS) and control.stop())
    thread.start()
    ended = run(
        reaper, tmp_path, "trap '' TERM; echo ready; while :; do sleep 60; done", output, control, grace_seconds=0.1
    )
    thread.join()
    assert ended == Ended(-9, stopped=True, timed_out=False)


def test_stopped_before_it_began(reaper: Reaper, tmp_path: Path) -> None:
    control = Control()
    control.stop()
    ended = run(reaper, tmp_path, "sleep 60", Output(), control)
    assert ended.stopped
    assert ended.returncode != 0


def test_time_limit(reaper: Reaper, tmp_path: Path) -> None:
    ended = run(reaper, tmp_path, "sleep 60", Output(), limit_seconds=0.1)
    assert ended == Ended(-15, stopped=False, timed_out=True)


def test_time_limit_is_final(reaper: Reaper, tmp_path: Path) -> None:
    script = "trap '' TERM; while :; do sleep 60; done"
    ended = run(reaper, tmp_path, script, Output(), limit_seconds=1, grace_seconds=0.1)
    assert ended == Ended(-9, stopped=False, timed_out=True)


def test_children_and_daemons_end_with_the_program(reaper: Reaper, tmp_path: Path) -> None:
    # The daemon keeps the output open: without its end the reader would never see the end of it.
    run(reaper, tmp_path, "sleep 60 & echo $! > child; setsid sleep 60 & echo $! > daemon", Output())
    assert all(dies(int((tmp_path / name).read_text())) for name in ("child", "daemon"))


def test_trouble_with_the_output_is_raised_and_blocks_nothing(reaper: Reaper, tmp_path: Path) -> None:
    def broken(_: bytes) -> None:
        raise OSError("no room for the log")

    with pytest.raises(OSError, match="no room for the log"):
        run(
            reaper,
            tmp_path,
            "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done",
            broken,
        )


def test_kill_marked_reaches_jobs_below_a_folder_only(tmp_path: Path) -> None:
    mine, other = tmp_path / "jobs" / "a" / "opt/ml", tmp_path / "jobs-of-others" / "opt/ml"
    children = [
        subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], env={"SAGEMAKER_BASE_DIR": str(base)})
        for base in (mine, other)
    ]
    try:
        assert kill_marked(str(tmp_path / "jobs"), below=True) == 1
        assert children[0].wait(WAIT_SECONDS) == -9
        assert children[1].poll() is None
    finally:
        for child in children:
            child.kill()
            child.wait()


def test_the_watchdog_kills_what_is_listed_when_its_pipe_ends() -> None:
    children = [
        subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
        for _ in range(2)
    ]
    try:
        lines = f"+{children[0].pid}\n+{children[1].pid}\n-{children[1].pid}\n"
        watchdog = [sys.executable, "-S", "-E", reaper_module.__file__]
        subprocess.run(watchdog, input=lines.encode(), check=True, timeout=WAIT_SECONDS)
        assert children[0].wait(WAIT_SECONDS) == -9
        assert children[1].poll() is None
    finally:
        for child in children:
            child.kill()
            child.wait()


def test_slots_are_as_many_as_there_are_and_in_order() -> None:
    slots = Slots(1)
    order: list[str] = []
    waiting = threading.Semaphore(0)

    def work(name: str, control: Control) -> None:
        control.on_stop(waiting.release)
        with slots.hold(control) as granted:
            order.append(f"{name} {granted}")

    first, second, third = Control(), Control(), Control()
    with slots.hold(first) as granted:
        assert granted
        stopped = threading.Thread(target=work, args=("stopped", second))
        stopped.start()
        second.stop()
        stopped.join(WAIT_SECONDS)
        assert order == ["stopped False"]
        patient = threading.Thread(target=work, args=("patient", third))
        patient.start()
        assert order == ["stopped False"]
    patient.join(WAIT_SECONDS)
    assert order == ["stopped False", "patient True"]


def test_a_daemon_in_an_environment_of_its_own_is_neither_waited_for_nor_left(reaper: Reaper, tmp_path: Path) -> None:
    # Nothing says whose it is but the output, which it keeps open.
    daemon = "setsid env -i /bin/sh -c 'echo $$ > pid; exec sleep 600' & while [ ! -s pid ]; do sleep 0.01; done"
    output = Output()
    ended = run(reaper, tmp_path, f"{daemon}; echo done", output)
    assert ended == Ended(0, stopped=False, timed_out=False)
    assert output.content == b"done\n"
    assert dies(int((tmp_path / "pid").read_text()))


def test_a_daemon_that_goes_on_writing_ends_nothing_but_itself(reaper: Reaper, tmp_path: Path) -> None:
    daemon = "setsid env -i /bin/sh -c 'echo $$ > pid; exec yes' & while [ ! -s pid ]; do sleep 0.01; done"
    assert run(reaper, tmp_path, daemon, Output()).returncode == 0
    assert dies(int((tmp_path / "pid").read_text()))


def test_killed_before_it_began(reaper: Reaper, tmp_path: Path) -> None:
    control = Control()
    control.kill()
    # With a polite end first, a program that is deaf to it would have the whole time of grace.
    ended = run(reaper, tmp_path, "trap '' TERM; while :; do sleep 600; done", Output(), control, grace_seconds=600)
    assert (ended.returncode, ended.stopped) == (-9, True)


def test_a_watchdog_that_was_killed_has_a_successor_that_knows_as_much() -> None:
    children = [
        subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
        for _ in range(2)
    ]
    reaper = Reaper()
    try:
        reaper.watch(children[0].pid)
        assert reaper._process is not None
        reaper._process.kill()
        reaper._process.wait()
        assert reaper._process.stdin is not None
        reaper._process.stdin.close()
        reaper.watch(children[1].pid)
        reaper.stop()
        assert [child.wait(WAIT_SECONDS) for child in children] == [-9, -9]
    finally:
        for child in children:
            child.kill()
            child.wait()
