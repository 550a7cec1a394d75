"""What is shown of a flux file that is being written."""

from __future__ import annotations

import fluxan
from fluxan.md.drift import energy_drift
from fluxan.report.monitor import Watcher
from tests.systems import argon_krypton


def test_no_drift_of_the_energy_of_a_trajectory_of_an_unknown_ensemble(tmp_path):
    path = tmp_path / "flux.nc"
    with fluxan.decompose(argon_krypton(20), "shipped:ar-kr", output=path, progress=False) as dataset:
        assert dataset.attrs["n_atoms"] == 32
        assert energy_drift(dataset.assign_attrs(ensemble="nve")) is not None
    seen = Watcher(path).look()
    assert seen.frames == 20
    assert seen.drift is None
