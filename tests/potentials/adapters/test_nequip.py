"""NequIP and Allegro models through the adapter; collected where NequIP is installed."""

from __future__ import annotations

import ase
import lightning
import numpy as np
import pytest
import torch
from allegro.model import AllegroModel
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
from nequip.integrations.ase import NequIPCalculator
from nequip.model import NequIPGNNModel
from nequip.train import NequIPLightningModule
from nequip.utils.global_state import set_global_state

import fluxan
from fluxan.errors import FileError, ModelError
from fluxan.flux.check import choose_route
from fluxan.md.ase import FluxanCalculator
from fluxan.neighbors import build_graph
from fluxan.potentials.adapters import nequip as adapter
from tests.message_passing import scaled_up
from tests.potentials.adapters.agreement import assert_every_crossing_counts, assert_exact, system

ELEMENTS = (1, 8)
CUTOFF = 2.6
COMMON = {
    "seed": 1,
    "r_max": CUTOFF,
    "type_names": ["H", "O"],
    "l_max": 1,
    "per_type_energy_scales": 1.0,
    "per_type_energy_shifts": {"H": -1.0, "O": -2.0},
    "avg_num_neighbors": 8.0,
}
NEQUIP = COMMON | {"num_layers": 2, "num_features": 4, "radial_mlp_width": 8}
ALLEGRO = COMMON | {
    "num_layers": 2,
    "num_scalar_features": 4,
    "num_tensor_features": 2,
    "radial_chemical_embed": {"_target_": "allegro.nn.TwoBodyBesselScalarEmbed", "num_bessels": 4},
    "radial_chemical_embed_dim": 8,
    "scalar_embed_mlp_hidden_layers_width": 8,
    "allegro_mlp_hidden_layers_width": 8,
    "readout_mlp_hidden_layers_width": 8,
}


@pytest.fixture(scope="module", autouse=True)
def _state():
    before = torch.get_default_dtype()
    set_global_state()
    yield
    torch.set_default_dtype(before)


def nequip_model(dtype="float64", **changes):
    return scaled_up(NequIPGNNModel(model_dtype=dtype, **(NEQUIP | changes)).eval())


@pytest.fixture(scope="module")
def model(_state):
    return nequip_model()


@pytest.fixture(scope="module")
def frame():
    return system(ELEMENTS)


def test_routes_agree_with_the_jacobian(model, frame):
    wrapped = adapter.wrap(model)
    assert (wrapped.cutoff, wrapped.n_hops, wrapped.elements) == (CUTOFF, 2, ELEMENTS)
    assert_exact(wrapped, frame)
    assert_every_crossing_counts(wrapped, frame, 2)


def test_three_layers(frame):
    wrapped = adapter.wrap(nequip_model(num_layers=3))
    assert wrapped.n_hops == 3
    assert_exact(wrapped, frame)


def test_single_precision(model, frame):
    single = adapter.wrap(nequip_model("float32"))
    double = adapter.wrap(nequip_model())
    double.model.load_state_dict(single.model.state_dict())
    assert_exact(single, frame, tolerance=1e-4, referee=double)


def test_gauge_check_passes(model, frame):
    report = choose_route(adapter.wrap(model), build_graph(frame, CUTOFF))[1]
    assert report.route == "adjoint"
    assert max(report.errors.values()) < 1e-10


def test_allegro_is_local(frame):
    wrapped = adapter.wrap(scaled_up(AllegroModel(model_dtype="float64", **ALLEGRO).eval()))
    assert wrapped.n_hops == 1
    assert choose_route(wrapped, build_graph(frame, CUTOFF))[1].route == "local"
    assert_exact(wrapped, frame, routes=("local", "adjoint", "unfolded"))


def test_energies_forces_and_stress_are_those_of_nequip(model, frame):
    atoms = ase.Atoms(frame.numbers, positions=frame.positions, cell=frame.cell, pbc=True)
    transforms = [ChemicalSpeciesToAtomTypeMapper(["H", "O"]), NeighborListTransform(r_max=CUTOFF)]
    theirs = NequIPCalculator(model, "cpu", transforms=transforms)
    for ours in (FluxanCalculator(model), FluxanCalculator(theirs)):
        for name in ("energy", "energies", "forces", "stress"):
            expected = theirs.get_property(name, atoms)
            np.testing.assert_allclose(ours.get_property(name, atoms), expected, atol=1e-10 * np.abs(expected).max())


def test_checkpoint(tmp_path, frame):
    path = tmp_path / "last.ckpt"
    target = {"_target_": "nequip.model.NequIPGNNModel", "model_dtype": "float64"} | NEQUIP
    settings = {"model": target, "num_datasets": {"train": 1, "val": 1, "test": 0, "predict": 0}}
    trained = NequIPLightningModule(**settings)
    training_module = {"_target_": "nequip.train.NequIPLightningModule"}
    checkpoint = {
        "state_dict": scaled_up(trained).state_dict(),
        "hyper_parameters": settings | {"info_dict": {"versions": {}, "training_module": training_module}},
        "pytorch-lightning_version": lightning.__version__,
    }
    torch.save(checkpoint, path)
    with pytest.raises(ModelError, match=r"last\.ckpt is a pickled model, and unpickling runs .*trust_pickle="):
        fluxan.load_model(f"nequip:{path}")
    loaded = fluxan.load_model(f"nequip:{path}", trust_pickle=True)
    expected = fluxan.atomic_virial(frame, trained.evaluation_model["sole_model"].eval())
    np.testing.assert_allclose(fluxan.atomic_virial(frame, loaded), expected, rtol=1e-10)


def test_bad_files(tmp_path):
    text, other = tmp_path / "text.ckpt", tmp_path / "other.ckpt"
    text.write_text("not a model")
    torch.save({"w": torch.ones(2)}, other)
    with pytest.raises(ModelError, match=r"text\.ckpt is no NequIP model; expected what its training \(\.ckpt\)"):
        fluxan.load_model(f"nequip:{text}", trust_pickle=True)
    with pytest.raises(FileError, match=r"cannot open pickled model .*other\.ckpt: KeyError"):
        fluxan.load_model(f"nequip:{other}", trust_pickle=True)
    script = tmp_path / "model.nequip.pth"
    torch.jit.save(torch.jit.trace(torch.nn.Linear(1, 1), torch.ones(1)), script)
    with pytest.raises(ModelError, match=r"is a compiled model, which cannot be looked into; give what its training"):
        fluxan.load_model(f"nequip:{script}")


def test_models_that_cannot_be_taken(model):
    with pytest.raises(ModelError, match="SequentialGraphNetwork is no NequIP model that knows its types"):
        adapter.wrap(model.model.func)
    with pytest.raises(ModelError, match="types A, Xx are no elements; expected chemical symbols"):
        adapter.wrap(nequip_model(type_names=["A", "Xx"], per_type_energy_shifts={"A": 0.0, "Xx": 0.0}))
    calculator = NequIPCalculator(model, "cpu", length_units_to_A=10.0)
    with pytest.raises(ModelError, match=r"lengths in units of 10\.0 Å; expected Å"):
        fluxan.load_model(calculator)


def test_unknown_elements(model, frame):
    with pytest.raises(ModelError, match="NequipPotential does not know Li; it knows H, O"):
        fluxan.heat_flux(frame.replace(numbers=[1, 8, 3, 3]), model)
