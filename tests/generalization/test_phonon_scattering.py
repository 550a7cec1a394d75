"""Linewidths from defects against transmission through chains, Born's approximation, unitarity and phonopy."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

from fluxan.errors import InputError
from fluxan.generalization.defects import Defect, interstitial, substitution, vacancy
from fluxan.generalization.phonon_scattering import (
    Linewidths,
    compare_linewidths,
    couplings,
    force_constants,
    linewidths,
    on_sites,
    scattering_rates,
    sum_rule_violation,
)
from fluxan.md.ase import FluxanCalculator
from fluxan.units import MASS_VELOCITY2

#: Of the chains: eV/Å², u, and their ratio in 1/ps².
SPRING, MASS = 5.0, 28.0
STIFFNESS = SPRING / MASS / MASS_VELOCITY2
TOP = np.sqrt(STIFFNESS) / np.pi

# Stiffness of the bonds before and after site 0, its mass, and spring and mass of an atom beside the chain.
DEFECTS = {
    "soft bond": {"after": 0.5},
    "stiff bond": {"after": 2.0},
    "cut bond": {"after": 0.0},
    "light atom": {"mass": 0.5},
    "heavy atom": {"mass": 3.0},
    "vacancy": {"before": 0.0, "after": 0.0},
    "vacancy, detached atom of another mass": {"before": 0.0, "after": 0.0, "mass": 2.0},
    "atom beside the chain": {"beside": (1.2, 1.0)},
    "all at once": {"before": 1.3, "after": 0.7, "mass": 1.4, "beside": (0.8, 0.7)},
}


def chain(n, before=1.0, after=1.0, mass=1.0, beside=None):
    """Force constants and masses of a ring of n atoms; one more atom, detached unless it is beside the chain."""
    springs = np.ones(n)
    springs[[-1, 0]] = before, after
    constants, sites = np.zeros((n + 1, n + 1)), np.arange(n)
    following = np.roll(sites, -1)
    constants[sites, sites] = springs + np.roll(springs, 1)
    constants[sites, following] = constants[following, sites] = -springs
    spring, extra = beside or (0.0, 1.0)
    constants[np.ix_([0, n], [0, n])] += spring * np.array([[1, -1], [-1, 1]])
    return SPRING * constants, MASS * np.concatenate([[mass], np.ones(n - 1), [extra]])


def transmission(q, before=1.0, after=1.0, mass=1.0, beside=None):
    """Amplitude t of the wave behind the defect, by Newton's equations of the sites −1, 0 and 1.

    ``u_n = e^iqn + r e^−iqn`` for n < 0, ``u_0``, and ``t e^iqn`` for n > 0 are the unknowns.
    """
    found = []
    for wave, square in zip(np.exp(1j * q), 2 - 2 * np.cos(q), strict=True):
        spring, extra = beside or (0.0, 1.0)
        back = -spring * extra * square / (spring - extra * square) if spring else 0.0
        equations = [
            [(square - 1 - before) * wave + wave**2, before, 0],
            [before * wave, mass * square - before - after - back, after * wave],
            [0, after, (square - 1 - after) * wave + wave**2],
        ]
        incoming = [(square - 1 - before) / wave + wave**-2, before / wave, 0]
        r, _, t = np.linalg.lstsq(np.array(equations), -np.array(incoming), rcond=None)[0]
        assert abs(r) ** 2 + abs(t) ** 2 == pytest.approx(1)
        found.append(t)
    return np.array(found)


def errors_in_a_chain(n, defect, broadening):
    """Frequencies, and relative errors of the rates: by the optical theorem a ring's mode loses v/n · 2 (1 − Re t)."""
    beside = defect.get("beside")
    perfect = chain(n, beside=beside and (0.0, beside[1]))
    changed = chain(n, **defect)
    found = scattering_rates(couplings(perfect[0], changed[0], perfect[1], changed[1]), broadening)
    inner = (found.frequencies > 0.15 * TOP) & (found.frequencies < 0.9 * TOP)
    omega = 2 * np.pi * found.frequencies[inner]
    q = 2 * np.arcsin(omega / (2 * np.sqrt(STIFFNESS)))
    expected = STIFFNESS * np.sin(q) / omega / n * 2 * (1 - transmission(q, **defect).real)
    return omega, found.rates[inner] / expected - 1


@pytest.mark.parametrize("defect", DEFECTS.values(), ids=DEFECTS)
def test_rates_in_a_chain_are_those_of_its_transmission(defect):
    """The error is of order σ²: with twice the atoms and half of σ it is a quarter, and extrapolated it is gone."""
    omega, coarse = errors_in_a_chain(300, defect, 0.016 * TOP)
    fine = np.interp(omega, *errors_in_a_chain(600, defect, 0.008 * TOP))
    assert np.abs(fine).max() < 0.3 * np.abs(coarse).max()
    assert np.abs((4 * fine - coarse) / 3).max() < 5e-4


def random_crystals(heavier):
    """Force constants, masses and Green's functions at ω_k² + iη of two random crystals; V as in the module's notes."""
    random, n = np.random.default_rng(0), 24
    root = random.normal(size=(n, n))
    constants = MASS_VELOCITY2 * (root @ root.T + np.eye(n))
    local = np.zeros((n, n))
    local[:5, :5] = random.normal(size=(5, 5))
    changed = constants + MASS_VELOCITY2 * local @ local.T
    masses = random.uniform(1, 2, n)
    return constants, changed, masses, masses * (1 + heavier * (np.arange(n) < 3))


@pytest.mark.parametrize("heavier", [0.0, 0.7])
def test_couplings_are_those_of_the_t_matrix(heavier):
    """Against inverses of matrices, and without changes of mass against the sum over final states of |T|² too."""
    constants, changed, masses, defect_masses = random_crystals(heavier)
    found = couplings(constants, changed, masses, defect_masses)
    root = np.sqrt(np.outer(masses, masses))
    squares, modes = np.linalg.eigh(constants / root / MASS_VELOCITY2)
    assert found.frequencies == pytest.approx(np.sqrt(squares))
    eta = 0.3
    for k, square in enumerate(squares):
        ratio = np.diag(defect_masses / masses)
        v = (changed - constants) / root / MASS_VELOCITY2 - square * (ratio - np.eye(len(ratio)))
        green = np.linalg.inv((square + 1j * eta) * ratio - changed / root / MASS_VELOCITY2)
        t = modes.T @ (v + v @ green @ v) @ modes
        lorentzian = eta / ((square - found.defect_frequencies**2) ** 2 + eta**2)
        assert found.squares[k] @ lorentzian == pytest.approx(-t[k, k].imag, rel=1e-9)
        if not heavier:
            outgoing = np.abs(t[k]) ** 2 @ (eta / ((square - squares) ** 2 + eta**2))
            assert outgoing == pytest.approx(-t[k, k].imag, rel=1e-9)


def born(constants, change, masses, broadening):
    """The golden rule, ``(π/ω_k) Σ_k' |V_kk'|² δ(ω_k² − ω_k'²)``, by loops; `change` gives V at ω."""
    root = np.sqrt(np.outer(masses, masses))
    squares, modes = np.linalg.eigh(constants / root / MASS_VELOCITY2)
    omega, sigma = np.sqrt(np.maximum(squares, 0)), 2 * np.pi * broadening
    rates = []
    for k in np.flatnonzero(omega > 1e-3 * omega[-1]):
        rate = 0.0
        for n, element in enumerate(modes.T @ (change(omega[k]) @ modes[:, k])):
            gaussian = np.exp(-0.5 * ((omega[k] - omega[n]) / sigma) ** 2) / (np.sqrt(2 * np.pi) * sigma)
            rate += np.pi / omega[k] * element**2 * gaussian / (omega[k] + omega[n])
        rates.append(rate)
    return np.array(rates)


def test_weak_defects_scatter_by_the_golden_rule():
    constants, changed, masses, _ = random_crystals(0.0)
    root = np.sqrt(np.outer(masses, masses))
    differences = []
    for weak in (1e-2, 1e-3):
        mixed = constants + weak * (changed - constants)
        found = scattering_rates(couplings(constants, mixed, masses, masses), 0.1).rates
        expected = born(constants, lambda _, mixed=mixed: (mixed - constants) / root / MASS_VELOCITY2, masses, 0.1)
        differences.append(np.abs(found / expected - 1).max())
    assert differences[1] < 0.01
    assert differences[1] == pytest.approx(differences[0] / 10, rel=0.3)


@pytest.fixture(scope="module")
def calculator():
    return FluxanCalculator("shipped:si")


@pytest.fixture(scope="module")
def silicon():
    return bulk("Si", "diamond", a=5.430949777, cubic=True)


def nothing(crystal):
    """No defect at all."""
    return Defect("nothing", crystal.copy(), crystal.copy(), np.arange(len(crystal)), crystal.positions[0])


def test_force_constants_are_those_of_phonopy(silicon, calculator):
    crystal = silicon.repeat(2)
    found = force_constants(crystal, calculator)
    cell = PhonopyAtoms(cell=np.array(crystal.cell), positions=crystal.positions, numbers=crystal.numbers)
    phonons = Phonopy(cell, supercell_matrix=np.eye(3, dtype=int), primitive_matrix="P", log_level=0)
    phonons.generate_displacements(distance=0.01, is_plusminus=True)
    forces = []
    for displaced in phonons.supercells_with_displacements:
        atoms = crystal.copy()
        atoms.positions = displaced.positions
        atoms.calc = calculator
        forces.append(atoms.get_forces())
    phonons.forces = forces
    phonons.produce_force_constants()
    theirs = phonons.force_constants.transpose(0, 2, 1, 3).reshape(found.shape)
    assert np.abs(found - theirs).max() < 1e-6 * np.abs(theirs).max()
    assert sum_rule_violation(found) < 1e-9
    found[0, 3:6] += 0.25
    assert sum_rule_violation(found) == pytest.approx(0.25)


def test_no_change_gives_no_rates(silicon, calculator):
    for found in linewidths(nothing(silicon), silicon, calculator):
        assert len(found.rates) == 3 * len(silicon) - 3
        assert np.abs(found.rates).max() < 1e-15
        assert found.sum_rule < 1e-9


def test_an_isotope_scatters_by_tamuras_rule(silicon, calculator):
    """A little heavier atom, from its mass to its rates, against the golden rule with ``V = −ω² ΔM/M``."""
    defect, excess = nothing(silicon), 1e-3
    masses = silicon.get_masses()
    masses[3] *= 1 + excess
    defect.atoms.set_masses(masses)
    (found,) = linewidths(defect, silicon, calculator, broadenings=(1.0,))
    site = np.zeros((24, 24))
    site[9:12, 9:12] = np.eye(3)
    constants, heavy = force_constants(silicon, calculator), np.repeat(silicon.get_masses(), 3)
    expected = born(constants, lambda omega: -(omega**2) * excess * site, heavy, 1.0)
    for frequency in np.unique(np.round(found.frequencies, 4)):
        group = np.abs(found.frequencies - frequency) < 1e-3
        assert np.ptp(found.rates[group]) < 1e-12
        assert found.rates[group] == pytest.approx(expected[group].mean(), rel=5e-3)


def test_defects_are_put_on_sites(silicon):
    """Every entry of the defect's force constants is where its atoms' sites are; the rest has no springs."""
    hollow = silicon.positions[0] + [2.7, 0, 0]
    for defect, n in (
        (vacancy(silicon, 2), 8),
        (interstitial(silicon, hollow, "H"), 9),
        (substitution(silicon, 1, "Ge"), 8),
    ):
        n_atoms = len(defect.atoms)
        own = np.random.default_rng(0).normal(size=(3 * n_atoms, 3 * n_atoms))
        perfect, changed, masses, defect_masses = on_sites(defect, np.ones((24, 24)), own)
        assert perfect.sum() == 24**2
        assert perfect.shape == changed.shape == (3 * n, 3 * n)
        sites = [site if site >= 0 else 8 for site in defect.sites]
        expected = np.zeros((n, 3, n, 3))
        expected[np.ix_(sites, range(3), sites, range(3))] = own.reshape(n_atoms, 3, n_atoms, 3)
        assert (changed == expected.reshape(3 * n, 3 * n)).all()
        assert defect_masses[::3][sites] == pytest.approx(defect.atoms.get_masses())
        assert masses[:24] == pytest.approx(28.085)
        assert (masses != defect_masses).sum() == (3 if "Ge" in defect.name else 0)


def test_a_comparison_by_hand():
    """Twice the rates; the model's frequencies are 1 % too high, so that one mode changes its bin."""
    reference = Linewidths(np.array([1.2, 1.5, 2.99, 4.0]), np.array([1.0, 3.0, 5.0, 7.0]), np.ones(4), 0.3)
    model = Linewidths(1.01 * reference.frequencies, 2 * reference.rates, np.ones(4), 0.3)
    ranked = compare_linewidths(reference, model, n_bins=4, by="rank")
    assert ranked.ratios == pytest.approx([2, 2, 2])
    assert ranked.n_modes.tolist() == [2, 1, 1]
    assert (ranked.rms, ranked.mean_ratio) == pytest.approx((1, 2))
    found = compare_linewidths(reference, model, n_bins=4)
    assert found.frequencies == pytest.approx([1.35, 4.0])
    assert found.reference == pytest.approx([2, 7])
    assert found.model == pytest.approx([4, 12])
    assert found.rms == pytest.approx(np.sqrt((2 + (5 / 7) ** 2) / 3))
    assert compare_linewidths(reference, reference).rms == 0


def test_what_cannot_be_computed_is_told(silicon, calculator):
    defect = nothing(silicon)
    with pytest.raises(InputError, match="not those of the defect"):
        linewidths(defect, silicon.repeat(2), calculator)
    with pytest.raises(InputError, match="a displacement of 0 A"):
        force_constants(silicon, calculator, displacement=0)
    with pytest.raises(InputError, match=r"the crystal with the defect is unstable: a mode of .*i THz"):
        couplings(np.eye(3), -np.eye(3), np.ones(3), np.ones(3))
    coupled = couplings(np.eye(3), np.eye(3), np.ones(3), np.ones(3))
    with pytest.raises(InputError, match="the broadening is 0 THz"):
        scattering_rates(coupled, 0)
    one, other = (scattering_rates(coupled, broadening) for broadening in (0.3, 0.6))
    with pytest.raises(InputError, match="different supercells or broadenings"):
        compare_linewidths(one, other)
    with pytest.raises(InputError, match="cannot compare by 'mode'"):
        compare_linewidths(one, one, by="mode")
    with pytest.raises(InputError, match="does not scatter phonons"):
        compare_linewidths(one, one)
