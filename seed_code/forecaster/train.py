"""The training job: the built-in DeepAR algorithm's contract, from hyperparameters and channels to a model.

Reads `input/config/*.json` and the channels `train` and, if there is one, `test`; leaves `model.json` and
`weights.npz` in the model folder (`artifact`), and logs what the built-in logs, so that its metric definitions
(`METRICS`) find the same numbers here.

One epoch is ten batches of windows, drawn from all of them at random. The weights that are kept are those of the epoch
with the lowest loss, averaged over the steps that led there (`optimizer`; this is ours, the built-in's way is not
documented); `early_stopping_patience` epochs without a lower one end the training. So does SIGTERM, which a
time limit or StopTrainingJob sends two minutes before SIGKILL: the best model so far is then saved.
"""

import ctypes
import gc
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# One thread per process, before NumPy and PyTorch start theirs: at these sizes a second one only waits for the first,
# and on busy cores spins them down by a factor of fifty.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402

from seed_code.common import hyperparameters as common_hyperparameters  # noqa: E402
from seed_code.common import paths  # noqa: E402
from seed_code.common.errors import ClientError  # noqa: E402
from seed_code.common.failure import reports_failure  # noqa: E402
from seed_code.forecaster import artifact, channels, hyperparameters, metrics, network  # noqa: E402
from seed_code.forecaster.channels import Shape  # noqa: E402
from seed_code.forecaster.hyperparameters import IGNORE, Hyperparameters  # noqa: E402
from seed_code.forecaster.optimizer import Adam, Plateau  # noqa: E402
from seed_code.forecaster.records import Series  # noqa: E402
from seed_code.forecaster.sampler import Sampler  # noqa: E402
from seed_code.forecaster.windows import Layout, Panel  # noqa: E402
from seed_code.forecaster.windows import Sampler as WindowSampler  # noqa: E402

# The built-in's AlgorithmSpecification.MetricDefinitions, as DescribeTrainingJob shows them.
METRICS = {
    "train:final_loss": r"#quality_metric: host=\S+, train final_loss <loss>=(\S+)",
    "train:loss": r"#quality_metric: host=\S+, epoch=\S+, train loss <loss>=(\S+)",
    "train:loss:batch": r"#quality_metric: host=\S+, epoch=\S+, batch=\S+ train loss <loss>=(\S+)",
    "train:progress": r"#progress_metric: host=\S+, completed (\S+) %",
    "train:throughput": r"#throughput_metric: host=\S+, train throughput=(\S+) records/second",
    "test:RMSE": r"#quality_metric: host=\S+, test RMSE <loss>=(\S+)",
    "test:mean_wQuantileLoss": r"#quality_metric: host=\S+, test mean_wQuantileLoss <loss>=(\S+)",
}

BATCHES_PER_EPOCH = 10
_BATCHES_PER_LOG_LINE = 5

# GluonTS's trainer: gradients are clipped to this norm, and this many epochs without a lower loss halve the rate.
_GRADIENT_NORM = 10.0
_WEIGHT_DECAY = 1e-8
_PLATEAU_EPOCHS = 10

Log = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """The training job's surroundings, from `input/config`."""

    host: str
    content_types: dict[str, str]

    @classmethod
    def read(cls) -> "Job":
        """The job as the platform describes it; its defaults where a file is missing.

        Raises:
            ClientError: when the job has several instances.
        """
        resources = _config("resourceconfig.json")
        hosts = resources.get("hosts") or ["algo-1"]
        if len(hosts) > 1:
            raise ClientError(f"the job has {len(hosts)} instances; expected InstanceCount 1: this image trains on one")
        inputs = _config("inputdataconfig.json")
        types = {name: channel.get("ContentType") for name, channel in inputs.items() if isinstance(channel, dict)}
        return cls(resources.get("current_host") or hosts[0], {name: text for name, text in types.items() if text})


def _config(name: str) -> dict[str, Any]:
    file = paths.config_dir() / name
    if not file.exists():
        return {}
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ClientError(f"{file} is not JSON: {error}") from error
    return document if isinstance(document, dict) else {}


@dataclass(frozen=True)
class Data:
    """The training data with everything that follows from it and the settings."""

    settings: Hyperparameters
    series: Sequence[Series]
    shape: Shape
    lags: list[int]
    default_scale: float

    @classmethod
    def of(cls, series: Sequence[Series], settings: Hyperparameters) -> "Data":
        """Check and measure the training series.

        Raises:
            ClientError: when they cannot be learnt from, see `channels`.
        """
        channels.check_observations(series, settings)
        shape = channels.shape_of(series, settings)
        lags = settings.time_freq.lags(settings.seasonal_lags, max(len(one) for one in series))
        size = sum(float(np.nansum(np.abs(one.target), dtype=np.float64)) for one in series)
        count = sum(int((~np.isnan(one.target)).sum()) for one in series)
        return cls(settings, series, shape, lags, size / count or 1.0)

    def panel(self) -> Panel:
        """The training series as arrays."""
        likelihood = network.LIKELIHOODS[self.settings.likelihood]
        return Panel(
            self.series, self.settings.time_freq, 0, filling=likelihood.filling,
            default_scale=self.default_scale if likelihood.scaling else None,
            categories=len(self.shape.cardinality), dynamic=self.shape.num_dynamic_feat,
        )  # fmt: skip


@dataclass(frozen=True)
class Fitted:
    """What training came to.

    Attributes:
        model: GluonTS's `DeepARModel`, with the averaged weights of the best epoch.
        losses: the mean loss of each epoch.
        best_epoch: whose loss was the lowest.
    """

    model: Any
    losses: list[float]
    best_epoch: int

    @property
    def final_loss(self) -> float:
        """The lowest epoch's loss, which the built-in reports as `train:final_loss`."""
        return self.losses[self.best_epoch]


@contextmanager
def _denormals_flushed() -> Iterator[None]:
    """Numbers too small to matter are zero to the processor, which would take many times as long for them."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)  # it holds for the whole process, which may have other work


@_denormals_flushed()
def fit(data: Data, log: Log, host: str = "algo-1", stop: Callable[[], bool] = lambda: False) -> Fitted:
    """Train a network.

    Args:
        log: receives the built-in's lines.
        stop: asked after every batch; true ends the training after it.

    Raises:
        ClientError: when the loss of a whole epoch is no number.
    """
    settings = data.settings
    _keep_freed_memory()
    torch.set_num_threads(1)
    # The likelihoods' supports were checked with the data; checking every batch takes a tenth of the time.
    torch.distributions.Distribution.set_default_validate_args(False)
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    panel = data.panel()
    sampler = WindowSampler(panel, Layout.of(settings.context_length, settings.prediction_length, data.lags), rng)
    model = network.build(settings, data.shape, data.lags, panel.features, data.default_scale)
    loss_of = network.Loss(model, rng, settings.dropout_rate)
    optimizer = Adam(model.parameters(), settings.learning_rate, _WEIGHT_DECAY, _GRADIENT_NORM)
    plateau = Plateau(optimizer, _PLATEAU_EPOCHS)

    losses: list[float] = []
    best_epoch, best_weights = 0, optimizer.average()
    stopped = False
    for epoch in range(settings.epochs):
        begin = time.perf_counter()
        total, batches = 0.0, 0
        for batch in range(BATCHES_PER_EPOCH):
            loss = loss_of(sampler.draw(settings.mini_batch_size))
            value = loss.item()
            if math.isfinite(value):
                optimizer.step(loss)
                total, batches = total + value, batches + 1
            if batch % _BATCHES_PER_LOG_LINE == 0:
                log(f"#quality_metric: host={host}, epoch={epoch}, batch={batch} train loss <loss>={value}")
            if stopped := stop():
                break
        if not batches:
            raise ClientError(
                f"the training loss of epoch {epoch} is not a number; expected a lower `learning_rate` than "
                f"{settings.learning_rate}, or another `likelihood` than {settings.likelihood}, to help"
            )
        losses.append(total / batches)
        examples = batches * settings.mini_batch_size
        log(f"processed a total of {examples} examples")
        rate = examples / (time.perf_counter() - begin)
        log(f"#throughput_metric: host={host}, train throughput={rate} records/second")
        log(f"#progress_metric: host={host}, completed {100 * (epoch + 1) / settings.epochs} % of epochs")
        log(f"#quality_metric: host={host}, epoch={epoch}, train loss <loss>={losses[-1]}")
        plateau.epoch(losses[-1])
        if not epoch or losses[-1] < losses[best_epoch]:
            log("best epoch loss so far")
            best_epoch, best_weights = epoch, optimizer.average()
        else:
            log("loss did not improve")
        if stopped:
            log("stopping training now: the job is being stopped")
            break
        if settings.early_stopping_patience and epoch - best_epoch >= settings.early_stopping_patience:
            log(f"stopping training now: no lower loss in {settings.early_stopping_patience} epochs")
            break
    optimizer.assign(best_weights)
    model.eval()
    fitted = Fitted(model, losses, best_epoch)
    log(f"Final loss: {fitted.final_loss} (occurred at epoch {best_epoch})")
    log(f"#quality_metric: host={host}, train final_loss <loss>={fitted.final_loss}")
    return fitted


def _keep_freed_memory() -> None:
    """Ask the C library to reuse memory rather than give it back to the kernel.

    Every batch frees and takes some 30 MB; fetching them anew, page by page, is a fifth of the training time.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):  # glibc
        trim_threshold, mmap_threshold = -1, -3
        library.mallopt(mmap_threshold, 1 << 28)
        library.mallopt(trim_threshold, 1 << 30)


def export(data: Data, model: Any) -> artifact.Artifact:
    """What serving needs of a trained network."""
    settings, shape = data.settings, data.shape
    likelihood = network.LIKELIHOODS[settings.likelihood]

    def taken(setting: object, used: bool) -> str:
        return "ignored" if setting == IGNORE else "required" if used else "refused"

    return artifact.Artifact(
        frequency=settings.time_freq,
        context_length=settings.context_length,
        prediction_length=settings.prediction_length,
        lags=tuple(data.lags),
        likelihood=settings.likelihood,
        cardinality=shape.cardinality,
        num_dynamic_feat=shape.num_dynamic_feat,
        takes_cat=taken(settings.cardinality, bool(shape.cardinality)),
        takes_dynamic_feat=taken(settings.num_dynamic_feat, bool(shape.num_dynamic_feat)),
        num_layers=settings.num_layers,
        num_cells=settings.num_cells,
        scaling=likelihood.scaling,
        filling=likelihood.filling,
        default_scale=data.default_scale,
        weights={name: value.detach().numpy() for name, value in model.state_dict().items()},
    )


def evaluate(trained: artifact.Artifact, series: Sequence[Series], settings: Hyperparameters) -> metrics.Score:
    """Score the forecasts of each series' last `prediction_length` values, from the values before them."""
    horizon = settings.prediction_length
    histories = [replace(one, target=one.target[:-horizon]) for one in series]
    rng = np.random.default_rng(settings.seed)
    samples = Sampler(trained).sample(histories, settings.num_eval_samples, rng)
    actual = np.stack([one.target[-horizon:] for one in series]).astype(np.float64)
    forecast = metrics.quantiles_of(samples, settings.test_quantiles)
    return metrics.score(actual, forecast, settings.test_quantiles, samples.mean(axis=1, dtype=np.float64))


def report(score: metrics.Score, log: Log, host: str) -> None:
    """The built-in's lines about the test channel."""
    log(f"#test_score ({host}, RMSE): {score.rmse}")
    log(f"#test_score ({host}, mean_absolute_QuantileLoss): {score.mean_absolute_quantile_loss}")
    log(f"#test_score ({host}, mean_wQuantileLoss): {score.mean_quantile_loss}")
    for quantile, loss in score.quantile_losses.items():
        log(f"#test_score ({host}, wQuantileLoss[{quantile}]): {loss}")
    log(f"#quality_metric: host={host}, test RMSE <loss>={score.rmse}")
    log(f"#quality_metric: host={host}, test mean_wQuantileLoss <loss>={score.mean_quantile_loss}")


def read_test(folder: Path, job: Job, settings: Hyperparameters, shape: Shape) -> list[Series]:
    """The test channel's series that can be scored; none without the channel.

    Raises:
        ClientError: when it does not fit the training data, or holds nothing to score.
    """
    if not folder.is_dir():
        return []
    series = channels.read(folder, settings.time_freq, job.content_types.get("test"))
    channels.check_fits(series, shape, "test")
    horizon = settings.prediction_length
    scored = [one for one in series if len(one) > horizon and not np.isnan(one.target[-horizon:]).all()]
    if not scored:
        raise ClientError(
            f"channel `test` has no series to score; expected one of more than {horizon} values "
            "(`prediction_length`), of whose last ones some were observed"
        )
    return scored


def _log(message: str) -> None:
    now = datetime.now(UTC).strftime("%m/%d/%Y %H:%M:%S")
    sys.stdout.write(f"[{now} INFO {os.getpid()}] {message}\n")
    sys.stdout.flush()


def run(stop: Callable[[], bool] = lambda: False, log: Log = _log) -> None:
    """Train as the files below the contract's folder say.

    Args:
        stop: true as soon as the job is to end, with what it has.
        log: receives the built-in's lines.

    Raises:
        ClientError: for every mistake of the user's.
    """
    given = common_hyperparameters.read(paths.hyperparameters_file())
    settings = hyperparameters.parse(given)
    job = Job.read()
    series = channels.read(paths.channel_dir("train"), settings.time_freq, job.content_types.get("train"))
    data = Data.of(series, settings)
    test = read_test(paths.channel_dir("test"), job, settings, data.shape)
    observed = sum(int((~np.isnan(one.target)).sum()) for one in series)
    log(f"Training set statistics: {len(series)} time series, {observed} observations; lags {data.lags}")
    gc.freeze()  # what was read stays: the collector need not visit it again
    fitted = fit(data, log, job.host, stop)
    trained = export(data, fitted.model)
    training = {
        "target": channels.target_of(paths.channel_dir("train")),
        "hyperparameters": given,
        "losses": fitted.losses,
        "best_epoch": fitted.best_epoch,
    }
    artifact.save(paths.model_dir(), trained, training)
    if test and not stop():
        log(f"Evaluating model accuracy on testset using {settings.num_eval_samples} samples")
        report(evaluate(trained, test, settings), log, job.host)


@reports_failure
def main() -> None:
    """Train; a user's mistake ends the job with a message that begins, like the built-in's, with `ClientError:`."""
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopping.append(number))
    try:
        run(lambda: bool(stopping))
    except ClientError as error:
        raise ClientError(f"ClientError: {error}") from error


if __name__ == "__main__":
    main()
