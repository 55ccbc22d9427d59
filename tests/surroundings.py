"""The surroundings of a localcloud service in a unit test: everything that needs no leaf, and a clock that stands."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from localcloud.calls import Calls
from localcloud.clients import Clients
from localcloud.clock import SystemClock
from localcloud.context import Context
from localcloud.iam.authority import Authority, Surroundings
from localcloud.iam.evaluation import Policies, Role
from localcloud.iam.policy import read
from localcloud.principals import Principals
from localcloud.signals import Signals
from localcloud.store import Store
from localcloud.timetable import Timetable
from localcloud.web import Web

REGION, ACCOUNT_ID = "eu-west-1", "123456789012"


class StandingClock(SystemClock):
    """A clock that moves only when it is set: `Timetable.advance` sets it, and so may a test."""

    def __init__(self, moment: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        super().__init__()
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    def hold(self) -> datetime:
        return self.moment

    def set(self, moment: datetime) -> None:
        assert moment >= self.moment, "time does not go back"
        self.moment = moment

    def release(self) -> None:
        pass


class AnyRole:
    """Every role there may be, each of which may do everything: there is no IAM."""

    def get(self, arn: str) -> Role | None:
        everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
        everybody = {"Effect": "Allow", "Action": "*", "Principal": "*"}
        trust = Policies(read({"Statement": everybody}, "trust", of_resource=True))
        return Role(arn, Policies(read({"Statement": everything}, "everything")), trust)

    def is_at_hand(self, arn: str) -> bool:
        return True

    def changed(self, role_name: str | None) -> None:
        pass


def surroundings(folder: Path, clock: SystemClock | None = None) -> Context:
    """A context without a leaf. Its clients answer nothing until a test connects them."""
    clock = clock or StandingClock()
    store = Store(folder / "store.sqlite")
    principals = Principals(store, ACCOUNT_ID)
    calls = Calls(folder / "calls.sqlite")
    around = Surroundings(REGION, ACCOUNT_ID, clock.now, lambda facts, key: None)
    return Context(
        store=store,
        leaf=None,  # type: ignore[arg-type]
        clock=clock,
        state_dir=folder,
        region=REGION,
        account_id=ACCOUNT_ID,
        endpoint_url="http://127.0.0.1:1",
        timetable=Timetable(clock),
        signals=Signals(),
        principals=principals,
        clients=Clients(REGION, principals),
        calls=calls,
        authority=Authority(calls, principals, AnyRole(), None, around),
        web=Web("http://127.0.0.1:1"),
    )
