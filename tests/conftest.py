"""Settings all tests share."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest

from fluxan.errors import TrajectoryWarning

# Two cores, many processes: one thread each keeps sums bitwise equal and the machine usable.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REFERENCE = Path(__file__).parent / "reference"


@pytest.fixture(autouse=True)
def _strict_warnings():
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module=r"fluxan(\.|$)")
        warnings.filterwarnings("error", category=TrajectoryWarning)  # these name the caller's line
        yield


@pytest.fixture
def reference() -> Path:
    """Folder with LAMMPS trajectories and LAMMPS' own fluxes."""
    return REFERENCE
