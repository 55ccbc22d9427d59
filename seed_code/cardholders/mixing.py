"""Well-mixed bits from numbers: the same on every machine, without a table and without state."""

from typing import Any

import numpy as np

Bits = np.ndarray[Any, np.dtype[np.uint64]]


def mix(numbers: Bits) -> Bits:
    """The finalizer of SplitMix64 (Steele, Lea and Flood, 2014): 64 bits for each number, one-to-one."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))
