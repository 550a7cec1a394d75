"""Classes of atomic environments: by coordination, the same for thermal motion and strain."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, diamond100

from fluxan.errors import InputError
from fluxan.system import Frame
from fluxan.training.environment_classes import ClusterSettings, EnvironmentClasses, cluster
from tests.training_frames import crystal


def frame_of(atoms, size=0.0, seed=1):
    copy = atoms.copy()
    if size:
        copy.rattle(size, seed=seed)
    return Frame(copy.positions, None, np.array(copy.cell), copy.numbers, pbc=tuple(copy.pbc))


def slab(layers):
    atoms = diamond100("Si", size=(2, 2, layers), a=5.431, vacuum=8.0)
    atoms.pbc = (True, True, False)
    return atoms


def test_a_slab_has_two_classes_whatever_its_thermal_motion():
    frames = [frame_of(slab(6), size, seed) for seed, size in enumerate((0.0, 0.05, 0.1, 0.1, 0.12))]
    classes = EnvironmentClasses(frames)
    assert classes.names == ("Si with 2 neighbours", "Si with 4 neighbours", "Si unlike any in training")
    assert classes.elements == (14, 14, 14)
    assert classes.n_classes == 2
    for frame in frames:
        np.testing.assert_array_equal(classes.counts(frame), [8, 16, 0])
    surface = np.abs(frames[0].positions[:, 2] - frames[0].positions[:, 2].mean()) > 3.0
    np.testing.assert_array_equal(classes.labels(frames[3]), np.where(surface, 0, 1))
    np.testing.assert_array_equal(classes.counts(frame_of(slab(10), 0.1)), [8, 32, 0])
    np.testing.assert_array_equal(classes.counts(frame_of(bulk("Si") * (2, 2, 2), 0.1)), [0, 16, 0])


def test_a_strained_thermal_crystal_has_one_class_and_no_surface():
    frames = [frame_of(bulk("Si", a=5.431 * x) * (3, 3, 3), 0.08, seed) for seed, x in enumerate((0.98, 1.0, 1.02))]
    classes = EnvironmentClasses(frames)
    assert classes.names == ("Si with 4 neighbours", "Si unlike any in training")
    np.testing.assert_array_equal(classes.counts(frames[1]), [54, 0])
    counts = classes.counts(frame_of(slab(6), 0.05))
    assert counts[1] == 8


def test_elements_are_classes_of_their_own():
    classes = EnvironmentClasses([crystal(), crystal(noise=0.1)])
    assert classes.names[:2] == ("Ar with 6 Kr neighbours", "Kr with 6 Ar neighbours")
    np.testing.assert_array_equal(classes.counts(crystal()), [4, 4, 0, 0])
    with pytest.raises(InputError, match="Si occurs in no structure"):
        classes.counts(frame_of(bulk("Si")))


def test_classes_with_one_coordination_number_have_names_of_their_own():
    fcc, hcp = bulk("Ar", "fcc", a=5.3), bulk("Ar", "hcp", a=5.3 / 2**0.5, c=5.3 / 2**0.5 * (8 / 3) ** 0.5)
    settings = ClusterSettings(floor=0.1, gap=1.01)
    classes = EnvironmentClasses([frame_of(fcc), frame_of(hcp)], settings)
    assert classes.n_classes == 2
    assert len(set(classes.names)) == 3
    assert all(name.startswith("Ar with 12 neighbours") for name in classes.names[:2])


def test_clusters_are_cut_at_a_gap():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(scale=0.3, size=(50, 5)) + x for x in (0.0, 3.0, 8.0)])
    labels = cluster(points, ClusterSettings(floor=1.0))
    assert [len(set(labels[50 * k : 50 * k + 50])) for k in range(3)] == [1, 1, 1]
    assert len(set(labels)) == 3
    far = np.concatenate([points[:100], points[:50] + 100.0])
    assert len(set(cluster(far, ClusterSettings(floor=1.0)))) == 3
    assert len(set(cluster(far, ClusterSettings(floor=1.0, clear_gap=50.0)))) == 2
    assert set(cluster(points[:50], ClusterSettings(floor=2.0))) == {0}
    assert set(cluster(points[:1], ClusterSettings())) == {0}
    np.testing.assert_array_equal(np.sort(cluster(points[[0, 149]], ClusterSettings())), [0, 1])


def test_isolated_atoms_have_no_neighbours():
    atoms = bulk("Ar", "fcc", a=40.0)
    assert EnvironmentClasses([frame_of(atoms)]).names[0] == "Ar without neighbours"


@pytest.mark.parametrize(
    "settings", [{"displacement": 0.0}, {"floor": -1.0}, {"gap": 1.0}, {"reach": np.inf}, {"max_classes": 0}]
)
def test_settings_that_are_refused(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        ClusterSettings(**settings)


def test_no_structures():
    with pytest.raises(InputError, match="no structures"):
        EnvironmentClasses([])
