"""The figure of the power along edges shows what the currents are."""

from __future__ import annotations

import numpy as np
import pytest

import fluxan
from fluxan.errors import InputError
from fluxan.report.edge_figure import draw_edge_currents
from tests.systems import argon_krypton


@pytest.fixture(scope="module")
def currents():
    return fluxan.edge_currents(next(iter(argon_krypton(1))), "shipped:ar-kr")


def test_profiles_add_up_and_have_the_flux_as_their_mean(currents):
    """The cell is a cube: the mean of the power through planes is the flux over the distance of their images."""
    length = currents.frame.cell[0, 0]
    panels = draw_edge_currents(currents).axes
    assert len(panels) == 3
    for axis, axes in enumerate(panels):
        lines = {line.get_label(): line.get_ydata() for line in axes.lines}
        parts = [lines[name] for name in ("Ar-Ar", "Ar-Kr", "Kr-Kr")]
        np.testing.assert_allclose(np.sum(parts, axis=0), lines["total"], atol=1e-12)
        scatter = np.ptp(lines["total"])
        assert lines["total"].mean() == pytest.approx(currents.flux[axis] / length, abs=0.03 * scatter)
        assert scatter > 1e-3
        assert axes.get_xlim()[1] == pytest.approx(length, rel=0.02)


def test_clusters_have_no_planes(currents):
    frame = currents.frame.replace(cell=None)
    with pytest.raises(InputError, match="no lattice planes"):
        draw_edge_currents(fluxan.edge_currents(frame, "shipped:ar-kr"))
