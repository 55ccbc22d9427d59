"""The monitor pipeline of the forecaster: every hour its endpoint is asked for what the hour has brought.

`definition` is a pure function of the configuration and the image's URI: it calls nothing, and gives the same bytes
every time. The steps are those of `pipelines.monitor.steps`.
"""

from __future__ import annotations

from pipelines import names as n
from pipelines.config import Configuration
from pipelines.monitor.steps import Monitor, drift_arguments

WORKLOAD = "forecaster"


def definition(configuration: Configuration, image_uri: str) -> str:
    """The pipeline's definition as JSON text.

    image_uri: the workload's own image (`names.image_uri`).
    """
    workload, names = configuration.workloads.forecaster, configuration.names
    monitor = Monitor(WORKLOAD, workload, configuration, image_uri)
    data, drift = workload.data, workload.monitoring.drift
    series = [
        *("--feature-group", names.feature_group(*n.MINUTES)),
        *("--target", data.target),
        *("--frequency", data.frequency),
    ]
    evaluation = [
        *series,
        *("--ground-truth-uri", names.ground_truth_uri(WORKLOAD)),
        *("--prediction-length", monitor.tunable("prediction_length").to_string()),
        *("--confidence", str(workload.forecast.confidence)),
        *("--num-samples", str(workload.forecast.num_samples)),
        *("--min-observed-share", str(workload.monitoring.min_observed_share)),
        *drift_arguments("page-hinkley", drift.page_hinkley),
        *("--adwin-delta", str(drift.adwin.delta)),
        *drift_arguments("fee-page-hinkley", drift.fee_page_hinkley),
    ]
    return monitor.definition(workload.steps.monitor, evaluation, workload.steps.drift_report, series)
