"""`mlops upsert`"""

from __future__ import annotations

from pipelines.cli import select, show
from pipelines.cli.context import Context
from pipelines.cli.deployment import bring_pipelines
from pipelines.cli.options import PipelineArgument, WorkloadArgument
from pipelines.cli.run import bring
from pipelines.names import DEPLOY_KINDS, MONITOR
from pipelines.parameter_store import read
from pipelines.session import client


def command(workload: WorkloadArgument = None, pipeline: PipelineArgument = None) -> None:
    """Make the account's pipeline what the working tree says, with the image that it runs, and start nothing.

    Of the monitoring, the threshold is told that its evaluations go by from now on.
    """
    workload, kind = select.pipeline(workload, pipeline)
    context = Context.here()
    out = show.console()
    if kind in DEPLOY_KINDS.values():
        bring_pipelines(out, context, workload)
        return
    bring(out, context, workload, kind)
    if kind == MONITOR:
        folder, _, parameter = context.names.monitoring_threshold(workload).rpartition("/")
        threshold = read(client(context.session, "ssm"), folder).get(parameter)
        told = threshold or "none yet, for nothing has been deployed to production"
        out.print(f"threshold of the loss: {told}", soft_wrap=True)
