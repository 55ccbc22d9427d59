"""Figures as PNG files."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# What both workloads draw the model and its baselines with.
MODEL, BASE, OTHER = "#1f5fa8", "#9a9a9a", "#d9822b"


def save(folder: Path, figures: Mapping[str, Figure]) -> list[Path]:
    """Write each figure to a file of its name."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, figure in figures.items():
        file = folder / f"{name}.png"
        # A Figure without pyplot draws with Agg, needs no display and leaves nothing behind; no software version in
        # the file, so that the same figures give the same bytes.
        figure.savefig(file, dpi=90, metadata={"Software": None})
        files.append(file)
    return files


def finish(axes: Axes) -> None:
    """A grid and a legend."""
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
