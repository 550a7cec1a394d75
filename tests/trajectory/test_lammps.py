"""LAMMPS dumps: the reference files, every kind of box and column, units."""

from __future__ import annotations

import gzip

import numpy as np

from fluxan.trajectory import open_trajectory


def test_reference_dump_line_by_line(reference):
    path = reference / "agi_zincblende" / "traj.lammpstrj.gz"
    with gzip.open(path, "rt") as file:
        lines = file.read().splitlines()
    frames = list(open_trajectory(path, elements=["Ag", "I"], timestep=0.002))
    per_frame = 9 + 216
    assert len(frames) == len(lines) // per_frame == 40
    for k, frame in enumerate(frames):
        rows = [line.split() for line in lines[k * per_frame + 9 : (k + 1) * per_frame]]
        rows.sort(key=lambda row: int(row[0]))
        np.testing.assert_array_equal(frame.positions, [[float(x) for x in row[3:6]] for row in rows])
        np.testing.assert_array_equal(frame.velocities, [[float(x) for x in row[6:9]] for row in rows])
        np.testing.assert_array_equal(frame.masses, [float(row[2]) for row in rows])
        np.testing.assert_array_equal(frame.numbers, [{"1": 47, "2": 53}[row[1]] for row in rows])
        assert frame.time == int(lines[k * per_frame + 1]) * 0.002
