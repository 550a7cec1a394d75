"""`load_model`: what it takes, and one clear line for what it cannot."""

from __future__ import annotations

import re

import pytest
import torch

from fluxan.errors import FileError, FluxanError, ModelError
from fluxan.potentials import load_model
from fluxan.potentials.load import DATA, shipped_models

LJ = """
kind = "lennard-jones"
cutoff = 8.5
[pairs]
Ar-Ar = { epsilon = 0.0103, sigma = 3.405 }
Ar-Kr = { epsilon = 0.0120, sigma = 3.53 }
Kr-Kr = { epsilon = 0.0140, sigma = 3.65 }
"""
AGI = (DATA / "agi.toml").read_text(encoding="utf-8")
SI = (DATA / "si.toml").read_text(encoding="utf-8")

FAULTS = {
    "not TOML": (LJ, "cutoff = 8.5", "cutoff = ", r"is not TOML: .*line 3"),
    "key twice": (LJ, "Kr-Kr", "Ar-Kr", r"is not TOML: .*line 7"),
    "no kind": (LJ, 'kind = "lennard-jones"', "", r"kind is missing; expected one of lennard-jones"),
    "unknown kind": (LJ, "lennard-jones", "lenard-jones", r"kind is 'lenard-jones'.*did you mean lennard-jones"),
    "kind is no word": (LJ, '"lennard-jones"', "3", r"kind is 3, which is unknown"),
    "unknown key": (LJ, "cutoff", "cutof", r"cutof is not a known key; did you mean cutoff"),
    "missing key": (LJ, "cutoff = 8.5", "", r"cutoff is missing"),
    "wrong type": (LJ, "8.5", '"8.5"', r"cutoff is '8.5'; expected a number \(Å\)"),
    "truth for number": (LJ, "8.5", "true", r"cutoff is True; expected a number"),
    "cutoff not positive": (LJ, "8.5", "-8.5", r"cutoff is -8.5; it must be positive \(Å\)"),
    "infinite cutoff": (LJ, "8.5", "inf", r"cutoff is inf; expected a finite number"),
    "pairs is no table": (LJ.split("[pairs]", maxsplit=1)[0] + "pairs = 3", "", "", r"pairs must be a table"),
    "row is no table": (LJ, "{ epsilon = 0.0103, sigma = 3.405 }", "3.4", r"pairs\.Ar-Ar is 3.4; expected a table"),
    "sigma not positive": (LJ, "3.53", "0", r"pairs\.Ar-Kr\.sigma is 0; it must be positive \(Å\)"),
    "negative epsilon": (LJ, "0.0120", "-1", r"pairs\.Ar-Kr\.epsilon is -1; it must not be negative"),
    "NaN": (LJ, "3.53", "nan", r"pairs\.Ar-Kr\.sigma is nan; expected a finite number"),
    "too large": (LJ, "3.53", "1e60", r"a number is too large to compute with"),
    "far too large": (LJ, "3.53", "1" + 400 * "0", r"a number is too large to compute with"),
    "no attraction left": (LJ, "8.5", "1e-40", r"pairs\.Ar-Ar gives no finite energy at its cutoff of 1e-40 Å"),
    "missing parameter": (LJ, ", sigma = 3.53", "", r"pairs\.Ar-Kr\.sigma \(Å\) is missing"),
    "unknown parameter": (LJ, "sigma = 3.53", "sgima = 3.53", r"pairs\.Ar-Kr\.sgima is not a known key.*sigma"),
    "unknown element": (LJ, "Kr-Kr", "Kt-Kt", r"pairs\.Kt-Kt: 'Kt' is no element; did you mean K"),
    "no element": (LJ, "Kr-Kr", "X-X", r"pairs\.X-X: 'X' is no element"),
    "one element": (LJ, "Kr-Kr", "Kr", r"pairs\.Kr names 1 elements; expected 2"),
    "pair not given": (LJ, "Ar-Kr = { epsilon = 0.0120, sigma = 3.53 }", "", r"pairs\.Ar-Kr is missing.*mixing"),
    "both orders": (LJ, "Kr-Kr", "Kr-Ar", r"pairs\.Kr-Ar repeats pairs\.Ar-Kr"),
    "unknown truncation": (
        LJ,
        "cutoff",
        'truncation = "smooth"\ncutoff',
        r"truncation is 'smooth'; expected one of none",
    ),
    "unknown mixing": (LJ, "cutoff", 'mixing = "sixth"\ncutoff', r"mixing is 'sixth'; expected one of lorentz"),
    "charge missing": (AGI, "I = -0.5815", "", r"charges\.I \(e\) is missing"),
    "charge of a stranger": (
        AGI,
        "I = -0.5815",
        "I = -0.5815\nBr = 0.1",
        r"charges\.Br is given but no pair contains Br",
    ),
    "charges is no table": (
        AGI.replace("[charges] # e\nAg = 0.5815\nI = -0.5815\n", "charges = 1"),
        "",
        "",
        r"charges is 1",
    ),
    "unknown screening": (AGI, '"damped-shifted"', '"ewald"', r"screening is 'ewald'; expected one of exponential"),
    "alpha missing": (AGI, "alpha = 0.2 #", "#", r'alpha \(1/Å\) is missing; screening = "damped-shifted" needs it'),
    "lambda_1 missing": (AGI, '"damped-shifted"\nalpha = 0.2', '"exponential"', r"lambda_1 \(Å\) is missing"),
    "lambda_1 unused": (AGI, "alpha = 0.2 #", "alpha = 0.2\nlambda_1 = 5 #", r"lambda_1 is given but.*does not use it"),
    "lambda_4 not positive": (
        AGI,
        "alpha = 0.2 #",
        "alpha = 0.2\nlambda_4 = 0 #",
        r"lambda_4 is 0; it must be positive",
    ),
    "own cutoff under damping": (AGI, "eta = 7", "eta = 7, cutoff = 6", r"pairs\.I-I\.cutoff is given but"),
    "triplets missing": (SI.split("[triplets]", maxsplit=1)[0], "", "", r"triplets is missing"),
    "triplet parameter missing": (SI, ", lambda = 21.0", "", r"triplets\.Si-Si-Si\.lambda is missing"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_one_line_with_file_and_key(tmp_path, fault):
    text, old, new, message = FAULTS[fault]
    assert old in text
    path = tmp_path / "model.toml"
    path.write_text(text.replace(old, new, 1) if old else text, encoding="utf-8")
    with pytest.raises(ModelError) as caught:
        load_model(path)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(str(path))
    assert re.search(message, line)


@pytest.mark.parametrize("name", shipped_models())
def test_shipped_models_load_by_name(name):
    assert (
        load_model(name).describe()
        == load_model(f"shipped:{name}").describe()
        == load_model(DATA / f"{name}.toml").describe()
    )


def test_shipped_models_are_these():
    assert shipped_models() == ("agi", "ar", "ar-kr", "si")
    assert [load_model(name).elements for name in shipped_models()] == [(47, 53), (18,), (18, 36), (14,)]


def test_a_file_takes_precedence_over_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ar").write_text("not a model")
    with pytest.raises(ModelError, match=r"ar is no model file; expected \.toml"):
        load_model("ar")


def test_modules_pass_through():
    model = load_model("ar")
    assert load_model(model) is model
    own = torch.nn.Identity()
    own.cutoff, own.n_hops = 5.0, 1
    assert load_model(own) is own
    del own.n_hops
    with pytest.raises(ModelError, match="Identity has no attribute n_hops"):
        load_model(own)


@pytest.mark.parametrize(
    ("model", "kind", "message"),
    [
        ("nowhere.toml", FileError, r"no model file nowhere\.toml"),
        ("nowhere.safetensors", FileError, r"no model file nowhere\.safetensors"),
        ("xenon", FileError, r"no model file xenon, and no shipped potential of that name \(agi, ar"),
        ("shipped:xenon", ModelError, r"no shipped potential 'xenon'; there are agi"),
        ("model.pt", ModelError, r"pickled checkpoint, which is not opened without an adapter: give ADAPTER:model\.pt"),
        ("medium.model", ModelError, r"pickled checkpoint"),
        ("gap:model.xml", ModelError, r"no adapter 'gap' for model\.xml; known adapters"),
        (torch.nn.Identity(), ModelError, r"Identity has no attribute cutoff"),
        (3, ModelError, r"int is no model; expected a path"),
        (None, ModelError, r"NoneType is no model"),
    ],
)
def test_invalid_models(tmp_path, monkeypatch, model, kind, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=message):
        load_model(model)


def test_a_folder_or_binary_file_is_refused(tmp_path):
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    with pytest.raises(FileError, match="is not a file"):
        load_model(folder)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="byte 0 is not UTF-8"):
        load_model(binary)


def test_options_are_for_adapters():
    with pytest.raises(FluxanError, match="options head are for models loaded through an adapter"):
        load_model("ar", head="default")
