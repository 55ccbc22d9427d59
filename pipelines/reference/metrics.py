"""The metrics of the project's own, which its programs publish: what each is called, and what it says.

Programs publish by these names as they stand in seed_code; nothing of it is imported here, and a test holds both
against each other.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.names import INGESTION_METRICS

__all__ = ["METRICS", "MONITORING", "Metric"]

MONITORING = "MLOps/Monitoring"


@dataclass(frozen=True)
class Metric:
    """One metric: namespace, name, who publishes it, what it says."""

    namespace: str
    name: str
    by: str
    meaning: str


DIMENSIONS = {
    MONITORING: "`Project`, `Workload`, `Stage`; of fields also `Field`",
    INGESTION_METRICS: "`Project`",
}
"""By namespace."""

_FORECASTER, _CARDHOLDERS, _BOTH = "forecaster", "cardholders", "both"
_POLLER, _DEDUPLICATE, _WRITER = "poller", "deduplicate", "write-minutes"

METRICS = (
    *(
        Metric(MONITORING, *each)
        for each in (
            ("MeanWeightedQuantileLoss", _FORECASTER, "the loss over the hour's windows, as the build reckons it"),
            ("BrierScore", _CARDHOLDERS, "of the answers that came due within the window, with feedback"),
            ("LossThreshold", _BOTH, "the level that the loss, or the Brier score, is held against"),
            ("SeasonalNaiveLoss", _FORECASTER, "what repeating the day before would have lost"),
            ("IntervalCoverage", _FORECASTER, "the share of minutes inside the band"),
            ("RootMeanSquaredError", _FORECASTER, "of the mean forecast"),
            ("Accuracy", _CARDHOLDERS, "of the same answers as the Brier score"),
            ("CalibrationError", _CARDHOLDERS, "of the same"),
            ("Feedback", _CARDHOLDERS, "answers with feedback"),
            ("FeedbackShare", _CARDHOLDERS, "their share of those that came due"),
            ("Requests", _CARDHOLDERS, "requests in the window"),
            ("DataFreshnessMinutes", _BOTH, "age of the newest minute, or request, at the evaluation's time"),
            ("MissingMinutes", _FORECASTER, "minutes of the hour without a record"),
            ("UnscoredWindows", _FORECASTER, "windows that the endpoint was asked for in vain"),
            ("PageHinkleyStatistic", _BOTH, "of the stream of losses or errors"),
            ("AdwinWidth", _BOTH, "values in ADWIN's window over the same stream"),
            ("FeePageHinkleyStatistic", _FORECASTER, "the test of Page and Hinkley on the fees themselves"),
            ("DriftDetected", _BOTH, "1 when a detector has found drift in this hour, else 0"),
            ("PopulationStabilityIndex", _CARDHOLDERS, "requests against training: the largest, and by `Field`"),
            ("KolmogorovSmirnov", _CARDHOLDERS, "the same by another measure"),
            ("ClusterShift", _CARDHOLDERS, "of the clusters' shares: 0 as in training, 1 nothing in common"),
        )
    ),
    *(
        Metric(INGESTION_METRICS, *each)
        for each in (
            ("Polls", _POLLER, "answers of the source that were used"),
            ("Transactions", _POLLER, "new ones"),
            ("DuplicatesAcrossPages", _POLLER, "known from an earlier page"),
            ("Gaps", _POLLER, "answers that share nothing with the one before"),
            ("SetAside", _POLLER, "what is no transaction"),
            ("SourceErrors", _POLLER, "answers that are none, or none at all"),
            ("Dropped", _POLLER, "events that were given up"),
            ("SpooledEntries", _POLLER, "events on disk that wait for the bus"),
            ("SourceLagSeconds", _POLLER, "the source's clock less its newest transaction's time"),
            ("Received", _DEDUPLICATE, "transactions that came"),
            ("Duplicates", _DEDUPLICATE, "of them, known ones"),
            ("Published", _DEDUPLICATE, "of them, passed on"),
            ("MinutesWritten", _WRITER, "minutes that were written to the feature store"),
            ("QuietMinutes", _WRITER, "of them, without a transaction"),
            ("LateTransactions", _WRITER, "transactions after their minute was closed"),
            ("PoisonRecords", _WRITER, "records that cannot be used"),
            ("MinuteAgeSeconds", _WRITER, "age of a minute's end when it was written"),
        )
    ),
)
