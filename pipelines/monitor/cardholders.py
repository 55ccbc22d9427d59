"""The monitor pipeline of cardholders: every hour its answers are held against what became of them.

`definition` is a pure function of the configuration and the image's URI: it calls nothing, and gives the same bytes
every time. The steps are those of `pipelines.monitor.steps`.
"""

from __future__ import annotations

from pipelines.config import Configuration
from pipelines.monitor.steps import Monitor, drift_arguments

WORKLOAD = "cardholders"


def definition(configuration: Configuration, image_uri: str) -> str:
    """The pipeline's definition as JSON text.

    image_uri: the workload's own image (`names.image_uri`).
    """
    workload, names = configuration.workloads.cardholders, configuration.names
    monitor = Monitor(WORKLOAD, workload, configuration, image_uri)
    settings = workload.monitoring
    evaluation = [
        *("--ground-truth-uri", names.ground_truth_uri(WORKLOAD)),
        *("--window-hours", str(settings.window_hours)),
        *("--min-feedback", str(settings.min_feedback)),
        *("--min-requests", str(settings.min_requests)),
        *("--max-psi", str(settings.max_psi)),
        *drift_arguments("page-hinkley", settings.drift.page_hinkley),
        *("--adwin-delta", str(settings.drift.adwin.delta)),
    ]
    report = [*("--window-hours", str(settings.window_hours)), *("--max-psi", str(settings.max_psi))]
    return monitor.definition(workload.steps.monitor, evaluation, workload.steps.drift_report, report)
