"""`fluxan kappa` on saved correlators."""

from __future__ import annotations

import json

import numpy as np
import pytest

import fluxan
from tests.exact_series import SERIES

STATE = ["--temperature", "300", "--volume", "1000"]


@pytest.fixture
def saved(tmp_path):
    """What a multi-tau correlator keeps of a series, by equal components."""
    correlator = fluxan.Correlator(3, max_lag=1000, scheme="multitau", pairs="same-xyz", time_step=0.002)
    correlator.update(SERIES["B"].sample(20_000, rng=np.random.default_rng(5)))
    correlator.save(tmp_path / "correlation.nc")
    return tmp_path / "correlation.nc"


def test_json_equals_the_function(run, saved):
    status, out, _ = run("kappa", saved, *STATE, "--json")
    found, result = json.loads(out), fluxan.green_kubo(saved, temperature=300.0, volume=1000.0)
    assert status == 0
    assert (found["kappa"], found["error"]) == (result.kappa, result.error)
    assert found["tensor"][0] == [result.tensor[0, 0], None, None]
    assert found["format"] == "fluxan correlator"


def test_text_output(run, saved, tmp_path):
    status, out, _ = run("kappa", saved, *STATE, "--plot", tmp_path / "kappa.png")
    assert status == 0
    assert out.startswith("κ = ")
    assert "'cepstral' needs a periodogram" in out
    assert (tmp_path / "kappa.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("damage", "options", "message"),
    [
        (lambda whole: whole[: len(whole) // 2], STATE, "cut short"),
        (lambda whole: whole.replace(b"correlator 1", b"correlator 9"), STATE, "not a correlator of this version"),
        (lambda whole: whole, [*STATE, "--columns", "1,2,3"], "--columns"),
        (lambda whole: whole, STATE[:2], "no volume"),
        (lambda whole: whole, ["--temperature", "0", "--volume", "1"], "temperature is 0.0"),
    ],
)
def test_user_errors_are_one_line(run, saved, damage, options, message):
    saved.write_bytes(damage(saved.read_bytes()))
    status, out, err = run("kappa", saved, *options)
    assert status != 0
    assert not out
    assert len(err.splitlines()) == 1
    assert message in err


@pytest.mark.parametrize("command", ["spectrum", "report"])
def test_other_commands_name_the_right_command(run, saved, command):
    status, out, err = run(command, saved)
    assert (status != 0, out) == (True, "")
    assert err == f"fluxan: error: {saved} is a correlation function, not a flux; fluxan kappa {saved} takes it\n"
