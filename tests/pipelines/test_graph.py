"""A definition's graph: what waits for what, in an order that can be shown."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import graph
from tests.pipelines import samples


def _steps(edges: dict[str, list[str]]) -> dict[str, Any]:
    return {"Steps": [{"Name": name, "Type": "Processing", "DependsOn": waits} for name, waits in edges.items()]}


def _pairs(found: graph.Graph) -> set[tuple[str, str]]:
    return {(edge.source, edge.target) for edge in found.edges}


def test_edges_come_from_gets_at_any_depth() -> None:
    found = graph.read(samples.definition())
    assert ("Prepare", "TrainClusters") in _pairs(found)
    assert ("TrainPurchase", "Package") in _pairs(found)
    assert ("Evaluate", "QualityGate") in _pairs(found)  # inside Std:JsonGet
    assert ("Register", "LinkMlflow") in _pairs(found)
    assert not any(source == "Parameters" for source, _ in _pairs(found))


def test_branches_carry_their_outcome_and_keep_their_references_to_themselves() -> None:
    found = graph.read(samples.definition())
    outcomes = {edge.target: edge.outcome for edge in found.edges if edge.source == "QualityGate"}
    assert outcomes == {"Register": True, "LinkMlflow": True, "QualityTooLow": False}
    # Register, inside the branch, reads from Package; the condition itself does not.
    assert ("Package", "Register") in _pairs(found)
    assert ("Package", "QualityGate") not in _pairs(found)


def test_depends_on_is_an_edge_and_unknown_names_are_none() -> None:
    found = graph.read(_steps({"A": [], "B": ["A", "Nobody", "B"]}))
    assert _pairs(found) == {("A", "B")}


def test_reduced_leaves_what_one_would_draw() -> None:
    found = graph.read(samples.definition()).reduced()
    assert ("Prepare", "Evaluate") not in _pairs(found)
    assert _pairs(found) == {
        ("Prepare", "TrainClusters"),
        ("Prepare", "TrainPurchase"),
        ("TrainClusters", "Package"),
        ("TrainPurchase", "Package"),
        ("Package", "Evaluate"),
        ("Evaluate", "QualityGate"),
        ("QualityGate", "Register"),
        ("QualityGate", "QualityTooLow"),
        ("Register", "LinkMlflow"),
    }


@pytest.mark.parametrize("cycle", [{"A": ["B"], "B": ["A"]}, {"A": ["C"], "B": ["A"], "C": ["B"], "D": ["C"]}])
def test_a_cycle_is_shown_rather_than_refused(cycle: dict[str, list[str]]) -> None:
    found = graph.read(_steps(cycle))
    assert sorted(found.names) == sorted(cycle)
    assert sorted(found.reduced().names) == sorted(cycle)


@st.composite
def _acyclic(draw: st.DrawFn) -> dict[str, list[str]]:
    names = [f"S{n}" for n in range(draw(st.integers(1, 9)))]
    edges = {name: [other for other in names[:n] if draw(st.booleans())] for n, name in enumerate(names)}
    return {name: edges[name] for name in draw(st.permutations(names))}


def _reach(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Transitive closure, by repeating until nothing is added."""
    while more := {(a, d) for (a, b), (c, d) in itertools.product(pairs, pairs) if b == c} - pairs:
        pairs = pairs | more
    return pairs


@given(_acyclic())
def test_order_is_topological_and_reduction_keeps_who_is_reached(edges: dict[str, list[str]]) -> None:
    found = graph.read(_steps(edges))
    place = {name: index for index, name in enumerate(found.names)}
    assert sorted(place) == sorted(edges)
    assert all(place[source] < place[target] for source, target in _pairs(found))
    reduced = found.reduced()
    assert _reach(_pairs(reduced)) == _reach(_pairs(found))
    # No edge of the reduction is implied by the others.
    for pair in _pairs(reduced):
        assert pair not in _reach(_pairs(reduced) - {pair})


def test_the_projects_own_pipeline_has_its_documented_shape() -> None:
    golden = Path(__file__).parent / "golden" / "cardholders-build.json"
    names = graph.read(json.loads(golden.read_text())).names
    assert names[:6] == ("Prepare", "TrainClusters", "TrainPurchase", "Package", "Evaluate", "QualityGate")
