"""Stage `barriers` of `rare_events.py`: energy of the saddle point of a hop by every ensemble, without dynamics.

An atom half-way between its site and the vacancy stays there by symmetry while all others relax: what this costs is the
barrier at rest, and says without statistical error how much a model should change the rate, by a factor of about
exp(−ΔE/k_B T).
"""

from __future__ import annotations

import json

import numpy as np
from radial_dynamics import RadialDynamics
from rare_events_learning import MORE, is_over, members_of

#: Friction, step and largest step, Å, of the relaxation, its steps, and the force that is left, eV/Å.
DAMPING, STEP, LARGEST, STEPS, LEFT = 0.9, 0.6, 0.05, 1500, 2e-5


def relaxed(fast, x):
    """Energy, eV, and positions at rest, by damped steps along the forces, which keep every symmetry."""
    x, v = x.copy(), np.zeros_like(x)
    for _ in range(STEPS):
        energy, forces, _ = fast.forces(x)
        forces -= forces.mean(axis=0)
        v = DAMPING * v + STEP * forces
        if (v * forces).sum() < 0:
            v[:] = 0
        x += np.clip(v, -LARGEST, LARGEST)
        if np.abs(forces).max() < LEFT:
            break
    return energy, x


def barrier(study, fast):
    """Energy of the saddle point over that of the vacancy at rest, meV."""
    empty = int(np.setdiff1d(np.arange(len(study.sites)), study.own)[0])
    d = study.sites - study.sites[empty]
    d -= fast.lengths * np.rint(d / fast.lengths)
    distance = np.linalg.norm(d, axis=1)
    distance[empty] = np.inf
    neighbour = int(distance.argmin())
    atom = int(np.flatnonzero(study.own == neighbour)[0])
    halfway = study.atoms.positions.copy()
    halfway[atom] -= d[neighbour] / 2
    return 1e3 * (relaxed(fast, halfway)[0] - relaxed(fast, study.atoms.positions)[0])


def barriers(study):
    """Barriers of the reference and of all ensembles whose events are counted, meV, to barriers.json in the folder."""
    rows = [["reference", "", 0, barrier(study, study.fast)]]
    for name in study.failures:
        for rule in ("before", MORE, "random", "published"):
            for seed in range(study.sizes.seeds):
                if is_over(study, name, rule, seed):
                    members, _ = members_of(study, name, rule, seed)
                    rows.append([name, rule, seed, barrier(study, RadialDynamics(members, study.atoms))])
                    print(f"{name}, {rule}, seed {seed}: barrier {rows[-1][-1]:.1f} meV", flush=True)
    (study.folder / "barriers.json").write_text(json.dumps(rows, indent=1) + "\n")
