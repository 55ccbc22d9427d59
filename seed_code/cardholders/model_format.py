"""The two trained models as files that load without executing what they say.

skops, unlike pickle, stores values and the names of their types, and makes objects of known types only. What is known
is skops' own list plus TRUSTED, which stands in this file; nothing is trusted because a model file asks for it.

skops labels values and array files by their address in memory; `save` numbers them in order instead, and fixes the
times in the archive, so that the same model gives the same bytes.
"""

import functools
import importlib
import io
import json
import sys
import zipfile
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from seed_code.cardholders.calibration import BetaCalibration
from seed_code.cardholders.clusters import ClusterModel
from seed_code.cardholders.purchase import Columns, PurchaseModel
from seed_code.common.errors import ClientError

CLUSTERS_FILE = "clusters.skops"
PURCHASE_FILE = "purchase.skops"

# One regression tree of HistGradientBoostingClassifier: arrays of nodes, no code of its own.
TRUSTED = ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",)

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip entry can have


def save_clusters(file: Path, model: ClusterModel) -> None:
    """Write a clustering."""
    arrays = {name: getattr(model, name) for name in ("lower", "upper", "mean", "scale", "centres")}
    _save(file, arrays)


def load_clusters(file: Path) -> ClusterModel:
    """Read a clustering.

    Raises:
        ClientError: when the file is missing, no skops file, or holds something else.
    """
    document = _load(file)
    names = {"lower", "upper", "mean", "scale", "centres"}
    if not isinstance(document, dict) or set(document) != names:
        raise ClientError(f"{file} holds no clustering")
    return ClusterModel(**{name: np.asarray(document[name], dtype=np.float64) for name in names})


def save_purchase(file: Path, model: PurchaseModel) -> None:
    """Write a purchase model."""
    maps = {
        name: [getattr(model, name).a, getattr(model, name).b, getattr(model, name).c]
        for name in ("with_features", "fields_only")
    }
    _save(file, {"classifier": model.classifier, "features": list(model.columns.features), **maps})


def load_purchase(file: Path) -> PurchaseModel:
    """Read a purchase model.

    Raises:
        ClientError: when the file is missing, no skops file, or holds something else.
    """
    document = _load(file)
    if not isinstance(document, dict) or set(document) != {"classifier", "features", "with_features", "fields_only"}:
        raise ClientError(f"{file} holds no purchase model")
    if not isinstance(document["classifier"], HistGradientBoostingClassifier):
        raise ClientError(f"{file} holds a {type(document['classifier']).__name__} where its classifier should be")
    return PurchaseModel(
        document["classifier"],
        BetaCalibration(*document["with_features"]),
        BetaCalibration(*document["fields_only"]),
        Columns(document["features"]),
    )


def _save(file: Path, document: dict[str, Any]) -> None:
    file.write_bytes(_normalised(_skops("skops.io").dumps(document)))


def _load(file: Path) -> Any:
    skops_io = _skops("skops.io")
    try:
        return skops_io.load(file, trusted=list(TRUSTED))
    except FileNotFoundError:
        raise ClientError(f"there is no {file}") from None
    except _skops("skops.io.exceptions").UntrustedTypesFoundException as error:
        raise ClientError(f"{file} is refused, it wants types that no model of ours holds: {error}") from error
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, AttributeError, ImportError) as error:
        raise ClientError(f"{file} is no readable model: {type(error).__name__}: {error}") from error


class _NoTorch(MetaPathFinder):
    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "torch":
            raise ModuleNotFoundError("hidden while skops is imported", name=fullname)


@functools.cache
def _skops(name: str) -> ModuleType:
    """A module of skops, imported as where PyTorch is not installed.

    skops asks scikit-learn for all its estimators, and scikit-learn then imports every package that it has, one of
    which imports PyTorch. This image has none; an environment that serves other workloads too may have it, and every
    program that reads or writes a model would take half as long again to start, with twice the memory.
    """
    hidden = _NoTorch()
    sys.meta_path.insert(0, hidden)
    try:
        return importlib.import_module(name)
    finally:
        sys.meta_path.remove(hidden)


def _normalised(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        schema = json.loads(source.read("schema.json"))
        numbers: dict[int, int] = {}
        files: dict[str, str] = {}
        _renumber(schema, numbers, files)
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for old, new in files.items():
                archive.writestr(zipfile.ZipInfo(new, _EPOCH), source.read(old))
            archive.writestr(zipfile.ZipInfo("schema.json", _EPOCH), json.dumps(schema, separators=(",", ":")))
    return target.getvalue()


def _renumber(node: Any, numbers: dict[int, int], files: dict[str, str]) -> None:
    if isinstance(node, list):
        for child in node:
            _renumber(child, numbers, files)
    elif isinstance(node, dict):
        if isinstance(node.get("__id__"), int):
            node["__id__"] = numbers.setdefault(node["__id__"], len(numbers) + 1)
        if "__loader__" in node and isinstance(node.get("file"), str):
            node["file"] = files.setdefault(node["file"], f"{len(files) + 1}{Path(node['file']).suffix}")
        for child in node.values():
            _renumber(child, numbers, files)
