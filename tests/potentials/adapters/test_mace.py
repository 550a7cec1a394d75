"""MACE through the adapter: exact by every route, and its own energies, forces and stress."""

from __future__ import annotations

import pickle
import sys
import warnings
import zipfile

import ase
import numpy as np
import pytest
import torch
import torch.package

import fluxan
from fluxan.errors import DependencyError, FileError, InputError, ModelError
from fluxan.flux.check import choose_route
from fluxan.md.ase import FluxanCalculator
from fluxan.neighbors import build_graph
from fluxan.potentials.adapters import mace as adapter
from fluxan.units import VELOCITY
from tests.potentials.adapters.agreement import assert_every_crossing_counts, assert_exact, system

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch's opinion of how e3nn and MACE use it
    from mace.calculators import MACECalculator

    from tests.potentials.adapters.mace_models import ELEMENTS, mace_model, scripted


@pytest.fixture(scope="module")
def eager():
    return mace_model()


@pytest.fixture(scope="module")
def script(eager):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return scripted(eager)


@pytest.fixture(scope="module")
def files(eager, script, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mace")
    torch.save(eager, folder / "eager.model")
    torch.jit.save(script, folder / "scripted.model")
    return folder


@pytest.fixture(scope="module")
def frame():
    return system(ELEMENTS)


@pytest.fixture(scope="module")
def atoms(frame):
    """The same as ASE atoms."""
    made = ase.Atoms(frame.numbers, positions=frame.positions, cell=frame.cell, pbc=True)
    made.set_velocities(frame.velocities / VELOCITY["ase"])
    return made


@pytest.mark.parametrize("kind", ["eager", "script"])
def test_routes_agree_with_the_jacobian(kind, frame, request):
    model = adapter.wrap(request.getfixturevalue(kind))
    assert_exact(model, frame)
    assert_every_crossing_counts(model, frame, 2)


def test_triclinic_cell_of_several_cutoffs(eager):
    assert_exact(adapter.wrap(eager), system(ELEMENTS, n_atoms=6, cell=7.0, triclinic=True))


@pytest.mark.parametrize("kind", ["eager", "script"])
def test_gauge_check_passes(kind, frame, request):
    model = adapter.wrap(request.getfixturevalue(kind))
    report = choose_route(model, build_graph(frame, model.cutoff))[1]
    assert report.route == "adjoint"
    assert max(report.errors[check] for check in ("gauge", "stress", "unfolded")) < 1e-10


@pytest.mark.parametrize("name", ["eager.model", "scripted.model"])
def test_single_precision(files, frame, eager, name):
    model = adapter.load(files / name, dtype="float32", trust_pickle=True)
    assert_exact(model, frame, tolerance=1e-4, referee=adapter.wrap(eager))


def test_one_interaction_is_local(frame):
    model = adapter.wrap(mace_model(1, scaled=False))
    assert choose_route(model, build_graph(frame, model.cutoff))[1].route == "local"
    assert_exact(model, frame, routes=("local", "adjoint", "unfolded"))


def test_pair_repulsion(frame):
    assert_exact(adapter.wrap(mace_model(pair_repulsion=True)), frame)


@pytest.mark.parametrize("kind", ["eager", "script"])
def test_energies_forces_and_stress_are_those_of_mace(kind, atoms, request):
    model = request.getfixturevalue(kind)
    theirs, ours = MACECalculator(models=[model], default_dtype="float64"), FluxanCalculator(model)
    for name in ("energy", "energies", "forces", "stress"):
        expected = theirs.get_property(name, atoms)
        np.testing.assert_allclose(ours.get_property(name, atoms), expected, atol=1e-10 * np.abs(expected).max())


def test_atoms_that_carry_a_mace_calculator(eager, frame, atoms):
    calculated = atoms.copy()
    calculated.calc = MACECalculator(models=[eager], default_dtype="float64", energy_units_to_eV=0.5)
    found = fluxan.decompose([calculated], progress=False)["potential"].values[0]
    expected = fluxan.heat_flux(frame, adapter.wrap(eager)).potential
    np.testing.assert_allclose(found, 0.5 * expected, atol=1e-10 * np.abs(expected).max())


def test_models_in_memory(eager, script, frame):
    expected = fluxan.atomic_virial(frame, adapter.wrap(eager))
    for model in (eager, script):
        np.testing.assert_allclose(fluxan.atomic_virial(frame, model), expected, rtol=1e-10)


def test_heads(frame, atoms):
    model = mace_model(heads=["first", "second"])
    found = [adapter.MacePotential(model, head=head)(build_graph(frame, 2.6)).detach() for head in model.heads]
    assert (found[0] - found[1]).abs().min() > 1e-3
    for head, energies in zip(model.heads, found, strict=True):
        theirs = MACECalculator(models=[model], default_dtype="float64", head=head)
        np.testing.assert_allclose(energies, theirs.get_property("energies", atoms), rtol=1e-10)
        np.testing.assert_allclose(energies, adapter.wrap(theirs)(build_graph(frame, 2.6)).detach(), rtol=1e-12)
    with pytest.raises(ModelError, match="has the heads first, second; choose one with head="):
        adapter.wrap(model)
    with pytest.raises(ModelError, match="has no head 'third'; it has first, second"):
        adapter.MacePotential(model, head="third")


def test_metadata_of_the_model(files):
    for name in ("eager.model", "scripted.model"):
        model = fluxan.load_model(f"mace:{files / name}", trust_pickle=True)
        assert (model.cutoff, model.n_hops, model.elements) == (2.6, 2, ELEMENTS)
        assert not any(p.requires_grad for p in model.parameters())
    assert fluxan.load_model(f"mace:{files / 'scripted.model'}", dtype="float32").file_sha256 == model.file_sha256


def test_pickles_are_refused(files):
    with pytest.raises(ModelError, match=r"eager\.model is a pickled model, and unpickling runs .*trust_pickle="):
        fluxan.load_model(f"mace:{files / 'eager.model'}")


class Mischief:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (open, (str(self.trace), "w"))


def test_scripts_run_no_pickled_python(files, tmp_path):
    trace, path = tmp_path / "trace", tmp_path / "changed.model"
    with zipfile.ZipFile(files / "scripted.model") as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            data = name.endswith("/data.pkl")
            target.writestr(name, pickle.dumps(Mischief(trace), protocol=2) if data else source.read(name))
    with pytest.raises(FileError, match=r"cannot open TorchScript model .*changed\.model"):
        fluxan.load_model(f"mace:{path}")
    assert not trace.exists()


def pickled(thing):
    return lambda path: torch.save(thing, path)


BAD_FILES = {
    "text": (lambda path: path.write_text("not a model"), ModelError, r"m\.model is no MACE model; expected a Torch"),
    "empty": (lambda path: path.write_bytes(b""), ModelError, r"m\.model is no MACE model"),
    "missing": (lambda _: None, FileError, r"no model file .*m\.model"),
    "folder": (lambda path: path.mkdir(), FileError, r"m\.model is not a file"),
    "weights": (pickled({"w": torch.ones(2)}), ModelError, r"holds a dict, no MACE model; is it a training checkpoint"),
    "another model": (pickled(torch.nn.Linear(1, 1)), ModelError, r"Linear is no MACE model.*MACE or ScaleShiftMACE"),
    "cut": (lambda path: path.write_bytes(b"\x80\x02cno"), FileError, r"cannot open pickled model .*m\.model"),
    "script": (
        lambda path: torch.jit.save(torch.jit.trace(torch.nn.Linear(1, 1), torch.ones(1)), path),
        ModelError,
        r"Linear is no MACE model",
    ),
}


@pytest.mark.parametrize("fault", BAD_FILES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_bad_files(tmp_path, fault):
    write, kind, message = BAD_FILES[fault]
    write(tmp_path / "m.model")
    with pytest.raises(kind, match=message) as caught:
        fluxan.load_model(f"mace:{tmp_path / 'm.model'}", trust_pickle=True)
    assert "\n" not in str(caught.value)


def test_bad_options(files):
    with pytest.raises(InputError, match="dtype='float16' is not known; give float32 or float64"):
        fluxan.load_model(f"mace:{files / 'scripted.model'}", dtype="float16")
    with pytest.raises(ModelError, match="the adapter mace takes no option heads; it takes trust_pickle, dtype"):
        fluxan.load_model(f"mace:{files / 'scripted.model'}", heads="default")


def test_unknown_elements(eager, frame):
    with pytest.raises(ModelError, match="MacePotential does not know Li; it knows H, O"):
        fluxan.heat_flux(frame.replace(numbers=[1, 8, 3, 3]), eager)


def test_package_missing(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "mace.modules", None)
    with pytest.raises(DependencyError, match=r"needs the package mace-torch: pip install 'fluxan\[mace\]'"):
        fluxan.load_model(f"mace:{files / 'eager.model'}", trust_pickle=True)
    assert fluxan.load_model(f"mace:{files / 'scripted.model'}").n_hops == 2


def test_calculators_that_cannot_be_taken(eager):
    committee = MACECalculator(models=[eager, eager], default_dtype="float64")
    with pytest.raises(ModelError, match="the MACE calculator holds 2 models; give one of them"):
        fluxan.load_model(committee)
    rescaled = MACECalculator(models=[eager], default_dtype="float64", length_units_to_A=10.0)
    with pytest.raises(ModelError, match=r"lengths in units of 10\.0 Å; expected Å"):
        fluxan.load_model(rescaled)
