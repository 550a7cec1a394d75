"""References of tests of active learning: entry points ``references:name`` that return ASE calculators."""

from __future__ import annotations

import os
import time
from hashlib import sha256
from multiprocessing import parent_process

import numpy as np
from ase.calculators.calculator import all_changes
from ase.calculators.lj import LennardJones
from ase.units import Hartree


class Harmonics(LennardJones):
    """Lennard-Jones argon, smooth at the cutoff, whose forces are those of ASE's own implementation."""

    def __init__(self):
        super().__init__(sigma=3.4, epsilon=0.0103, rc=5.2, ro=4.2, smooth=True)


def argon():
    return Harmonics()


class Faulty(Harmonics):
    """Fails to label one frame in four, by the frame itself, so that it fails again for the same one."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        digest = sha256(np.round(atoms.positions, 8).tobytes()).digest()
        if parent_process() is not None and digest[0] % 4 == 0:
            raise RuntimeError("SCF did not converge")
        super().calculate(atoms, properties, system_changes)


def faulty():
    return Faulty()


class Slow(Harmonics):
    """Hangs where the first atom is beyond 0.5 Å, and dies where it is beyond 1 Å."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        x = atoms.positions[0, 0]
        if x > 1.0:
            os._exit(3)
        if x > 0.5:
            time.sleep(600)
        super().calculate(atoms, properties, system_changes)


def slow():
    return Slow()


class InHartree(Harmonics):
    """Energies in Hartree, forces in eV/Å."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results["energy"] /= Hartree


def in_hartree():
    return InHartree()


class NotFinite(Harmonics):
    """NaN for one atom's force."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results["forces"] = self.results["forces"] * np.nan


def not_finite():
    return NotFinite()


def raises():
    raise RuntimeError("no licence")
