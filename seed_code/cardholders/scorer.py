"""Both models together: from records to answers. The server, Package and the MLflow models all answer through it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seed_code.cardholders import model_format
from seed_code.cardholders.clusters import ClusterModel
from seed_code.cardholders.purchase import PurchaseModel
from seed_code.cardholders.records import Batch, Reader, StoredFeature
from seed_code.common import documents
from seed_code.common.errors import ClientError

MANIFEST_FILE = "manifest.json"
SCHEMA_VERSION = 1


class Scorer:
    """Answers records.

    Attributes:
        features: the stored features that a record may carry.
        max_days: the largest k.
        threshold: probability from which `will_spend` is true.
    """

    def __init__(
        self,
        clusters: ClusterModel,
        purchase: PurchaseModel,
        features: Sequence[StoredFeature],
        max_days: int,
        threshold: float,
    ) -> None:
        if tuple(feature.name for feature in features) != purchase.columns.features:
            raise ClientError("the stored features of the manifest are not those of the purchase model")
        self.features = tuple(features)
        self.max_days = max_days
        self.threshold = threshold
        self._clusters = clusters
        self._purchase = purchase
        self._reader = Reader(features, max_days)

    @classmethod
    def load(cls, folder: Path) -> "Scorer":
        """The scorer of an extracted model package.

        Raises:
            ClientError: when a file is missing, is not the one that the manifest means, or cannot be read.
        """
        manifest = documents.read(folder / MANIFEST_FILE)
        if not isinstance(manifest, dict) or manifest.get("schema_version") != SCHEMA_VERSION:
            found = manifest.get("schema_version") if isinstance(manifest, dict) else None
            raise ClientError(f"{folder / MANIFEST_FILE} has schema_version {found!r}; expected {SCHEMA_VERSION}")
        for name, expected in manifest["files"].items():
            digest = sha256(folder / name)
            if digest != expected:
                raise ClientError(f"{folder / name} has SHA-256 {digest}; the manifest says {expected}")
        return cls(
            model_format.load_clusters(folder / model_format.CLUSTERS_FILE),
            model_format.load_purchase(folder / model_format.PURCHASE_FILE),
            [stored_feature(entry) for entry in manifest["request"]["features"]],
            manifest["request"]["max_days"],
            manifest["request"]["threshold"],
        )

    def answer(self, payload: Any) -> Any:
        """What `response` is for a parsed request: an object for a record, an array for an array.

        Raises:
            RequestError: when the request is not answerable.
        """
        if isinstance(payload, list):
            return self._answer(self._reader.read(payload, batch=True))
        return self._answer(self._reader.read([payload], batch=False))[0]

    def predicted_cluster(self, fields: NDArray[np.float64]) -> NDArray[np.int64]:
        """Cluster numbers of fields (n, 3)."""
        return self._clusters.predict(fields)

    def probability(self, batch: Batch) -> NDArray[np.float64]:
        """Probabilities of a purchase (n,)."""
        return self._purchase.probability(batch.fields, batch.features, batch.days)

    def _answer(self, batch: Batch) -> list[dict[str, Any]]:
        clusters = self.predicted_cluster(batch.fields).tolist()
        return [
            {"predicted_cluster": cluster, "will_spend": probability >= self.threshold, "probability": probability}
            for cluster, probability in zip(clusters, self.probability(batch).tolist(), strict=True)
        ]


def stored_feature(entry: dict[str, Any]) -> StoredFeature:
    """A stored feature as reports and manifests hold it: name, kind (int or float), minimum, maximum, …"""
    return StoredFeature(entry["name"], entry["kind"] == "int", entry["minimum"], entry["maximum"])


def sha256(file: Path) -> str:
    """A file's SHA-256, in hexadecimal.

    Raises:
        ClientError: when there is no such file.
    """
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except FileNotFoundError:
        raise ClientError(f"there is no {file}") from None
