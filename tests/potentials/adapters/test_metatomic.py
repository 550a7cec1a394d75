"""metatomic models through the adapter: exact by every route, and equal to metatomic's own heat flux."""

from __future__ import annotations

import sys
import warnings

import ase
import numpy as np
import pytest
import torch
from metatomic_ase import MetatomicCalculator

import fluxan
from benchmarks.metatomic_flux import flux_of
from fluxan.errors import DependencyError, FileError, ModelError
from fluxan.flux.check import choose_route
from fluxan.md.ase import FluxanCalculator
from fluxan.neighbors import build_graph
from fluxan.potentials.adapters import metatomic as adapter
from fluxan.system import Frame
from tests.potentials.adapters.agreement import assert_every_crossing_counts, assert_exact, system
from tests.potentials.adapters.metatomic_models import ELEMENTS, metatomic_model


@pytest.fixture(scope="module")
def eager():
    return metatomic_model()


@pytest.fixture(scope="module")
def path(eager, tmp_path_factory):
    path = tmp_path_factory.mktemp("metatomic") / "model.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's opinion of TorchScript
        eager.save(str(path))
    return path


@pytest.fixture(scope="module")
def frame():
    return system(ELEMENTS)


@pytest.fixture(scope="module")
def large():
    """What `HeatFlux` takes: a cell larger than the interaction range."""
    return system(ELEMENTS, n_atoms=8, cell=6.8, triclinic=True)


def test_routes_agree_with_the_jacobian(eager, path, frame):
    for model in (adapter.wrap(eager), fluxan.load_model(f"metatomic:{path}")):
        assert_exact(model, frame)
        assert_every_crossing_counts(model, frame, 2)


@pytest.mark.parametrize("options", [{"own_vectors": True}, {"reverse": True}], ids=str)
def test_choices_of_the_model(frame, options):
    assert_exact(adapter.wrap(metatomic_model(**options)), frame)


def test_half_list_is_unfolded(frame):
    model = adapter.wrap(metatomic_model(full_list=False))
    with pytest.warns(UserWarning, match="the adjoint route fails: gauge check.*the unfolded route is used"):
        report = choose_route(model, build_graph(frame, model.cutoff))[1]
    assert report.route == "unfolded"
    assert_exact(model, frame, routes=("unfolded",))
    full = adapter.wrap(metatomic_model())
    np.testing.assert_allclose(
        fluxan.atomic_virial(frame, full), fluxan.atomic_virial(frame, model, route="unfolded"), atol=1e-12
    )


def test_heat_flux_is_that_of_metatomic(eager, path, large):
    expected = flux_of(eager, large)
    for model in (eager, f"metatomic:{path}"):
        flux = fluxan.heat_flux(large, model)
        found = flux.potential.sum(axis=(0, 1)) + flux.convective.sum(axis=0)
        np.testing.assert_allclose(found, expected, atol=1e-7 * np.abs(expected).max())
    assert np.abs(flux.potential.sum(axis=(0, 1))).max() > 0.01 * np.abs(expected).max()


def test_units_are_converted(frame):
    whole = adapter.wrap(metatomic_model())
    model = adapter.wrap(metatomic_model(length_unit="nm", unit="meV"))
    assert (model.cutoff, model.n_hops, model.elements) == (pytest.approx(3.0), 2, ELEMENTS)
    expected = fluxan.heat_flux(frame, whole).potential / 1000
    np.testing.assert_allclose(fluxan.heat_flux(frame, model).potential, expected, atol=1e-9 * np.abs(expected).max())


def test_energies_forces_and_stress_are_those_of_metatomic(eager, path, frame):
    atoms = ase.Atoms(frame.numbers, positions=frame.positions, cell=frame.cell, pbc=True)
    theirs = MetatomicCalculator(str(path), device="cpu")
    for ours in (FluxanCalculator(eager), FluxanCalculator(theirs)):
        for name in ("energy", "forces", "stress"):
            expected = theirs.get_property(name, atoms)
            np.testing.assert_allclose(ours.get_property(name, atoms), expected, atol=1e-10 * np.abs(expected).max())


def test_variants():
    model = metatomic_model(names=("energy/pbe", "energy/scan"))
    with pytest.raises(ModelError, match="has no output energy; it has energy/pbe, energy/scan"):
        adapter.wrap(model)
    assert adapter.MetatomicPotential(model, variant="scan").output == "energy/scan"
    assert adapter.wrap(metatomic_model(names=("energy/pbe",))).output == "energy/pbe"
    calculator = MetatomicCalculator(model, device="cpu", variants={"energy": "pbe"})
    assert fluxan.load_model(calculator).output == "energy/pbe"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_kind": "system"}, "gives energy of whole systems only; the flux needs atomic energies"),
        ({"names": ("charge",), "unit": "e"}, "has no output energy; it has no energy"),
        ({"hops": np.inf}, "interaction range inf Å.*finite"),
    ],
    ids=lambda value: str(value)[:25],
)
def test_models_without_a_flux(options, message):
    with pytest.raises(ModelError, match=message):
        adapter.wrap(metatomic_model(**options))


def test_isolated_atoms(eager):
    single = Frame(np.zeros((1, 3)), np.ones((1, 3)), None, [8])
    assert not fluxan.heat_flux(single, eager).potential.any()


def test_bad_files(tmp_path, path):
    text, cut, other = tmp_path / "text.pt", tmp_path / "cut.pt", tmp_path / "other.pt"
    text.write_text("not a model")
    cut.write_bytes(path.read_bytes()[:3000])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(torch.nn.Linear(1, 1), torch.ones(1)), other)
    for file, kind, message in (
        (text, ModelError, r"text\.pt is no metatomic model; expected the TorchScript file"),
        (cut, ModelError, r"cut\.pt is no metatomic model"),
        (other, FileError, r"cannot open .*other\.pt as a metatomic model"),
        (tmp_path / "nowhere.pt", FileError, r"no model file .*nowhere\.pt"),
    ):
        with pytest.raises(kind, match=message) as caught:
            fluxan.load_model(f"metatomic:{file}")
        assert "\n" not in str(caught.value)


def test_unknown_elements(eager, frame):
    with pytest.raises(ModelError, match="MetatomicPotential does not know Li; it knows H, O"):
        fluxan.heat_flux(frame.replace(numbers=[1, 8, 3, 3]), eager)


def test_package_missing(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "metatomic.torch", None)
    with pytest.raises(DependencyError, match=r"metatomic-torch: pip install 'fluxan\[metatomic\]'"):
        fluxan.load_model(f"metatomic:{path}")
