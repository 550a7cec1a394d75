"""Model files: what they hold, and one clear line for those that cannot be used."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fluxan.errors import FileError, FluxanError, InputError, ModelError, OutputError
from fluxan.potentials import BehlerParrinello, LinearPotential, load_model
from fluxan.potentials.equivariant import EquivariantNetwork, load
from fluxan.potentials.model_file import training_record
from fluxan.version import __version__
from tests.potentials.descriptor_cases import functions

RECORD = {"epochs": 200, "loss": [0.5, 0.25], "files": {"train": "α-AgI.extxyz"}, "strength": None}


def models():
    return {
        "behler-parrinello": BehlerParrinello(functions(), hidden=(3,)),
        "linear": LinearPotential(functions()),
    }


@pytest.mark.parametrize("kind", models())
def test_metadata(tmp_path, kind):
    path = tmp_path / "model.safetensors"
    models()[kind].save(path, training=RECORD)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata["kind"] == kind
    assert metadata["units"] == "eV, Å"
    assert metadata["fluxan_version"] == __version__
    assert json.loads(metadata["hyperparameters"])["functions"]["cutoff"] == 6.0
    assert training_record(path) == RECORD
    assert type(load_model(path)) is type(models()[kind])
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_no_record(tmp_path):
    path = tmp_path / "model.safetensors"
    models()["linear"].save(path)
    assert training_record(path) == {}
    EquivariantNetwork([6], n_features=4).save(path)
    assert training_record(path) == {}
    assert isinstance(load_model(path), EquivariantNetwork)


@pytest.fixture
def saved(tmp_path):
    """A file, and a function that writes it again with changes."""
    path = tmp_path / "model.safetensors"
    models()["linear"].save(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)

    def rewrite(*, tensors=tensors, **changes):
        kept = {key: value for key, value in (metadata | changes).items() if value is not None}
        save_file(tensors, path, kept)

    return path, tensors, rewrite


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "quadratic"}, "kind='quadratic'; expected equivariant or behler-parrinello or linear"),
        ({"kind": None}, "holds no model of fluxan: its metadata has kind=None"),
        ({"units": "kcal/mol, Å"}, "has the units kcal/mol, Å; expected eV, Å"),
        ({"hyperparameters": None}, "hyperparameters and weights do not fit: 'hyperparameters'"),
        ({"hyperparameters": "{"}, "hyperparameters and weights do not fit: Expecting property name"),
        ({"hyperparameters": "[]"}, "hyperparameters and weights do not fit"),
        ({"hyperparameters": '{"functions": {"cutof": 1}}'}, "unexpected keyword argument 'cutof'"),
        ({"hyperparameters": '{"functions": null}'}, "functions are None; expected SymmetryFunctions"),
        ({"kind": "behler-parrinello"}, "hyperparameters and weights do not fit: .*Missing key"),
        ({"kind": "equivariant"}, "hyperparameters and weights do not fit"),
    ],
)
def test_unusable_content(saved, changes, message):
    path, _, rewrite = saved
    rewrite(**changes)
    with pytest.raises(ModelError, match=message) as caught:
        load_model(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unusable_tensors(saved):
    path, tensors, rewrite = saved
    rewrite(tensors=tensors | {"weights": tensors["weights"][:1].contiguous()})
    with pytest.raises(ModelError, match="size mismatch for weights"):
        load_model(path)
    rewrite(tensors=tensors | {"offsets": torch.tensor([0.0, float("nan")], dtype=torch.float64)})
    with pytest.raises(ModelError, match="offsets holds numbers that are not finite"):
        load_model(path)
    rewrite(tensors={})
    with pytest.raises(ModelError, match="hyperparameters and weights do not fit"):
        load_model(path)


def test_unusable_record(saved):
    path, _, rewrite = saved
    for text, message in (("{", "is not JSON"), ("[1]", r"is \[1\]; expected a JSON object")):
        rewrite(training=text)
        load_model(path)
        with pytest.raises(ModelError, match=message):
            training_record(path)


def test_the_other_kind(saved):
    path, _, _ = saved
    with pytest.raises(ModelError, match=r"kind='linear'; expected equivariant$"):
        load(path)


@pytest.mark.parametrize("length", [0, 7, 100, -10])
def test_corrupt_files(saved, length):
    path, _, _ = saved
    path.write_bytes(path.read_bytes()[:length])
    for read in (load_model, training_record):
        with pytest.raises(FileError, match="cannot be read as a safetensors file") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_pickles_are_not_opened(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(print))
    with pytest.raises(FileError, match="cannot be read as a safetensors file"):
        load_model(path)


def test_missing_files(tmp_path):
    for read in (load_model, training_record):
        with pytest.raises(FileError):
            read(tmp_path / "missing.safetensors")


@pytest.mark.parametrize("name", ["model.pt", "no/folder.safetensors", "folder.safetensors"])
def test_files_that_cannot_be_written(tmp_path, name):
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(OutputError, match=name.rpartition("/")[2]) as caught:
        models()["linear"].save(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder.safetensors"]


@pytest.mark.parametrize("record", [{"loss": float("nan")}, {"model": object()}])
def test_records_that_json_cannot_hold(tmp_path, record):
    with pytest.raises(InputError, match="record of the training cannot be written as JSON"):
        models()["linear"].save(tmp_path / "model.safetensors", training=record)
    assert not list(tmp_path.iterdir())


def test_every_error_is_one_of_fluxan(saved):
    path, _, rewrite = saved
    rewrite(hyperparameters='{"functions": {"elements": ["Ag"], "cutoff": 6, "triplet_cutoff": 5}}')
    with pytest.raises(FluxanError, match="hyperparameters and weights do not fit"):
        load_model(path)
