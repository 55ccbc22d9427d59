"""Frames of Prepare's contract, made up, and a small model trained on them once.

The made-up holders purchase at a constant rate, each their own, so that the probability of a purchase is known.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from seed_code.cardholders import model_format, package, train
from seed_code.cardholders.features import STORED_FEATURES, Feature
from seed_code.cardholders.scorer import Scorer
from seed_code.common import archives

HORIZON_DAYS = 30


def make_examples(holders: int, dates: int, first: str, seed: int = 0) -> pd.DataFrame:
    """One row per holder and weekly reference date; every stored feature tells the holder's rate, with noise."""
    random = np.random.default_rng(seed)
    rate = np.random.default_rng(1).gamma(0.7, 0.12, holders)  # days with a purchase per day; the same for all splits
    rows = []
    for number in range(dates):
        date = np.datetime64(first, "D") + 7 * number
        gap = np.ceil(random.exponential(1 / np.maximum(rate, 1e-6)))
        frame = pd.DataFrame(
            {
                "holder": [f"h{index:05d}" for index in range(holders)],
                "reference_date": pd.Timestamp(date),
                "usage_freq": random.poisson(rate * 300),
                "days_to_next": np.where(gap <= HORIZON_DAYS, gap, np.nan),
            }
        )
        frame["amount_spend"] = frame["usage_freq"] * random.lognormal(5, 1, holders)
        frame["uniq_merchant"] = np.ceil(frame["usage_freq"] * random.uniform(0.2, 0.9, holders)).astype(int)
        share = random.binomial(120, np.minimum(rate, 0.9)) / 120
        for feature in STORED_FEATURES:
            frame[feature.name] = _values(feature, share, random)
        frame["weekday"], frame["month_of_year"], frame["days_to_month_end"] = 0, pd.Timestamp(date).month, 10
        frame["active_day_share"] = share
        rows.append(frame)
    return pd.concat(rows, ignore_index=True)


def _values(feature: Feature, share: np.ndarray, random: np.random.Generator) -> np.ndarray:
    noisy = share * random.uniform(0.5, 1.5, len(share)) * (0.6 if feature.maximum == 1 else 30)
    if feature.kind == "int":
        return np.round(np.minimum(noisy, feature.maximum or np.inf)).astype(int)
    return np.where(feature.optional & (random.random(len(share)) < 0.05), np.nan, noisy)


def make_holders(count: int, seed: int = 0) -> pd.DataFrame:
    """Holders of three kinds, well apart: rare and small, frequent and small, frequent and large."""
    random = np.random.default_rng(seed)
    kind = np.arange(count) % 3
    usage = random.poisson(np.array([3, 60, 400])[kind]) + 1
    return pd.DataFrame(
        {
            "holder": [f"h{index:05d}" for index in range(count)],
            "usage_freq": usage,
            "amount_spend": usage * np.array([20.0, 30.0, 900.0])[kind] * random.lognormal(0, 0.2, count),
            "uniq_merchant": np.maximum(random.binomial(usage, 0.4), 1),
        }
    )


def make_prepared(folder: Path, holders_count: int = 200, dates: int = 6) -> Path:
    """Prepare's whole output below `folder`."""
    splits = {"train": "2014-01-06", "validation": "2014-04-07", "holdout": "2014-07-07"}
    for number, (name, first) in enumerate(splits.items()):
        (folder / name).mkdir(parents=True)
        make_examples(holders_count, dates, first, seed=number).to_parquet(folder / name / "examples.parquet")
    (folder / "holders").mkdir()
    make_holders(holders_count).to_parquet(folder / "holders" / "holders.parquet")
    make_holders(holders_count, seed=9).to_parquet(folder / "holdout" / "holders.parquet")
    (folder / "report").mkdir()
    (folder / "report" / "prepare.json").write_text('{"rows": {"read": 12345}}')
    return folder


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """OpenMP and BLAS with one thread, as every program of the image has it."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def synthetic() -> SimpleNamespace:
    """The makers of frames: `examples(holders, dates, first, seed)`, `holders(count, seed)`, `prepared(folder)`."""
    return SimpleNamespace(examples=make_examples, holders=make_holders, prepared=make_prepared)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepare's output for 200 holders."""
    return make_prepared(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="session")
def parts(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `clusters.tar.gz` and `purchase.tar.gz`, as the training jobs leave them."""
    base = tmp_path_factory.mktemp("training")
    shutil.copytree(prepared, base / "input" / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGEMAKER_BASE_DIR", str(base))
        train.train_clusters({}, base / "clusters")
        train.train_purchase({"max_iterations": "20", "min_samples_leaf": "20"}, base / "purchase")
    for part in ("clusters", "purchase"):
        archives.write(base / f"{part}.tar.gz", base / part)
    return base


@pytest.fixture(scope="session")
def packaged(parts: Path, prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Package's output: model.tar.gz and manifest.json."""
    output = tmp_path_factory.mktemp("packaged")
    package.package(
        parts / "clusters.tar.gz", parts / "purchase.tar.gz", prepared / "holdout" / "examples.parquet", output, 0.5
    )
    return output


@pytest.fixture(scope="session")
def model_folder(packaged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extracted package."""
    folder = tmp_path_factory.mktemp("model")
    archives.extract(packaged / package.ARCHIVE, folder)
    assert (folder / model_format.PURCHASE_FILE).is_file()
    return folder


@pytest.fixture(scope="session")
def scorer(model_folder: Path) -> Scorer:
    """The small model, loaded."""
    return Scorer.load(model_folder)
