"""Frames that reader tests share."""

from __future__ import annotations

import numpy as np
import pytest

from fluxan.errors import TrajectoryError
from fluxan.system import Frame


def make_frames(n_frames=5, n_atoms=7, *, cell=None, seed=1, dt=0.01, velocities=True):
    """A few frames of random atoms of three elements; digits of every size, so that rounding shows."""
    rng = np.random.default_rng(seed)
    cell = np.diag([11.0, 12.0, 13.0]) if cell is None else np.asarray(cell, dtype=float)
    numbers = np.array([18, 36, 54])[rng.integers(0, 3, n_atoms)]
    return [
        Frame(
            rng.uniform(size=(n_atoms, 3)) @ cell,
            rng.normal(scale=3.0, size=(n_atoms, 3)) if velocities else None,
            cell * (1 + 1e-3 * k),
            numbers,
            time=1.0 + k * dt,
        )
        for k in range(n_frames)
    ]


def assert_same(found, expected, *, rtol=0.0, atol=0.0, time=True):
    """Frames agree, to the last bit by default."""
    assert len(found) == len(expected)
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.positions, two.positions, rtol=rtol, atol=atol)
        np.testing.assert_allclose(one.velocities, two.velocities, rtol=rtol, atol=atol)
        np.testing.assert_allclose(one.cell, two.cell, rtol=rtol, atol=atol)
        np.testing.assert_array_equal(one.numbers, two.numbers)
        np.testing.assert_allclose(one.masses, two.masses, rtol=rtol, atol=atol)
        if time:
            assert one.time == pytest.approx(two.time, rel=max(rtol, 1e-15))


GENERAL_CELL = np.array([[1.0, 9.0, 2.0], [-8.0, 1.5, 3.0], [2.0, -1.0, 10.0]])


def until_error(trajectory):
    """Frames that come before an error, and its message."""
    found = []

    def collect():
        found.extend(trajectory)  # keeps what comes before the error

    with pytest.raises(TrajectoryError) as caught:
        collect()
    return found, str(caught.value)
