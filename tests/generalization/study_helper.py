"""Small studies of silicon for tests."""

from __future__ import annotations

from ase.build import bulk
from ase.io import write

LATTICE = 5.430949777

TEXT = """\
[reference]
model = "shipped:si"
[crystal]
structure = "silicon.xyz"
[defects.vacancy]
kind = "vacancy"
inward = 0.5
[model]
cutoff = 4.0
triplet_cutoff = 3.8
n_radial = 4
first_shift = 1.8
zetas = [1.0, 4.0]
[training]
cells = [2]
frames = 3
test_frames = 2
[observations]
sets = [["energy", "forces"], ["energy", "forces", "force_constants", "virial"]]
[evaluation]
cell = 4
lattices = ["reference", "own"]
"""


def write_study(folder, *changes):
    """A file of a study; `changes` are pairs of a text and what takes its place."""
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "silicon.xyz", bulk("Si", "diamond", a=LATTICE))
    text = TEXT
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path = folder / "study.toml"
    path.write_text(text)
    return path
