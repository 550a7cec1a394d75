"""Point defects and dislocations: what they hold, and input that makes none."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from fluxan.errors import InputError
from fluxan.generalization.defects import interstitial, substitution, vacancy
from fluxan.generalization.dislocations import dislocation


def rock_salt():
    return bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat(2)


def test_sites_and_distances():
    crystal = rock_salt()
    defect = vacancy(crystal, 5)
    assert defect.name == f"vacancy of {crystal.symbols[5]}"
    assert np.array_equal(defect.perfect.positions[defect.sites], defect.atoms.positions)
    assert np.array_equal(defect.perfect.numbers[defect.sites], defect.atoms.numbers)
    # Through the periodic boundaries: no site is further than half the diagonal of the cell.
    assert defect.distances[5] == 0
    assert defect.distances.max() == pytest.approx(5.64 * 3**0.5)
    added = interstitial(crystal, crystal.positions[0] + 5.64 / 4, "Na")
    assert (added.sites[-1], len(added.atoms)) == (-1, len(crystal) + 1)
    other = substitution(crystal, 0, "K")
    assert other.name == "K in place of Na"
    assert np.array_equal(other.atoms.positions, crystal.positions)


def test_formation_energies_count_the_atoms_that_were_exchanged():
    crystal = rock_salt()
    assert vacancy(crystal).formation_energy(-10.0, -12.0, {"Na": -1.5}) == pytest.approx(0.5)
    assert substitution(crystal, 0, "K").formation_energy(-10.0, -12.0, {"Na": -1.5, "K": -1.0}) == pytest.approx(1.5)
    with pytest.raises(InputError, match="chemical potential of Na is missing"):
        vacancy(crystal).formation_energy(-10.0, -12.0)
    argon = bulk("Ar", "fcc", a=5.3, cubic=True)
    assert vacancy(argon).formation_energy(-2.9, -4.0) == pytest.approx(0.1)


def test_what_makes_no_defect():
    crystal = rock_salt()
    with pytest.raises(InputError, match="64 atoms, none of index 64"):
        vacancy(crystal, 64)
    with pytest.raises(InputError, match=r"neighbours 2\.82 A away cannot be displaced by 1\.5 A"):
        vacancy(crystal, 0, inward=1.5)
    with pytest.raises(InputError, match="symbol of another element"):
        substitution(crystal, 0, "Na")
    with pytest.raises(InputError, match="symbol of another element"):
        substitution(crystal, 0, "Xx")
    with pytest.raises(InputError, match=r"0\.10 A away from an atom"):
        interstitial(crystal, crystal.positions[3] + [0.1, 0, 0], "Na")
    with pytest.raises(InputError, match="three finite numbers"):
        interstitial(crystal, [0, np.nan, 0], "Na")
    with pytest.raises(InputError, match="'Q' is no element"):
        interstitial(crystal, [0, 0, 1.0], "Q")
    crystal.pbc = (True, True, False)
    assert len(vacancy(crystal).atoms) == 63
    crystal.pbc = False
    with pytest.raises(InputError, match="not periodic in any direction"):
        vacancy(crystal)


def test_a_dislocation_has_its_burgers_vector():
    """The displacements jump by one Burgers vector around the axis: a/2 along ⟨110⟩ for the screw in diamond."""
    a = 5.43
    defect = dislocation("diamond screw", "Si", a, (151.4, 76.4, 56.4), radius=30.0, rim=8.0)
    assert defect.atoms.pbc.tolist() == [False, False, True]
    assert len(defect.atoms.constraints[0].index) < len(defect.atoms)
    x, y = (defect.perfect.positions[:, k] - defect.core[k] for k in (0, 1))
    u = defect.atoms.positions - defect.perfect.positions
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    far = radius > 15
    # The phase of the displacement along the axis winds once by 2π, wherever its cut lies.
    length = a / 2**0.5
    order = np.argsort(angle[far])
    phase = np.unwrap(2 * np.pi * u[far][order][:, 2] / length)
    slope = np.polyfit(angle[far][order], phase, 1)[0]
    assert abs(slope) == pytest.approx(1.0, abs=0.1)


def test_dislocations_that_cannot_be_built():
    elastic = (151.4, 76.4, 56.4)
    with pytest.raises(InputError, match="choose from diamond 30 degree partial"):
        dislocation("spiral", "Si", 5.43, elastic, radius=30, rim=8)
    with pytest.raises(InputError, match="must be thinner"):
        dislocation("diamond screw", "Si", 5.43, elastic, radius=8, rim=8)
    with pytest.raises(InputError, match="are in its rim"):
        dislocation("diamond screw", "Si", 5.43, elastic, radius=8, rim=7.9)
