"""`mlops approve`"""

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
    """Approve a model package: it may be deployed, and is the champion that later ones are measured against.

    Who and why are kept with the package. A decision that stands already changes nothing.
    """
    decision.take(registry.APPROVED, version, workload, why, who, as_json)
