"""A trained model on disk: `model.json`, what it is, and `weights.npz`, its numbers. No pickle: nothing is run."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seed_code.common import documents
from seed_code.common.errors import ClientError
from seed_code.forecaster.frequency import Frequency

DESCRIPTION_FILE, WEIGHTS_FILE = "model.json", "weights.npz"
_FORMAT = 1


@dataclass(frozen=True)
class Artifact:
    """All that a forecast needs.

    Attributes:
        lags: in steps, ascending.
        cardinality: categories per categorical feature; none when the network was trained without.
        takes_cat, takes_dynamic_feat: `required`, `refused`, or `ignored` (the job's setting was `ignore`).
        scaling: whether values are divided by their mean size.
        filling: stands for a missing value.
        default_scale: of a series without any observation in its context.
        weights: those of GluonTS's `DeepARModel`, by its state's names, as 32-bit floats.
    """

    frequency: Frequency
    context_length: int
    prediction_length: int
    lags: tuple[int, ...]
    likelihood: str
    cardinality: tuple[int, ...]
    num_dynamic_feat: int
    takes_cat: str
    takes_dynamic_feat: str
    num_layers: int
    num_cells: int
    scaling: bool
    filling: float
    default_scale: float
    weights: Mapping[str, NDArray[np.float32]]


def save(folder: Path, artifact: Artifact, training: Mapping[str, Any]) -> None:
    """Write the model's two files.

    Args:
        training: JSON of how it came about (target, hyperparameters, losses), kept for whoever reads the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / WEIGHTS_FILE, **artifact.weights)
    fields = {name: value for name, value in asdict(artifact).items() if name != "weights"}
    document = {"format": _FORMAT, **fields, "frequency": str(artifact.frequency), "training": training}
    text = json.dumps(document, indent=2, allow_nan=False)
    (folder / DESCRIPTION_FILE).write_text(text + "\n", encoding="utf-8")


def target_of(folder: Path) -> str | None:
    """What the series were of that the model of a folder, which `load` could load, was trained on; None if unknown."""
    training = documents.read(folder / DESCRIPTION_FILE).get("training") or {}
    target = training.get("target")
    return target if isinstance(target, str) else None


def load(folder: Path) -> Artifact:
    """The model of a folder.

    Raises:
        ClientError: when the folder holds no such model.
    """
    try:
        document = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
        with np.load(folder / WEIGHTS_FILE, allow_pickle=False) as stored:
            weights = {name: stored[name] for name in stored.files}
    except FileNotFoundError as error:
        raise ClientError(f"there is no {error.filename}; expected the model that a training job left") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ClientError(f"{folder} holds no readable model: {type(error).__name__}: {error}") from error
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise ClientError(f"{folder / DESCRIPTION_FILE} is of another format; expected `format` {_FORMAT}")
    names = [name for name in Artifact.__dataclass_fields__ if name != "weights"]
    if absent := [name for name in names if name not in document]:
        raise ClientError(f"{folder / DESCRIPTION_FILE} lacks {', '.join(absent)}")
    fields = {name: document[name] for name in names}
    fields["frequency"] = Frequency.parse(document["frequency"])
    for name in ("lags", "cardinality"):
        fields[name] = tuple(document[name])
    return Artifact(**fields, weights=weights)
