"""What an execution of a pipeline has cost, and what it may still cost: the arithmetic of the cap.

A job is paid for by the second, for each of its machines and their disks, from when it has its machines until it ends.
One that still runs is counted as if it ran until its time limit, so that an execution which is let go on cannot exceed
the cap, whatever its jobs do. A transform has no limit: it counts with what it has cost so far, and is looked at again.

Not counted: earlier attempts of a step that a fault of the service ended, requests, storage in S3 and transfers, all
of which are small beside the machines.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipelines.cost import price_list
from pipelines.cost.price_list import PriceList

__all__ = ["Job", "Sum", "dollars_of", "sum_up"]

SECONDS_PER_HOUR = 3600
HOURS_PER_MONTH = 730


@dataclass(frozen=True)
class Job:
    """The job of one step.

    Attributes:
        step: the step's name.
        use: `processing`, `training` or `transform`.
        volume_gb: the disk of each machine; 0 for a transform's, which is not paid for apart.
        seconds: how long it has had its machines, until now or until its end.
        running: whether it still may go on.
        limit_seconds: after how long it is stopped; None without a limit.
    """

    step: str
    use: str
    instance_type: str
    instance_count: int
    volume_gb: int
    seconds: float
    running: bool
    limit_seconds: int | None


@dataclass(frozen=True)
class Sum:
    """US dollars: what was spent, and by how much more what runs may raise that."""

    spent: float
    ahead: float

    @property
    def at_most(self) -> float:
        return self.spent + self.ahead


def dollars_of(job: Job, seconds: float, prices: PriceList) -> float:
    """What a job costs that has its machines for so long. Raises PriceMissing."""
    hours = seconds / SECONDS_PER_HOUR
    by_the_hour = prices.dollars(price_list.instance(job.use, job.instance_type))
    if job.volume_gb:
        by_the_hour += job.volume_gb * prices.dollars(price_list.volume(job.use)) / HOURS_PER_MONTH
    return job.instance_count * by_the_hour * hours


def sum_up(jobs: Iterable[Job], prices: PriceList) -> Sum:
    """What the jobs of an execution have cost and may cost. Raises PriceMissing."""
    spent = ahead = 0.0
    for job in jobs:
        until_now = dollars_of(job, job.seconds, prices)
        spent += until_now
        if job.running and job.limit_seconds is not None:
            ahead += max(0.0, dollars_of(job, job.limit_seconds, prices) - until_now)
    return Sum(spent, ahead)
