"""`mlops approve`"""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli import decision
from pipelines.cli.options import (
    DecisionJsonOption,
    PackagesOption,
    StageOption,
    VersionArgument,
    WhoOption,
    WhyOption,
)


def command(
    version: VersionArgument,
    why: WhyOption,
    who: WhoOption = None,
    workload: PackagesOption = None,
    stage: StageOption = "staging",
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow the deployment that the approval starts.")
    ] = False,
    as_json: DecisionJsonOption = False,
) -> int:
    """Approve a model package: it is deployed to staging and tested there; with `--stage prod` it goes to production.

    Before production the report of the tests in staging is shown. Who and why are kept with the package. A decision
    that stands already changes nothing. Exit status 1 when a deployment that is waited for fails.
    """
    return decision.approve(version, workload, stage, why, who, wait, as_json)
