"""Train one DeepAR, ours or GluonTS's own estimator, and forecast windows with it.

    python deepar.py SPEC.json OUT.npz        (PYTHONPATH must hold the repository's root)

SPEC: {"trainer": "ours" | "gluonts" | "gluonts-cached", "series": FILE.npz, "hyperparameters": {as the image's},
"windows": N}. The series file holds `start`, `train_K` (what is trained on), and `history_W` and `future_W` of each
window. OUT holds `samples` (windows, paths, steps), the seconds of training (wall and processor, imports and data
preparation that is done once left out), epochs and the final loss.

Both trainers get the same network, optimizer, batch size, batches per epoch, epochs and gradient clipping: those of
GluonTS. One thread.
"""

import json
import os
import sys
import time
import warnings

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
warnings.simplefilter("ignore")

import numpy as np  # noqa: E402

SAMPLES = 100


def ours(spec, series):
    from seed_code.forecaster import hyperparameters, train
    from seed_code.forecaster.frequency import parse_start
    from seed_code.forecaster.records import Series
    from seed_code.forecaster.sampler import Sampler

    settings = hyperparameters.parse(spec["hyperparameters"])
    start = settings.time_freq.ordinal(parse_start(str(series["start"])))
    none = np.zeros((0, 0), np.float32)
    trained_on = [Series(start, values, (), none) for values in numbered(series, "train")]
    histories = [Series(start, values, (), none) for values in numbered(series, "history")]
    data = train.Data.of(trained_on, settings)
    begin, cpu = time.perf_counter(), time.process_time()
    fitted = train.fit(data, lambda _: None)
    taken = time.perf_counter() - begin, time.process_time() - cpu
    sampler = Sampler(train.export(data, fitted.model))
    samples = sampler.sample(histories, SAMPLES, np.random.default_rng(settings.seed))
    return samples, taken, len(fitted.losses), fitted.final_loss


def gluonts(spec, series, cache):
    import logging

    import lightning.pytorch as pl
    import pandas as pd
    import torch
    from gluonts.torch import DeepAREstimator

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    given = spec["hyperparameters"]
    pl.seed_everything(int(given.get("seed", 0)), verbose=False)
    freq = {"H": "h", "min": "min", "1min": "min"}[given["time_freq"]]
    first = pd.Period(str(series["start"]), freq)
    callbacks = []
    if "early_stopping_patience" in given:
        callbacks.append(pl.callbacks.EarlyStopping("train_loss", patience=int(given["early_stopping_patience"])))
    losses = []

    class Losses(pl.Callback):
        def on_train_epoch_end(self, trainer, module):
            losses.append(float(trainer.callback_metrics["train_loss"]))

    estimator = DeepAREstimator(
        freq=freq,
        prediction_length=int(given["prediction_length"]),
        context_length=int(given["context_length"]),
        num_layers=int(given.get("num_layers", 2)),
        hidden_size=int(given.get("num_cells", 40)),
        lr=float(given.get("learning_rate", 1e-3)),
        dropout_rate=float(given.get("dropout_rate", 0.1)),
        embedding_dimension=[int(given.get("embedding_dimension", 10))],
        batch_size=int(given.get("mini_batch_size", 128)),
        num_batches_per_epoch=10,
        num_parallel_samples=SAMPLES,
        trainer_kwargs={
            "max_epochs": int(given["epochs"]), "accelerator": "cpu", "enable_progress_bar": False, "logger": False,
            "enable_model_summary": False, "callbacks": [*callbacks, Losses()],
            "default_root_dir": os.environ.get("TMPDIR", "/tmp"),
        },
    )  # fmt: skip
    data = [{"start": first, "target": values} for values in numbered(series, "train")]
    begin, cpu = time.perf_counter(), time.process_time()
    predictor = estimator.train(data, cache_data=cache)
    taken = time.perf_counter() - begin, time.process_time() - cpu
    histories = [{"start": first, "target": values} for values in numbered(series, "history")]
    samples = np.stack([forecast.samples for forecast in predictor.predict(histories, num_samples=SAMPLES)])
    return samples, taken, len(losses), min(losses)


def numbered(series, name):
    """The arrays `name_0`, `name_1`, … in order."""
    return [series[f"{name}_{at}"] for at in range(sum(key.startswith(f"{name}_") for key in series.files))]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        spec = json.load(file)
    series = np.load(spec["series"])
    if spec["trainer"] == "ours":
        samples, taken, epochs, loss = ours(spec, series)
    else:
        samples, taken, epochs, loss = gluonts(spec, series, cache=spec["trainer"] == "gluonts-cached")
    np.savez(sys.argv[2], samples=samples, wall_s=taken[0], cpu_s=taken[1], epochs=epochs, final_loss=loss)


if __name__ == "__main__":
    main()
