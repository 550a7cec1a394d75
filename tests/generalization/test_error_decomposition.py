"""Parts of a defect's error where it is known which part there is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase.build import bulk

from fluxan.generalization.defect_errors import errors_between, relax_defect
from fluxan.generalization.defects import interstitial
from fluxan.generalization.error_decomposition import error_parts
from fluxan.md.ase import FluxanCalculator
from fluxan.potentials.base import Potential
from fluxan.potentials.load import load_model
from tests.generalization.study_helper import LATTICE

BOND = np.sqrt(3) / 4 * LATTICE


class WithSprings(Potential):
    """Stillinger-Weber silicon with a term δ (r − r0)^n for each pair of neighbours."""

    def __init__(self, strength, power):
        super().__init__()
        self.silicon = load_model("shipped:si")
        self.strength, self.power = strength, power
        self.cutoff, self.n_hops = float(self.silicon.cutoff), 1

    def forward(self, graph):
        r = graph.r_ij.norm(dim=1)
        near = ((3.0 - r) / 0.4).clamp(0, 1)
        window = near * near * (3 - 2 * near)
        terms = 0.5 * self.strength * (r - BOND) ** self.power * window
        return self.silicon(graph) + torch.zeros(graph.n_atoms, dtype=r.dtype).index_add(0, graph.receivers, terms)


@pytest.fixture(scope="module")
def silicon():
    crystal = bulk("Si", "diamond", a=LATTICE, cubic=True).repeat(3)
    reference = FluxanCalculator("shipped:si")
    defect = interstitial(crystal, crystal.positions[0] + [LATTICE / 2, 0, 0], "Si")
    return defect, reference, relax_defect(defect, reference, tolerance=1e-6)


def parts_and_error(silicon, model, length):
    defect, reference, relaxed = silicon
    moved = relax_defect(defect, model, tolerance=1e-6, start=relaxed.relaxed)
    error = errors_between(defect, relaxed, moved).geometry
    return error_parts(defect, relaxed, reference, model, length=length, tolerance=1e-6), error


@pytest.mark.parametrize("power", [2, 3])
def test_within_a_large_cell_all_of_the_error_is_in_the_core(silicon, power):
    parts, error = parts_and_error(silicon, FluxanCalculator(WithSprings(0.2, power)), length=1e3)
    assert error > 1e-3
    assert parts.core == pytest.approx(error, rel=1e-3)
    assert max(parts.force_constants, parts.anharmonic) < 1e-3 * error
    assert parts.largest == "core"


def test_beyond_the_core_springs_are_force_constants(silicon):
    """Their anharmonicity, that of rotating bonds, falls faster with the distance."""
    near, far = (parts_and_error(silicon, FluxanCalculator(WithSprings(0.2, 2)), length=x)[0] for x in (4.0, 7.0))
    assert near.force_constants > 3 * near.anharmonic
    assert far.anharmonic / far.force_constants < 0.7 * near.anharmonic / near.force_constants


def test_beyond_the_core_cubic_terms_are_anharmonic(silicon):
    """Force constants are those of the reference, whatever the strength."""
    parts, _ = parts_and_error(silicon, FluxanCalculator(WithSprings(2.0, 3)), length=4.0)
    assert parts.anharmonic > 20 * parts.force_constants


def test_parts_add_up_to_the_error(silicon):
    """Two parts whose fields add up: the norm of the whole lies between their difference and their sum."""
    weak = FluxanCalculator(WithSprings(0.02, 2))
    whole, error = parts_and_error(silicon, weak, length=0.5)
    assert whole.core == pytest.approx(0.0, abs=0.35 * error)  # the interstitial itself alone
    split, error = parts_and_error(silicon, weak, length=4.0)
    beyond = np.hypot(split.force_constants, split.anharmonic)
    assert abs(split.core - beyond) <= 1.01 * error <= 1.02 * (split.core + split.force_constants + split.anharmonic)
