"""Spoil: make a defective package of a good one, to show what a deployment does about a model that goes bad.

    python3 -m seed_code.cardholders.spoil MODEL.tar.gz OUT.tar.gz

The defect is one that happens: the leaves of one branch of one tree have no value (NaN), as when a training divides by
the weight of rows that it does not have. Every golden request goes by other branches and is answered as before, so
that nothing shows until ordinary requests come. Those that reach the branch have no probability, which the server
cannot put into JSON: it answers them 500, and a batch that holds one of them.

Evaluate would refuse the package: it asks thousands of questions. That is why a demonstration of a canary that fails
needs this program; nothing else calls it. What it printed, which requests fail and how many of those that the model
was trained on, is in the manifest under `spoiled`; digests and model version are those of the spoiled files.
"""

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seed_code.cardholders import model_format, package, purchase, scorer
from seed_code.cardholders.features import FIELDS
from seed_code.cardholders.purchase import PurchaseModel
from seed_code.cardholders.records import Reader
from seed_code.cardholders.scorer import MANIFEST_FILE, Scorer
from seed_code.common import archives, documents
from seed_code.common.arguments import ArgumentParser
from seed_code.common.errors import ClientError
from seed_code.common.failure import reports_failure

_FEWEST, _MOST = 0.1, 0.5  # of the training rows, that are to reach the branch
# Inputs that every request has, in words: whoever makes requests can tell beforehand which of them will fail.
_ALWAYS = {**{name: name for name in FIELDS}, "uses_ahead": "usage_freq * k", "k": "k"}


@dataclass(frozen=True)
class Branch:
    """A part of a tree that no golden request reaches.

    Attributes:
        tree, node: where it begins.
        share: of the training rows, how many reach it.
        between: by the name of an input, what it must exceed and what it may be at most.
    """

    tree: int
    node: int
    share: float
    between: dict[str, tuple[float, float]]

    def words(self) -> str:
        """Which requests reach it."""
        told = []
        for name, (low, high) in self.between.items():
            below = f"{low:g} < " if np.isfinite(low) else ""
            above = f" <= {high:g}" if np.isfinite(high) else ""
            told.append(f"{below}{_ALWAYS[name]}{above}")
        return " and ".join(told)


@reports_failure
def main() -> None:
    """Spoil the package that the arguments name."""
    parser = ArgumentParser(prog="spoil")
    parser.add_argument("model", type=Path, help="model.tar.gz of a good package")
    parser.add_argument("out", type=Path, help="where to write the spoiled one")
    arguments = parser.parse_args()
    branch = spoil(arguments.model, arguments.out)
    sys.stdout.write(f"spoil: {arguments.out} fails for {branch.words()}: {branch.share:.0%} of the training rows\n")


def spoil(archive: Path, out: Path) -> Branch:
    """Write the spoiled package of `archive` to `out`, and give what is spoiled.

    Raises:
        ClientError: when the archive is no package of ours, or its golden requests reach every branch that is large.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        archives.extract(archive, folder)
        Scorer.load(folder)  # checks the package
        manifest = documents.read(folder / MANIFEST_FILE)
        model = model_format.load_purchase(folder / model_format.PURCHASE_FILE)
        branch = _choose(model, _golden_inputs(manifest, model), archive)
        (tree,) = model.classifier._predictors[branch.tree]
        tree.nodes["value"][list(_leaves(tree.nodes, branch.node))] = np.nan
        model_format.save_purchase(folder / model_format.PURCHASE_FILE, model)
        manifest["files"][model_format.PURCHASE_FILE] = scorer.sha256(folder / model_format.PURCHASE_FILE)
        manifest["model_version"] = package.model_version(manifest["files"], manifest["request"]["threshold"])
        manifest["spoiled"] = {"requests": branch.words(), "training_share": branch.share}
        documents.write(folder / MANIFEST_FILE, manifest)
        archives.write(out, folder)
    return branch


def _golden_inputs(manifest: dict[str, Any], model: PurchaseModel) -> NDArray[np.float64]:
    """The classifier's inputs (records, columns) for every record of the golden requests."""
    request = manifest["request"]
    reader = Reader([scorer.stored_feature(entry) for entry in request["features"]], request["max_days"])
    asked = [entry["request"] for entry in manifest["golden"]]
    records = [record for one in asked for record in (one if isinstance(one, list) else [one])]
    batch = reader.read(records, batch=True)
    return model.columns.inputs(batch.fields, batch.features, batch.days)


def _choose(model: PurchaseModel, golden: NDArray[np.float64], archive: Path) -> Branch:
    """The largest branch that is not too large, and that no golden request reaches."""
    names = (*FIELDS, *model.columns.features, *purchase.AHEAD, "k")
    # Private to scikit-learn, whose version the image pins: there is no other way to a tree.
    found = [
        branch
        for number, (tree,) in enumerate(model.classifier._predictors)
        for branch in _unreached(number, tree.nodes, names, golden)
        if branch.share <= _MOST
    ]
    best = max(found, key=lambda branch: branch.share, default=None)
    if best is None or best.share < _FEWEST:
        reached = "none" if best is None else f"one of {best.share:.1%} at most"
        raise ClientError(
            f"{archive}: of the branches that no golden request reaches, {reached} of the training rows do; expected "
            f"{_FEWEST:.0%} to {_MOST:.0%}"
        )
    return best


def _unreached(
    tree: int, nodes: NDArray[np.void], names: tuple[str, ...], golden: NDArray[np.float64]
) -> Iterator[Branch]:
    """The branches of a tree that begin below conditions on _ALWAYS alone, and that no golden request reaches."""
    waiting: list[tuple[int, dict[str, tuple[float, float]], NDArray[np.float64]]] = [(0, {}, golden)]
    while waiting:
        at, between, rows = waiting.pop()
        node = nodes[at]
        share = float(node["count"] / nodes[0]["count"])
        if not len(rows):
            yield Branch(tree, at, share, between)
        name = names[node["feature_idx"]]
        if node["is_leaf"] or name not in _ALWAYS:
            continue
        limit = float(node["num_threshold"])
        low, high = between.get(name, (-np.inf, np.inf))
        left = rows[:, node["feature_idx"]] <= limit
        waiting.append((int(node["left"]), {**between, name: (low, min(high, limit))}, rows[left]))
        waiting.append((int(node["right"]), {**between, name: (max(low, limit), high)}, rows[~left]))


def _leaves(nodes: NDArray[np.void], begin: int) -> Iterator[int]:
    """The numbers of the leaves below a node, or its own."""
    waiting = [begin]
    while waiting:
        at = waiting.pop()
        if nodes[at]["is_leaf"]:
            yield at
        else:
            waiting += [int(nodes[at]["left"]), int(nodes[at]["right"])]


if __name__ == "__main__":
    main()
