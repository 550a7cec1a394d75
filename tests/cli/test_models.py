"""`fluxan decompose` from end to end with every kind of model file."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import fluxan
from fluxan.potentials.equivariant import EquivariantNetwork
from tests.message_passing import flux_oracle, jacobian_oracle, scaled_up
from tests.potentials.adapters.agreement import system

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch's opinion of how e3nn and MACE use it
    from tests.potentials.adapters.mace_models import ELEMENTS, mace_model, scripted
    from tests.potentials.adapters.metatomic_models import metatomic_model


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    eager = mace_model()
    torch.save(eager, folder / "eager.model")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(scripted(eager), folder / "scripted.model")
        metatomic_model().save(str(folder / "model.pt"))
    scaled_up(EquivariantNetwork(ELEMENTS, cutoff=3.0, n_features=4)).save(folder / "network.safetensors")
    return folder


@pytest.fixture(scope="module")
def frames():
    first = system(ELEMENTS, cell=3.6)
    second = first.replace(positions=first.positions + 0.01 * first.velocities, time=0.01)
    return [first, second]


@pytest.fixture(scope="module")
def trajectory(frames, tmp_path_factory):
    path = tmp_path_factory.mktemp("trajectory") / "run.nc"
    fluxan.convert(frames, path, double=True)
    return path


@pytest.mark.parametrize(
    "model", ["mace:{}/scripted.model", "mace:{}/eager.model", "metatomic:{}/model.pt", "{}/network.safetensors"]
)
def test_decompose(model, files, trajectory, frames, tmp_path, run):
    name, output = model.format(files), tmp_path / "flux.nc"
    trust = ["--trust-pickle"] if "eager" in name else []
    status, printed, said = run("decompose", trajectory, "--model", name, "--output", output, "--quiet", *trust)
    assert status == 0, said
    assert "H" in printed
    dataset = fluxan.open_flux(output)
    assert dataset.attrs["route"] == "adjoint"
    assert "gauge" in dataset.attrs["self_check"]
    loaded = fluxan.load_model(name, trust_pickle=True) if trust else fluxan.load_model(name)
    groups = np.unique(frames[0].numbers, return_inverse=True)[1]
    expected = flux_oracle(jacobian_oracle(loaded, frames[1])[0], frames[1], groups, 2)
    np.testing.assert_allclose(dataset["potential"].values[1], expected, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("mace:{}/eager.model", (), "eager.model is a pickled model, and unpickling runs whatever code the file holds"),
        ("mace:{}/nowhere.model", (), "no model file"),
        ("mace:{}/network.safetensors", (), "network.safetensors is no MACE model"),
        ("mice:{}/scripted.model", (), "no adapter 'mice' for"),
        ("{}/eager.model", (), "give ADAPTER:"),
        (
            "{}/network.safetensors",
            ("--trust-pickle",),
            "options trust_pickle are for models loaded through an adapter",
        ),
        ("metatomic:{}/model.pt", ("--trust-pickle",), "the adapter metatomic takes no option trust_pickle"),
        ("metatomic:{}/scripted.model", (), "scripted.model as a metatomic model"),
        ("nequip:{}/eager.model", ("--trust-pickle",), "this model needs the package nequip: pip install"),
        ("sevennet:{}/eager.model", ("--trust-pickle",), "this model needs the package sevenn: pip install"),
    ],
)
def test_bad_models_are_one_line(model, options, message, files, trajectory, tmp_path, run):
    arguments = ("--model", model.format(files), "--output", tmp_path / "flux.nc", "--quiet", *options)
    status, printed, said = run("decompose", trajectory, *arguments)
    assert (status, printed) == (2, "")
    assert said.startswith("fluxan: error: ")
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "flux.nc").exists()
