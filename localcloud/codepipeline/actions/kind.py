"""What carries out the actions of one type."""

from __future__ import annotations

from typing import Protocol

from localcloud.codepipeline.turn import Outcome, Turn


class Kind(Protocol):
    """Carries out actions, each run on a thread of its own. A run that a restart has cut off is given again, with what
    it had noted of its progress: what it has begun elsewhere is not to be begun twice."""

    def run(self, turn: Turn) -> Outcome | None:
        """Do it; None if somebody is to answer later. Raises ActionFailed, Halted and Closing."""
        ...
