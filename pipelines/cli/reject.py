"""`mlops reject`"""

from __future__ import annotations

from pipelines.cli import decision
from pipelines.cli.options import DecisionJsonOption, PackagesOption, VersionArgument, WhoOption, WhyOption


def command(
    version: VersionArgument,
    why: WhyOption,
    who: WhoOption = None,
    workload: PackagesOption = None,
    as_json: DecisionJsonOption = False,
) -> None:
    """Reject a model package: it is not deployed; a stage that serves it goes back to the newest other approved one.

    Who and why are kept with the package. A decision that stands already changes nothing.
    """
    decision.reject(version, workload, why, who, as_json)
