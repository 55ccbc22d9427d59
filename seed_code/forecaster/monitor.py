"""Monitor: an hour of the live endpoint's forecasts, collected, scored and published. One process an evaluation.

python3 -m seed_code.forecaster.monitor --project … --stage … --evaluation-time T --threshold LOSS …
    (all arguments: `seed_code/common/monitoring.py` and below; `mlops definition forecaster monitor` shows them)

collect   the newest minutes, from the online feature store, as they were known at T; as many rolling windows as the
          hour holds; the live endpoint is asked for each, with what was known at its origin and nothing later
score     weighted quantile loss, coverage, RMSE, the season's repetition on the same windows, freshness, gaps, drift
publish   the hour's report and predictions with what happened to S3, the run in MLflow, metrics to CloudWatch, and
          last the state that the next evaluation goes on from

A window counts when --min-observed-share of its steps were observed; the loss is that of the windows that count, be it
the first alone. Where there is nothing to score there is no score, and the report's `verdict` says why: `no-data` and
`too-little-data` are the data's fault, `endpoint-failed` is the endpoint's. None of them fails the job: an evaluation
that found nothing has happened. It fails, with the reason, when the feature store, S3 or CloudWatch do not answer.

Two streams are watched for drift: `loss`, the logarithm of the hour's loss over the threshold, and `fee`, that of the
hour's fee over the usual one (`hourly.fee_change`). Both begin anew with each deployment.

MLflow's package, pandas, SciPy and scikit-learn are not imported: together they would take longer than all the rest.
"""

import argparse
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# One thread, before NumPy starts its own: there is nothing here that a second one would hasten.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402

from seed_code.common import drift, monitoring, monitoring_publish, monitoring_store  # noqa: E402
from seed_code.common.arguments import ArgumentParser, whole_number  # noqa: E402
from seed_code.common.clients import client  # noqa: E402
from seed_code.common.drift import Adwin, Finding, PageHinkley  # noqa: E402
from seed_code.common.failure import reports_failure  # noqa: E402
from seed_code.common.monitoring import Evaluation  # noqa: E402
from seed_code.common.objects import Objects  # noqa: E402
from seed_code.forecaster import answers, hourly, joining  # noqa: E402
from seed_code.forecaster.frequency import EXPECTED, Frequency  # noqa: E402
from seed_code.forecaster.hourly import Asked, Plan, Scores  # noqa: E402
from seed_code.forecaster.live import LiveEndpoint, NoAnswer  # noqa: E402
from seed_code.forecaster.online import OnlineMinutes  # noqa: E402

WORKLOAD = "forecaster"
LOSS, FEE = "loss", "fee"
FEE_PAGE_HINKLEY = "fee-page-hinkley"
_ANSWER_SECONDS = 60.0  # which a model has for one; SageMaker's limit


def parser() -> ArgumentParser:
    """The command line; `pipelines/monitor/forecaster.py` fills it."""
    described = monitoring.parser("monitor", "Judges an hour of the live endpoint's forecasts.")
    described.add_argument("--feature-group", required=True, help="of minutes")
    described.add_argument("--target", required=True, help="feature that is forecast")
    described.add_argument("--frequency", required=True, type=_frequency)
    described.add_argument("--ground-truth-uri", required=True, help="S3 URI")
    described.add_argument("--prediction-length", required=True, type=whole_number(1, 1440))
    described.add_argument("--confidence", required=True, type=whole_number(1, 99), help="per cent in the band")
    described.add_argument("--num-samples", required=True, type=whole_number(1, 10_000), help="of a forecast")
    described.add_argument("--min-observed-share", required=True, type=_share, help="of a window's steps")
    drift.add_arguments(described, (drift.PAGE_HINKLEY, FEE_PAGE_HINKLEY))
    return described


@dataclass(frozen=True)
class Settings:
    """What an evaluation is told beside what it is about."""

    feature_group: str
    target: str
    frequency: Frequency
    ground_truth_uri: str
    prediction_length: int
    levels: tuple[float, ...]
    num_samples: int
    min_observed_share: float
    page_hinkley: PageHinkley
    adwin: Adwin
    fee_page_hinkley: PageHinkley

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "Settings":
        """From the command line.

        Raises:
            ClientError: when a value is out of its range.
        """
        return cls(
            feature_group=arguments.feature_group,
            target=arguments.target,
            frequency=arguments.frequency,
            ground_truth_uri=arguments.ground_truth_uri,
            prediction_length=arguments.prediction_length,
            levels=answers.levels_of(arguments.confidence),
            num_samples=arguments.num_samples,
            min_observed_share=arguments.min_observed_share,
            page_hinkley=drift.page_hinkley_of(arguments),
            adwin=drift.adwin_of(arguments),
            fee_page_hinkley=drift.page_hinkley_of(arguments, FEE_PAGE_HINKLEY),
        )


@reports_failure
def main() -> None:
    """Evaluate the hour that the command line names."""
    arguments = parser().parse_args()
    of, settings = monitoring.evaluation(arguments, WORKLOAD), Settings.of(arguments)
    objects = Objects(client("s3"))
    before = monitoring_store.newest_state(objects, of, streams_of)
    hour = collect(of, settings, objects)
    streams = grown(before, hour, of.threshold)
    findings = look_for_drift(streams, hour, settings)
    verdict, reason = hour.verdict(settings)
    report = monitoring.report(
        of,
        verdict,
        reason,
        metrics_of(hour, findings, of.threshold),
        findings,
        windows=[hourly.document(window, settings.levels) for window in hour.windows],
        unreadable_captures=hour.unreadable,
    )
    joining.put_ground_truth(objects, settings.ground_truth_uri, of, hour.joined)
    monitoring_publish.publish(
        of,
        report,
        hour.joined,
        {"streams": {name: drift.kept(values) for name, (values, _) in streams.items()}},
        before=before,
        objects=objects,
        cloudwatch=client("cloudwatch"),
    )
    sys.stdout.write(f"monitor: {of.endpoint} at {monitoring.iso(of.time)}: {verdict}: {reason}\n")


# --- collect ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hour:
    """What was collected.

    Attributes:
        windows: all of the hour, those that were not observed enough among them, which were not asked for.
        scores: over the windows that count and were answered; None when there is none, or no finite loss.
        fee: see `hourly.fee_change`.
        freshness_minutes: between the newest minute's end and T.
        missing_minutes: minutes of the hour that had no record at T.
        joined: predictions with what happened.
        unreadable: lines of the data capture that are no forecast.
    """

    windows: list[Asked]
    scores: Scores | None
    fee: float | None
    freshness_minutes: float
    missing_minutes: int
    joined: list[dict[str, Any]]
    unreadable: int

    @property
    def unanswered(self) -> list[Asked]:
        """The windows that the endpoint was asked for in vain."""
        return [window for window in self.windows if window.error]

    def verdict(self, settings: Settings) -> tuple[str, str]:
        """The word and the sentence for the report."""
        answered = sum(window.answer is not None for window in self.windows)
        if self.scores is not None:
            told = f"{answered} of {len(self.windows)} windows, weighted quantile loss {self.scores.loss:.4f}"
            return monitoring.SCORED, told + (f"; {self.unanswered[0].error}" if self.unanswered else "")
        if self.unanswered:
            return monitoring.ENDPOINT_FAILED, self.unanswered[0].error
        if not any(window.observed for window in self.windows):
            return monitoring.NO_DATA, (
                f"nothing of `{settings.target}` was observed in the hour; the newest minute in "
                f"{settings.feature_group} ended {self.freshness_minutes:.0f} minutes before the evaluation"
                + (", or earlier" if self.freshness_minutes >= monitoring.STALEST_MINUTES else "")
            )
        if answered:
            return monitoring.TOO_LITTLE_DATA, "nothing but zeros was observed, by which no loss can be divided"
        most = max(window.observed for window in self.windows)
        return monitoring.TOO_LITTLE_DATA, (
            f"{most} of a window's {settings.prediction_length} steps were observed; expected a share of "
            f"{settings.min_observed_share:g} at least"
        )


def collect(of: Evaluation, settings: Settings, objects: Objects) -> Hour:
    """Read the hour's minutes, ask the endpoint, and hold the answers against what happened.

    Raises:
        ClientError: when the feature store or S3 do not answer, or an argument does not fit.
    """
    plan = Plan.of(of, settings.frequency, settings.prediction_length)
    store = client("sagemaker-featurestore-runtime")
    minutes = OnlineMinutes(store, settings.feature_group, settings.target, settings.frequency)
    minutes.read(plan.minutes())
    newest = minutes.newest(of.time, monitoring.DAY)
    windows = _ask(of, settings, plan, minutes)
    counted = [window for window in windows if window.answer is not None]
    scores = hourly.score(counted, settings.levels) if counted else None
    others, unreadable = joining.captured(objects, of, plan)
    return Hour(
        windows,
        scores if scores is not None and math.isfinite(scores.loss) else None,
        _fee(of, plan, minutes),
        monitoring.STALEST_MINUTES if newest is None else of.time.timestamp() / 60 - newest - 1,
        # The minute that ends with the hour cannot have a record yet: it is the next evaluation's.
        minutes.missing(plan.first - 1, plan.end - 1, of.time),
        joining.rows([*joining.own(windows, settings.levels), *others], minutes, of, plan),
        unreadable,
    )


def _ask(of: Evaluation, settings: Settings, plan: Plan, minutes: OnlineMinutes) -> list[Asked]:
    """The hour's windows; the endpoint is asked for those that were observed enough."""
    # The caller waits for nothing else, and a second try might only come later to the same.
    live = LiveEndpoint(
        client("sagemaker-runtime", read_seconds=_ANSWER_SECONDS, attempts=2),
        of.endpoint,
        settings.levels,
        settings.num_samples,
    )
    windows = []
    for origin in plan.origins:
        name, known = hourly.inference_id(of, origin), hourly.moment_of(origin)
        actual = minutes.series(origin, origin + plan.length * plan.step, of.time).values
        answer, naive, error = None, None, ""
        observed = (~np.isnan(actual)).mean()
        if observed > 0 and observed >= settings.min_observed_share:
            context = minutes.series(origin - hourly.CONTEXT_STEPS * plan.step, origin, known)
            history = minutes.series(origin - hourly.SEASONS * hourly.DAY_MINUTES, origin, known)
            naive = hourly.naive(history, plan.season, plan.length, settings.levels)
            try:
                answer = live.forecast(context, plan.length, name)
            except NoAnswer as reason:
                error = f"{reason}"
        windows.append(Asked(origin, name, actual, answer, naive, error))
    return windows


def _fee(of: Evaluation, plan: Plan, minutes: OnlineMinutes) -> float | None:
    days = [
        minutes.series(plan.first - day * hourly.DAY_MINUTES, plan.end - day * hourly.DAY_MINUTES, of.time).values
        for day in range(hourly.SEASONS + 1)
    ]
    return hourly.fee_change(days[0], days[1:])


# --- score ------------------------------------------------------------------------------------------------------------

# A stream's values since the deployment, and whether the last of them is this hour's.
_Stream = tuple[list[float], bool]


def grown(before: dict[str, Any] | None, hour: Hour, threshold: float | None) -> dict[str, _Stream]:
    """The streams with what the hour adds to them: nothing, where nothing was measured."""
    loss = None if hour.scores is None or threshold is None else hour.scores.loss / threshold
    news = {LOSS: math.log(loss) if loss else None, FEE: hour.fee}
    kept = {} if before is None else streams_of(before)
    return {
        name: ([*kept.get(name, []), *([] if value is None else [value])], value is not None)
        for name, value in news.items()
    }


def streams_of(state: dict[str, Any]) -> dict[str, list[float]]:
    """The streams that a state keeps.

    Raises:
        ValueError, KeyError, TypeError or AttributeError: when it is none of ours.
    """
    found = {name: [float(value) for value in values] for name, values in state["streams"].items()}
    if not all(math.isfinite(value) for values in found.values() for value in values):
        raise ValueError("a stream has a value that is no number")
    return found


def look_for_drift(streams: dict[str, _Stream], hour: Hour, settings: Settings) -> list[Finding]:
    """What the detectors say: of the loss both, of the fee that of Page and Hinkley."""
    watched: Sequence[tuple[str, PageHinkley | Adwin]] = (
        (LOSS, settings.page_hinkley),
        (LOSS, settings.adwin),
        (FEE, settings.fee_page_hinkley),
    )
    return [drift.detect(name, streams[name][0], detector, new=int(streams[name][1])) for name, detector in watched]


def metrics_of(hour: Hour, findings: Sequence[Finding], threshold: float | None) -> dict[str, float | None]:
    """The hour's metrics, by CloudWatch's names; None where nothing was measured."""
    scores = hour.scores
    loss, adwin, fee = findings
    return {
        "MeanWeightedQuantileLoss": None if scores is None else scores.loss,
        "LossThreshold": threshold,
        "SeasonalNaiveLoss": None if scores is None else scores.naive,
        "IntervalCoverage": None if scores is None else scores.coverage,
        "RootMeanSquaredError": None if scores is None else scores.rmse,
        "DataFreshnessMinutes": hour.freshness_minutes,
        "MissingMinutes": float(hour.missing_minutes),
        "UnscoredWindows": float(len(hour.unanswered)),
        "PageHinkleyStatistic": loss.statistic,
        "AdwinWidth": adwin.statistic,
        "FeePageHinkleyStatistic": fee.statistic,
    }


def _share(text: str) -> float:
    share = monitoring.number_of(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"`{text}` is no share; expected a number from 0 to 1")
    return share


def _frequency(text: str) -> Frequency:
    try:
        return Frequency.parse(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"`{text}` is no frequency; expected {EXPECTED}") from None


if __name__ == "__main__":
    main()
