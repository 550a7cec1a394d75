"""SevenNet models through the adapter; collected where SevenNet is installed."""

from __future__ import annotations

import warnings
from pathlib import Path

import ase
import numpy as np
import pytest
import sevenn
import torch
from sevenn._const import DEFAULT_E3_EQUIVARIANT_MODEL_CONFIG
from sevenn.calculator import SevenNetCalculator
from sevenn.model_build import build_E3_equivariant_model
from sevenn.util import chemical_species_preprocess

import fluxan
from fluxan.errors import FileError, ModelError
from fluxan.flux.check import choose_route
from fluxan.md.ase import FluxanCalculator
from fluxan.neighbors import build_graph
from fluxan.potentials.adapters import sevennet as adapter
from tests.message_passing import jacobian_oracle, scaled_up
from tests.potentials.adapters.agreement import assert_every_crossing_counts, assert_exact, system

ELEMENTS = (1, 8)
CONFIG = DEFAULT_E3_EQUIVARIANT_MODEL_CONFIG | {
    "cutoff": 2.6,
    "channel": 4,
    "lmax": 1,
    "num_convolution_layer": 2,
    "shift": -1.0,
    "scale": 1.5,
    "conv_denominator": 3.0,
    "weight_nn_hidden_neurons": [8],
    "version": sevenn.__version__,
}


def settings(**changes):
    return CONFIG | chemical_species_preprocess(["H", "O"]) | changes


def random_model(**changes):
    torch.manual_seed(0)
    return scaled_up(build_E3_equivariant_model(settings(**changes)).eval())


@pytest.fixture(scope="module")
def single():
    """As SevenNet makes it, in single precision."""
    return random_model()


@pytest.fixture(scope="module")
def path(single, tmp_path_factory):
    path = tmp_path_factory.mktemp("sevennet") / "checkpoint.pth"
    torch.save({"config": settings(), "model_state_dict": single.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def double(path):
    return adapter.load(path, dtype="float64", trust_pickle=True)


@pytest.fixture(scope="module")
def frame():
    return system(ELEMENTS)


def test_routes_agree_with_the_jacobian(double, frame):
    assert (double.cutoff, double.n_hops, double.elements) == (2.6, 2, ELEMENTS)
    assert_exact(double, frame)
    assert_every_crossing_counts(double, frame, 2)


def test_single_precision(path, frame, double):
    assert_exact(adapter.load(path, trust_pickle=True), frame, tolerance=1e-4, referee=double)


def test_gauge_check_passes(double, frame):
    report = choose_route(double, build_graph(frame, double.cutoff))[1]
    assert report.route == "adjoint"
    assert max(report.errors.values()) < 1e-10


def test_energies_forces_and_stress_are_those_of_sevennet(path, frame):
    atoms = ase.Atoms(frame.numbers, positions=frame.positions, cell=frame.cell, pbc=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of accelerators that are not installed
        theirs = SevenNetCalculator(str(path), device="cpu")
    ours = FluxanCalculator(theirs)
    for name in ("energy", "energies", "forces", "stress"):
        expected = theirs.get_property(name, atoms)
        np.testing.assert_allclose(ours.get_property(name, atoms), expected, atol=1e-5 * np.abs(expected).max())


MODALITY = {
    "use_modality": True,
    "_number_of_modalities": 2,
    "_modal_map": {"pbe": 0, "scan": 1},
    "use_modal_node_embedding": False,
    "use_modal_self_inter_intro": True,
    "use_modal_self_inter_outro": True,
    "use_modal_output_block": True,
    "use_modal_wise_shift": False,
    "use_modal_wise_scale": False,
}


def test_multi_fidelity(frame):
    model = random_model(**MODALITY).to(torch.float64)
    with pytest.raises(ModelError, match="modal=None is not known to the SevenNet model; it has pbe, scan"):
        fluxan.load_model(model)
    pbe, scan = (adapter.SevenNetPotential(model, modal=modal) for modal in ("pbe", "scan"))
    graph = build_graph(frame, 2.6)
    assert (pbe(graph) - scan(graph)).abs().min() > 1e-3
    assert_exact(scan, frame)


def test_bad_files(path, tmp_path):
    with pytest.raises(ModelError, match=r"checkpoint\.pth is a pickled model, and unpickling runs .*trust_pickle="):
        fluxan.load_model(f"sevennet:{path}")
    text, other = tmp_path / "text.pth", tmp_path / "other.pth"
    text.write_text("not a model")
    torch.save({"w": torch.ones(2)}, other)
    with pytest.raises(ModelError, match=r"text\.pth is no SevenNet checkpoint"):
        fluxan.load_model(f"sevennet:{text}", trust_pickle=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SevenNet's own, about the same fault
        with pytest.raises(FileError, match=r"cannot open pickled model .*other\.pth"):
            fluxan.load_model(f"sevennet:{other}", trust_pickle=True)
    with pytest.raises(ModelError, match="ReLU is no whole SevenNet model"):
        adapter.wrap(torch.nn.ReLU())


def test_unknown_elements(double, frame):
    with pytest.raises(ModelError, match="SevenNetPotential does not know Li; it knows H, O"):
        fluxan.heat_flux(frame.replace(numbers=[1, 8, 3, 3]), double)


def test_the_checkpoint_that_sevennet_ships_agrees_with_the_jacobian():
    """Five layers of 5 Å: an open crystal, so that its energies reach some thousand replicas and not ten thousand."""
    folder = Path(sevenn.__file__).parent / "pretrained_potentials" / "SevenNet_0__11Jul2024"
    shipped = folder / "checkpoint_sevennet_0.pth"
    model = adapter.load(shipped, dtype="float64", trust_pickle=True)
    frame = system((11, 17), n_atoms=2, cell=4.9)
    assert (model.n_hops, model.cutoff) == (5, 5.0)
    virial = fluxan.atomic_virial(frame, model, route="adjoint")
    exact = jacobian_oracle(model, frame)[0].sum(axis=0)
    assert np.abs(virial - exact).max() < 1e-9 * np.abs(exact).max()
