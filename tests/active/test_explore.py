"""Exploration: what is chosen, at which distance, how a run ends, and what is believed."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch
from ase.build import bulk
from scipy import stats

from fluxan.active.acceptance import AcceptanceRule
from fluxan.active.credibility import Credibility, shortest_distances
from fluxan.active.ensemble import Ensemble
from fluxan.active.ensemble_calculator import EnsembleCalculator
from fluxan.active.explore import LAST_CREDIBLE, Explorer, _Kept
from fluxan.active.explore_settings import ExploreSettings
from fluxan.errors import InputError
from fluxan.md.ase.calculator import FluxanCalculator, frame_of_atoms
from fluxan.potentials.base import Potential
from fluxan.system import Frame
from fluxan.trajectory.memory import atoms_of_frame


class Soft(Potential):
    """Pairs repelled by ``a (1 − r/r_c)²``, held together by nothing but the cell."""

    cutoff, n_hops = 4.6, 1

    def __init__(self, strength):
        super().__init__()
        self.strength = strength

    def forward(self, graph):
        r = graph.r_ij.norm(dim=1)
        pairs = 0.5 * self.strength * (1 - r / self.cutoff) ** 2
        return torch.zeros(graph.n_atoms, dtype=r.dtype).index_add(0, graph.receivers, pairs)


ENSEMBLE = Ensemble([Soft(3.0), Soft(3.3), Soft(3.6)])
START = frame_of_atoms(bulk("Ar", "fcc", a=5.2, cubic=True).repeat(2))
CREDIBLE = Credibility({(18, 18): 2.83}, 50.0, float(ENSEMBLE.evaluate(START).energies.mean()) + 0.2, 0.3)
ALWAYS = AcceptanceRule(-10.0, 0.1, 1e6, 1.0)
NEVER = AcceptanceRule(1e6, 0.1, 1e6, 1.0)


def settings(**options):
    return ExploreSettings(**{"temperature": 50.0, "time": 0.5, "spacing": 0.05, "timestep": 5.0} | options)


def run(rule=ALWAYS, credibility=CREDIBLE, seed=(0,), watch=None, **options):
    return Explorer(ENSEMBLE, rule, credibility, settings(**options), watch).run(START, list(seed))


def test_the_calculator_gives_the_means():
    atoms = atoms_of_frame(START)
    atoms.rattle(0.1, seed=1)
    atoms.calc = EnsembleCalculator(ENSEMBLE)
    found = atoms.get_potential_energy(), atoms.get_forces()
    atoms.calc = FluxanCalculator(ENSEMBLE.mean)
    assert found[0] == pytest.approx(atoms.get_potential_energy(), rel=1e-12)
    assert np.abs(found[1] - atoms.get_forces()).max() < 1e-12


def test_everything_uncertain_is_chosen_until_there_are_enough():
    found = run(samples=4)
    assert (found.accepted, found.considered) == (4, 4)
    assert found.time == pytest.approx(0.2)
    assert found.reason == ""


def test_what_the_models_know_is_passed_over():
    found = run(NEVER)
    assert (found.candidates, found.accepted, found.considered) == ([], 0, 10)


def test_high_energies_are_rejected_unless_asked_for():
    low = AcceptanceRule(-10.0, 0.1, -1e6, 1.0)
    found = run(low)
    assert (found.accepted, found.energy_rejected) == (0, 10)
    assert run(low, energies=False).accepted == 10


def test_a_threshold():
    spreads = [candidate.uncertainty for candidate in run().candidates]
    middle = float(np.median(spreads))
    chosen = Explorer(ENSEMBLE, NEVER, CREDIBLE, settings(rule="threshold", threshold=middle)).run(START, [0])
    assert [c.uncertainty for c in chosen.candidates] == [s for s in spreads if s > middle]


def test_rules_see_the_same_dynamics():
    everything = [c.frame.positions for c in run().candidates]
    at_random = Explorer(ENSEMBLE, NEVER, CREDIBLE, settings(rule="random", samples=3)).run(START, [0])
    assert len(at_random.candidates) == 3
    assert at_random.considered == 10
    for candidate in at_random.candidates:
        assert any(np.array_equal(candidate.frame.positions, positions) for positions in everything)


def test_a_run_depends_on_its_seed_alone():
    first, again, other = run(seed=[1, 2]), run(seed=[1, 2]), run(seed=[1, 3])
    for a, b in zip(first.candidates, again.candidates, strict=True):
        assert np.array_equal(a.frame.positions, b.frame.positions)
    assert not np.array_equal(first.candidates[0].frame.positions, other.candidates[0].frame.positions)


def test_frames_at_random_are_uniform():
    counts = np.zeros(20)
    for seed in range(600):
        kept = _Kept(5, np.random.default_rng(seed), at_random=True)
        for k in range(20):
            kept.offer(k)
        for _, chosen in kept._chosen:
            counts[chosen] += 1
    assert stats.chisquare(counts).pvalue > 0.001


def test_every_considered_frame_is_watched():
    seen = []
    run(NEVER, watch=lambda time, frame: seen.append((time, frame.n_atoms)))
    assert [time for time, _ in seen] == pytest.approx(np.arange(1, 11) / 20)


class Landscape(Potential):
    """Two atoms in two wells, at 2.5 Å and, 0.08 eV higher, near 3.8 Å; beyond 3.2 Å the members differ."""

    cutoff, n_hops = 7.0, 1

    def __init__(self, doubt):
        super().__init__()
        self.doubt = doubt

    def forward(self, graph):
        r = graph.r_ij.norm(dim=1)
        x = (r - 3.2) / 0.7
        pairs = 0.1 * (x * x - 1) ** 2 + 0.04 * (x + 1) + self.doubt * x.clamp(min=0.0) ** 2
        return torch.zeros(graph.n_atoms, dtype=r.dtype).index_add(0, graph.receivers, 0.5 * pairs)


def test_a_basin_that_chance_misses_is_chosen():
    """The same dynamics visit the second well now and then; frames there are labelled by the rule, not by chance."""
    cell = 30 * np.eye(3)
    start = Frame(np.array([[10.0, 0, 0], [12.5, 0, 0]]), None, cell, np.array([18, 18]))
    wells = Ensemble([Landscape(doubt) for doubt in (-0.004, 0.0, 0.004)])
    known = [start.replace(positions=np.array([[10.0, 0, 0], [10 + r, 0, 0]])) for r in np.linspace(2.2, 2.9, 8)]
    known.append(start.replace(positions=np.array([[10.0, 0, 0], [13.25, 0, 0]])))  # on the slope: some doubt
    found = [wells.evaluate(frame) for frame in known]
    rule = AcceptanceRule.of_test_set([f.force_spread.max() for f in found], [f.energies.mean() for f in found])
    limits = Credibility({(18, 18): 2.2}, 450.0, 0.05, 0.05)
    chosen = {}
    for name in ("published", "random"):
        options = settings(
            temperature=450.0, time=14.0, timestep=10.0, spacing=0.1, samples=4, rule=name, energies=False
        )
        candidates = Explorer(wells, rule, limits, options).run(start, [3]).candidates
        chosen[name] = [np.linalg.norm(c.frame.positions[1] - c.frame.positions[0]) for c in candidates]
    assert len(chosen["random"]) == 4
    assert max(chosen["random"]) < 3.2
    assert len(chosen["published"]) == 4
    assert min(chosen["published"]) > 3.2
    assert sum(r > 3.4 for r in chosen["published"]) >= 2


def test_a_run_that_explodes_leaves_its_last_credible_frame():
    """The members attract at short distance: atoms fall into one another as soon as they meet."""
    falling = Ensemble([Soft(-3.0), Soft(-3.3)])
    mean = float(falling.evaluate(START).energies.mean())
    limits = Credibility({(18, 18): 3.2}, 50.0, mean, 1.0)
    found = Explorer(falling, NEVER, limits, settings(time=20.0)).run(START, [0])
    assert found.reason
    assert found.time < 20.0
    (last,) = found.candidates
    assert last.source == LAST_CREDIBLE
    assert limits.reason_against(atoms_of_frame(last.frame), mean) == ""


def test_a_last_credible_frame_that_was_chosen_already_is_labelled_once():
    falling = Ensemble([Soft(-3.0), Soft(-3.3)])
    mean = float(falling.evaluate(START).energies.mean())
    limits, often = Credibility({(18, 18): 3.2}, 50.0, mean, 1.0), settings(time=20.0, samples=10**4, rule="random")
    often = dataclasses.replace(often, spacing=often.timestep * 10 / 1e3)  # as often as frames are looked at
    found = Explorer(falling, NEVER, limits, often).run(START, [0])
    assert found.reason
    assert found.accepted == len(found.candidates) > 0


def test_nothing_is_credible_from_the_start():
    hot = Credibility({(18, 18): 3.0}, 50.0, -1e3, 1e-3)
    found = run(credibility=hot)
    assert found.candidates == []
    assert "standard deviations above" in found.reason


@pytest.mark.parametrize(
    ("change", "energy", "reason"),
    [
        (str, 0.0, ""),
        (str, np.nan, "not finite"),
        (str, -20.0, "20 standard deviations below"),
        (lambda atoms: atoms.set_momenta(np.full((len(atoms), 3), 20.0)), 0.0, "temperature .* exceeds"),
        (lambda atoms: atoms.positions.__setitem__(0, atoms.positions[1] + [0.4, 0, 0]), 0.0, "0.40 Å apart"),
        (lambda atoms: atoms.positions.__setitem__(0, atoms.positions[1]), 0.0, "at one point"),
    ],
)
def test_what_is_believed(change, energy, reason):
    atoms = atoms_of_frame(START)
    change(atoms)
    found = Credibility({(18, 18): 3.4}, 50.0, 0.0, 1.0).reason_against(atoms, energy)
    assert bool(found) == bool(reason)
    assert re.search(reason, found)


def test_shortest_distances_by_pair():
    found = shortest_distances([START], 4.0)
    assert found == {(18, 18): pytest.approx(5.2 / 2**0.5)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time": 0.01}, "spacing below time"),
        ({"temperature": -1.0}, "explore.temperature is -1.0"),
        ({"samples": 0}, "explore.samples"),
        ({"rule": "threshold"}, "needs it"),
        ({"threshold": 1.0}, "goes with"),
        ({"rule": "best"}, "published, threshold, random"),
        ({"uncertainty": "energy"}, "forces, flux"),
    ],
)
def test_settings_are_checked(options, message):
    with pytest.raises(InputError, match=message):
        settings(**options)
