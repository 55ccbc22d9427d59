"""Detectors of drift in a stream of numbers: the test of Page and Hinkley, and ADWIN, both by river.

A detector is not kept between evaluations: the stream's values are, and the detector goes over them again each time.
Some thousand values take milliseconds, what is kept is readable, and no version of a library can fail to read it.

Every stream is one of which more is worse (losses, errors, fees over their usual), so that a fall is never drift. Only
the newest values count as found: `detected` says whether the detector fired in one of the last `new` values. It
begins anew after each time it fires, as river's do.

Sources: E. S. Page, "Continuous inspection schemes", Biometrika 41, 1954. A. Bifet, R. Gavaldà, "Learning from
time-changing data with adaptive windowing", SIAM International Conference on Data Mining, 2007.
"""

import importlib
import importlib.util
import math
import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from seed_code.common.arguments import ArgumentParser
from seed_code.common.errors import ClientError

MOST_VALUES = 10_000  # of a stream that are kept: more than a year of hours
PAGE_HINKLEY, ADWIN = "page-hinkley", "adwin"


def _river() -> tuple[ModuleType, ModuleType]:
    """river's modules of the two detectors, without what its packages import besides.

    river.drift imports other detectors with scipy.stats, and sample data with scikit-learn: 2 s of an evaluation that
    takes one; river.stats imports every statistic and libraries of data frames, where one mean is needed: a quarter of
    a second. Modules that have nothing but the packages' paths stand for them meanwhile.
    """
    stand_ins = {name: _stand_in(name) for name in ("river.stats", "river.drift") if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        if (stats := stand_ins.get("river.stats")) is not None:
            importlib.import_module("river.stats.base")
            vars(stats)["Mean"] = importlib.import_module("river.stats.mean").Mean
        return importlib.import_module("river.drift.page_hinkley"), importlib.import_module("river.drift.adwin")
    finally:
        for name in stand_ins:  # whoever imports them later gets all of them
            del sys.modules[name]
            vars(sys.modules["river"]).pop(name.rpartition(".")[2], None)


def _stand_in(package: str) -> ModuleType:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError(f"the package {package} is not installed", name=package)
    stand_in = ModuleType(package)
    stand_in.__path__ = list(spec.submodule_search_locations)
    return stand_in


_page_hinkley, _adwin = _river()


@dataclass(frozen=True)
class PageHinkley:
    """Settings of the test of Page and Hinkley: the sum of how far values lie above their mean so far.

    Attributes:
        delta: what a value may lie above the mean without counting, in the stream's unit.
        threshold: the sum from which it is drift.
        min_instances: values before which nothing is.
    """

    delta: float
    threshold: float
    min_instances: int


@dataclass(frozen=True)
class Adwin:
    """Settings of ADWIN: whether the newer part of a window has a higher mean than the older one.

    Attributes:
        delta: the chance of a false alarm that is put up with.
    """

    delta: float


@dataclass(frozen=True)
class Finding:
    """What a detector says of a stream.

    Attributes:
        stream: what the values are.
        detector: `page-hinkley` or `adwin`.
        statistic: the sum of Page and Hinkley; of ADWIN the width of its window, in values.
        threshold: above which the statistic is drift; None for ADWIN, whose width is no such thing.
        detected: whether it fired in the newest values.
    """

    stream: str
    detector: str
    statistic: float
    threshold: float | None
    detected: bool

    def document(self) -> dict[str, Any]:
        """As the hour's report has it."""
        return vars(self).copy()


def detect(stream: str, values: Sequence[float], settings: PageHinkley | Adwin, new: int = 1) -> Finding:
    """What a detector says of a stream.

    Args:
        stream: the name that the finding gets.
        values: of the whole stream, the oldest first; finite numbers.
        new: how many of them, at the end, the evaluation is about. With 0 nothing is detected.
    """
    fired, statistic = _gone_over(values, settings)
    detected = bool(fired) and fired[-1] >= len(values) - new
    if isinstance(settings, PageHinkley):
        return Finding(stream, PAGE_HINKLEY, statistic, settings.threshold, detected)
    return Finding(stream, ADWIN, statistic, None, detected)


def firings(values: Sequence[float], settings: PageHinkley | Adwin) -> list[int]:
    """At which values, by their place, a detector has fired: what `detect` says of each of them in turn."""
    return _gone_over(values, settings)[0]


def _gone_over(values: Sequence[float], settings: PageHinkley | Adwin) -> tuple[list[int], float]:
    """Where it has fired, and the statistic after the last value."""
    if isinstance(settings, PageHinkley):
        return _page_hinkley_over(values, settings)
    return _adwin_over(values, settings)


def _page_hinkley_over(values: Sequence[float], settings: PageHinkley) -> tuple[list[int], float]:
    detector = _page_hinkley.PageHinkley(
        min_instances=settings.min_instances,
        delta=settings.delta,
        threshold=settings.threshold,
        mode="up",
    )
    fired = []
    for place, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            fired.append(place)
    if not values:
        return fired, 0.0
    # river tells whether, not how near; the sums that it compares are private.
    return fired, float(detector._sum_increase - detector._min_increase)


def _adwin_over(values: Sequence[float], settings: Adwin) -> tuple[list[int], float]:
    # Looked at with each value, not with every 32nd: a value is an hour, and 32 of them more than a day.
    detector = _adwin.ADWIN(delta=settings.delta, clock=1)
    fired = []
    for place, value in enumerate(values):
        before = detector.estimation
        detector.update(value)
        # The window has dropped its older part, so that its mean is now that of the newer one. After a fall, too, but
        # that is no drift here.
        if detector.drift_detected and detector.estimation > before:
            fired.append(place)
    return fired, float(detector.width)


def kept(values: Sequence[float]) -> list[float]:
    """What a state keeps of a stream: the newest `MOST_VALUES`."""
    return list(values[-MOST_VALUES:])


# --- the command line -------------------------------------------------------------------------------------------------


def add_arguments(parser: ArgumentParser, page_hinkley: Iterable[str] = (PAGE_HINKLEY,)) -> None:
    """The detectors' settings: `--{name}-delta`, `-threshold`, `-min-instances`, and `--adwin-delta`."""
    for name in page_hinkley:
        parser.add_argument(f"--{name}-delta", type=float, required=True)
        parser.add_argument(f"--{name}-threshold", type=float, required=True)
        parser.add_argument(f"--{name}-min-instances", type=int, required=True)
    parser.add_argument("--adwin-delta", type=float, required=True)


def page_hinkley_of(arguments: Namespace, name: str = PAGE_HINKLEY) -> PageHinkley:
    """The settings that the arguments give under a name.

    Raises:
        ClientError: when one of them is out of its range.
    """
    prefix = name.replace("-", "_")
    given: Mapping[str, Any] = {
        key: getattr(arguments, f"{prefix}_{key}") for key in ("delta", "threshold", "min_instances")
    }
    if not (0 <= given["delta"] < math.inf and 0 < given["threshold"] < math.inf and given["min_instances"] >= 1):
        raise ClientError(f"--{name}-…: {given}; expected delta from 0, threshold above 0 and min_instances from 1")
    return PageHinkley(**given)


def adwin_of(arguments: Namespace) -> Adwin:
    """The settings that the arguments give.

    Raises:
        ClientError: when delta is not between 0 and 1.
    """
    if not 0 < arguments.adwin_delta < 1:
        raise ClientError(f"--adwin-delta is {arguments.adwin_delta}; expected a number between 0 and 1")
    return Adwin(arguments.adwin_delta)
