"""Records: what a Frame accepts, refuses and derives."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import constants

from fluxan.errors import InputError
from fluxan.neighbors import build_graph
from fluxan.system import Flux, Frame

POSITIONS = [[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]


def frame(**changes):
    fields = {"positions": POSITIONS, "velocities": np.ones((2, 3)), "cell": np.eye(3) * 5, "numbers": [18, 36]}
    return Frame(**fields | changes)


def test_masses_default_to_the_elements():
    assert frame().masses.tolist() == [39.948, 83.798]


def test_volume_of_left_handed_triclinic_cell():
    cell = [[0.0, 4.0, 0.0], [3.0, 0.0, 0.0], [1.0, 1.0, 5.0]]
    assert frame(cell=cell).volume == pytest.approx(60.0)


def test_cluster_and_slab_have_no_volume():
    assert frame(cell=None).volume is None
    assert frame(cell=None).pbc == (False, False, False)
    assert frame(pbc=(True, True, False)).volume is None


def test_temperature_counts_three_degrees_of_freedom_less_with_a_cell():
    joule = 0.5 * (39.948 + 83.798) * constants.atomic_mass * 3 * 100.0**2  # 1 Å/ps is 100 m/s
    assert frame().temperature == pytest.approx(2 * joule / (3 * constants.k), rel=1e-12)
    assert frame(cell=None).temperature == pytest.approx(2 * joule / (6 * constants.k), rel=1e-12)
    one = Frame([[0.0, 0, 0]], [[1.0, 0, 0]], np.eye(3), [18])
    assert one.temperature == 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": [[0.0, 0.0]]}, r"positions have shape \(1, 2\), expected \(n_atoms, 3\)"),
        ({"positions": np.zeros((0, 3))}, "hold no atom"),
        ({"positions": [[0.0, 0, 0], [np.nan, 0, 0]]}, "positions of atom 1 .* finite"),
        ({"velocities": [[0.0, 0, 0], [0, np.inf, 0]]}, "velocities of atom 1 .* finite"),
        ({"velocities": np.zeros((3, 3))}, r"velocities have shape \(3, 3\), expected \(2, 3\)"),
        ({"cell": np.zeros((3, 3))}, "singular"),
        ({"cell": [[1.0, 0, 0], [2, 0, 0], [0, 0, 1]]}, "singular"),
        ({"cell": np.eye(3) * np.nan}, "not finite"),
        ({"cell": [1.0, 1.0, 1.0]}, "expected \\(3, 3\\)"),
        ({"numbers": [18]}, "expected \\(2,\\) atomic numbers"),
        ({"numbers": [18, 119]}, "atomic number 119 of atom 1"),
        ({"masses": [1.0, 0.0]}, "mass of atom 1 is 0.0"),
        ({"time": np.nan}, "time is nan"),
    ],
)
def test_bad_input_is_named(changes, message):
    with pytest.raises(InputError, match=message):
        frame(**changes)


def test_graph_changes_precision_of_real_tensors_only():
    import torch

    graph = build_graph(frame(), 4.0).to(dtype=torch.float32)
    assert {graph.r_ij.dtype, graph.positions.dtype, graph.cell.dtype} == {torch.float32}
    assert {graph.senders.dtype, graph.receivers.dtype, graph.numbers.dtype} == {torch.int64}
    assert graph.shifts.dtype == torch.int32


def test_flux_total_is_the_sum_of_its_parts():
    rng = np.random.default_rng(1)
    flux = Flux(rng.normal(size=(2, 2, 3)), *rng.normal(size=(3, 2, 3)))
    assert flux.total == pytest.approx(flux.potential.sum((0, 1)) + flux.kinetic.sum(0) + flux.convective.sum(0))
    assert flux.carriers.sum(0) == pytest.approx(flux.total)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": [["a", "b", "c"]]}, "positions cannot be read as numbers"),
        ({"positions": [[0.0, 0, 0], [1e12, 0, 0]]}, r"positions of atom 1 .* beyond 1e\+07 Å"),
        ({"numbers": ["Ar", "Kr"]}, "numbers cannot be read as numbers"),
        ({"numbers": [18.7, 36.0]}, "must be whole"),
        ({"masses": ["light", "heavy"]}, "masses cannot be read"),
        ({"time": None}, "time"),
        ({"pbc": (True,)}, "one truth value for each cell vector"),
    ],
)
def test_values_that_are_not_numbers_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        frame(**changes)


def test_slab_without_a_third_vector():
    slab = frame(cell=[[4.0, 0, 0], [0, 5.0, 0], [0, 0, 0]], pbc=(True, True, False))
    assert abs(np.linalg.det(slab.cell)) > 0
    assert slab.cell[2, :2].tolist() == [0, 0]
    with pytest.raises(InputError, match="singular"):
        frame(cell=[[4.0, 0, 0], [0, 5.0, 0], [0, 0, 0]])
