"""Members that MACE fits, behind the entry point of the example: they load, differ, and failures are one line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from fluxan.active.ensemble import Ensemble
from fluxan.active.label_worker import load_entry
from fluxan.errors import FluxanError, InputError, ModelError
from fluxan.md.ase import FluxanCalculator
from fluxan.md.ase.calculator import frame_of_atoms
from fluxan.trajectory.labelled_frame import LabelledFrame

EXAMPLES = Path(__file__).parents[2] / "examples"
TINY = {"max_num_epochs": 2, "num_channels": 2, "num_interactions": 1, "radial_MLP": "[4]", "max_ell": 1}


def trainer(**options):
    return load_entry("mace_trainer:make", str(EXAMPLES), "train.trainer")(**options)


@pytest.fixture(scope="module")
def frames():
    """Four displaced cells of silicon, labelled."""
    random, calculator, made = np.random.default_rng(0), FluxanCalculator("shipped:si"), []
    for _ in range(4):
        atoms = bulk("Si", "diamond", a=5.431)
        atoms.positions += random.normal(scale=0.08, size=atoms.positions.shape)
        atoms.calc = calculator
        made.append(LabelledFrame(frame_of_atoms(atoms), atoms.get_potential_energy(), atoms.get_forces()))
    return made


def test_two_members_have_a_spread(frames, tmp_path):
    mace = trainer(**TINY)
    mace.fit(frames[:3], frames[3:], folder=tmp_path / "0", seed=0, start=None)
    mace.fit(frames[1:], frames[:1], folder=tmp_path / "1", seed=1, start=tmp_path / "0")
    members = [mace.load(tmp_path / name) for name in "01"]
    found = Ensemble(members).evaluate(frames[0].frame)
    assert np.isfinite(found.forces).all()
    assert np.isfinite(found.force_spread).all()
    assert found.force_spread.min() > 0
    # The second began where the first has ended: MACE's error before any training is that of the first member here.
    log = (tmp_path / "1" / "mace.log").read_text(encoding="utf-8")
    initial = float(re.search(r"Initial: .* RMSE_F= *([\d.]+) meV", log)[1])
    assert initial == pytest.approx(1e3 * np.sqrt(np.mean((found.forces[0] - frames[0].forces) ** 2)), abs=0.02)
    # MACE has read the labels: its atomic energy is the mean of the energies per atom that it was given.
    alone = members[0].model.atomic_energies_fn.atomic_energies.item()
    assert alone == pytest.approx(np.mean([item.energy / 2 for item in frames[:3]]), abs=1e-6)


def test_failures_are_one_line(frames, tmp_path):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho 'Traceback' >&2\necho 'ValueError: no such option' >&2\necho bye\nexit 3\n")
    program.chmod(0o755)
    with pytest.raises(ModelError, match=r"exit status 3: ValueError: no such option \(all in ") as caught:
        trainer(python=str(program)).fit(frames[:3], frames[3:], folder=tmp_path / "0", seed=0, start=None)
    assert "\n" not in str(caught.value)
    with pytest.raises(FluxanError, match="nowhere/python cannot be run"):
        trainer(python="nowhere/python").fit(frames[:3], frames[3:], folder=tmp_path / "1", seed=0, start=None)
    with pytest.raises(InputError, match="the trainer sets it"):
        trainer(seed=3)
