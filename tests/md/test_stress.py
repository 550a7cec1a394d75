"""Stress where there is a volume, and why there is none elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError

from fluxan.errors import FluxanError
from fluxan.md.ase import FluxanCalculator


def argon(pbc):
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True) * (2, 2, 2)
    atoms.pbc = pbc
    atoms.calc = FluxanCalculator("shipped:ar")
    return atoms


@pytest.mark.parametrize(
    ("pbc", "axes"), [((True, True, False), "along c"), ((False, True, False), "along a, c"), (False, "along a, b, c")]
)
def test_no_volume_no_stress(pbc, axes):
    atoms = argon(pbc)
    with pytest.raises(PropertyNotImplementedError, match=axes) as error:
        atoms.get_stress()
    assert isinstance(error.value, FluxanError)
    assert "\n" not in str(error.value)
    assert np.isfinite(atoms.get_potential_energy())
    with pytest.raises(FluxanError, match="fill no volume"):  # after an evaluation as before it
        atoms.get_stress()
    with pytest.raises(FluxanError, match="fill no volume"):
        atoms.calc.calculate(atoms, ["energy", "stress"])


def test_a_crystal_has_one():
    assert argon(True).get_stress().shape == (6,)
