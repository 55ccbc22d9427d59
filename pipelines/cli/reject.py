"""`mlops reject`"""

from __future__ import annotations

from pipelines import registry
from pipelines.cli import decision
from pipelines.cli.options import DecisionJsonOption, PackagesOption, VersionArgument, WhoOption, WhyOption


def command(
    version: VersionArgument,
    why: WhyOption,
    who: WhoOption = None,
    workload: PackagesOption = None,
    as_json: DecisionJsonOption = False,
) -> None:
    """Reject a model package: it is not deployed, and is no champion.

    Who and why are kept with the package. A decision that stands already changes nothing.
    """
    decision.take(registry.REJECTED, version, workload, why, who, as_json)
