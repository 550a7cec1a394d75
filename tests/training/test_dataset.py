"""Training sets: splits by trajectory, batches, refused sets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fluxan.errors import InputError
from fluxan.neighbors import build_graph
from fluxan.training.dataset import TrainingSet
from tests.training_frames import crystal, labelled, training_frames


def frames_of(*lengths):
    """Frames of several trajectories of given lengths."""
    item = labelled(crystal(noise=0.1))
    return [item.replace(trajectory=f"run{k}") for k, n in enumerate(lengths) for _ in range(n)]


@pytest.mark.parametrize("seed", range(4))
def test_whole_trajectories_are_held_back(seed):
    frames = frames_of(4, 5, 6, 5, 4, 6, 5, 5, 4, 6)
    train, held = TrainingSet(frames).split(0.1, seed=seed)
    assert sorted(train + held) == list(range(50))
    assert not {frames[k].trajectory for k in train} & {frames[k].trajectory for k in held}
    assert 3 <= len(held) <= 8


def test_the_last_frames_are_held_back_of_few_trajectories():
    train, held = TrainingSet(frames_of(20)).split(0.2)
    assert held == [16, 17, 18, 19]
    train, held = TrainingSet(frames_of(20, 10)).split(0.1)
    assert held == [18, 19, 29]
    assert len(train) == 27


def test_one_trajectory_per_frame():
    train, held = TrainingSet(frames_of(1, 1, 1, 1)).split(0.25)
    assert (len(train), len(held)) == (3, 1)


@pytest.mark.parametrize("fraction", [0, 1, -0.1])
def test_shares_are_checked(fraction):
    with pytest.raises(InputError, match="between 0 and 1"):
        TrainingSet(frames_of(4)).split(fraction)


def test_batches_hold_every_frame_once():
    training_set = TrainingSet(training_frames(5))
    batches = training_set.batches(4.0, 2, seed=1)
    assert [batch.n_frames for batch in batches] == [2, 2, 1]
    energies = sorted(float(e) for batch in batches for e in batch.energies)
    assert energies == sorted(item.energy for item in training_set.frames)
    again = training_set.batches(4.0, 2, seed=1)
    assert all(torch.equal(a.graph.r_ij, b.graph.r_ij) for a, b in zip(batches, again, strict=True))


def test_frames_of_a_batch_share_no_edge():
    training_set = TrainingSet(training_frames(3))
    (batch,) = training_set.batches(4.0, 3)
    graph = batch.graph
    assert torch.equal(batch.frame_of_atom[graph.senders], batch.frame_of_atom[graph.receivers])
    for k in range(3):
        single = build_graph(training_set.frames[k].frame, 4.0)
        inside = batch.frame_of_atom[graph.receivers] == k
        assert torch.equal(graph.r_ij[inside], single.r_ij)
        assert torch.equal(graph.senders[inside] - 8 * k, single.senders)


def test_consecutive_frames():
    training_set = TrainingSet(frames_of(5, 7))
    assert training_set.runs(3) == [[0, 1, 2], [5, 6, 7], [8, 9, 10]]
    with pytest.raises(InputError, match="no trajectory has 8 consecutive frames"):
        training_set.batches(4.0, 8, consecutive=True)


def test_missing_labels_are_named():
    frames = training_frames(4)
    frames[2] = frames[2].replace(forces=None)
    with pytest.raises(InputError, match=r"1 of 4 frames have no forces \(frames 2, counted from 0\)"):
        TrainingSet(frames).require(["energy", "forces"])
    slab = frames[1].frame.replace(pbc=(True, True, False))
    frames[1] = frames[1].replace(frame=slab, virial=None)
    TrainingSet(frames).require(["virial"])


def test_sets_too_small_are_refused():
    with pytest.raises(InputError, match=r"has 1 frame\(s\)"):
        TrainingSet(training_frames(1))


def test_the_hash_depends_on_labels_and_atoms():
    frames = training_frames(2)
    hashes = {TrainingSet(frames).sha256, TrainingSet(frames[::-1]).sha256}
    hashes.add(TrainingSet([frames[0].replace(energy=frames[0].energy + 1e-12), frames[1]]).sha256)
    moved = frames[0].frame.replace(positions=np.nextafter(frames[0].frame.positions, 9))
    hashes.add(TrainingSet([frames[0].replace(frame=moved), frames[1]]).sha256)
    assert len(hashes) == 4
    assert TrainingSet(training_frames(2)).sha256 in hashes
