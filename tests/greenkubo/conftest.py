"""A real Dataset, and Datasets made of known series."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import fluxan
from fluxan.series.flux_dataset import to_xarray

if TYPE_CHECKING:
    import xarray

ARKR = Path(fluxan.__file__).parent / "data" / "arkr.nc"


@pytest.fixture(scope="session")
def liquid() -> xarray.Dataset:
    """Liquid argon-krypton, 2000 frames in 40 ps."""
    return fluxan.decompose(ARKR, progress=False)


@pytest.fixture
def dataset() -> xarray.Dataset:
    """Two carriers of white noise, 4000 frames at 1 fs, 1000 Å³ and 300 K."""
    rng = np.random.default_rng(5)
    n = 4000
    columns = {
        "potential": rng.standard_normal((n, 2, 2, 3)),
        "kinetic": rng.standard_normal((n, 2, 3)),
        "convective": rng.standard_normal((n, 2, 3)),
        "velocity": np.diff(rng.standard_normal((n + 1, 2, 3)), axis=0),
        "volume": np.full(n, 1000.0),
        "temperature": 300 + 5 * rng.standard_normal(n),
        "potential_energy": rng.standard_normal(n),
        "frame_sha256": np.arange(1, n + 1),
        "time": 0.001 * np.arange(n),
    }
    return to_xarray(columns, ["Ag", "I"], {"time_unit": "ps", "schema": "fluxan flux 1"})
