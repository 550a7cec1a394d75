"""Messages name options on the command line, keywords in Python."""

from __future__ import annotations

import numpy as np
import pytest

import fluxan
from fluxan.cli.wording import for_command_line
from fluxan.errors import FluxanError
from fluxan.fluxfiles import read_flux

OPTIONS = {
    "dt": ("--dt", ""),
    "units": ("--units", ""),
    "form": ("--format", ""),
    "mass_flux": ("--mass-flux", ""),
    "density": ("--density", "--extensive"),
    "per_atom": ("--per-atom", "--no-per-atom"),
    "until_crash": ("--until-crash", ""),
    "components": ("--components", ""),
    "volume": ("--volume", ""),
}


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ("needs its time step: dt= in ps", "needs its time step: --dt in ps"),
        ("give dt=, or units=metal, or units='metal'.", "give --dt, or --units metal, or --units metal."),
        ("volume is 0.0, expected a positive number", "--volume is 0.0, expected a positive number"),
        ("form is 'x', expected one of", "--format is 'x', expected one of"),
        ("density=True or density=False", "--density or --extensive"),
        ("per_atom=True or per_atom=False", "--per-atom or --no-per-atom"),
        ("(until_crash=True takes what is before)", "(--until-crash takes what is before)"),
        ("components='multi' needs velocity= with an array", "--components multi needs velocity= with an array"),
        ("mass_flux=c_vcm[1][1],c_vcm[1][2]; or", "--mass-flux c_vcm[1][1],c_vcm[1][2]; or"),
        ("take pairs='all', a == b, x.dt=3", "take pairs='all', a == b, x.dt=3"),
        ("the volume is 3 and dt is short", "the volume is 3 and dt is short"),
        ("no keyword at all", "no keyword at all"),
    ],
)
def test_keywords_become_options(message, wanted):
    assert for_command_line(message, OPTIONS) == wanted


@pytest.fixture
def flux(tmp_path):
    np.savetxt(tmp_path / "flux.dat", np.random.default_rng(1).standard_normal((200, 3)), header="Jx Jy Jz")
    np.savetxt(tmp_path / "six.dat", np.random.default_rng(1).standard_normal((200, 6)))
    return tmp_path


CASES = [
    ("flux.dat", {}, "give units=, e.g. metal", "give --units, e.g. metal"),
    ("flux.dat", {"units": "metal"}, "give dt= in ps", "give --dt in ps"),
    ("flux.dat", {"units": "metal", "dt": 0.1}, "give temperature=", "give --temperature"),
    ("flux.dat", {"units": "metal", "dt": 0.1, "temperature": 9.0}, "give volume=", "give --volume"),
    ("flux.dat", {"units": "metal", "density": True}, "no volume; give volume=", "no volume; give --volume"),
    ("six.dat", {"units": "metal"}, "e.g. columns=2,3,4", "e.g. --columns 2,3,4"),
    ("six.dat", {"units": "metal", "columns": "1,2"}, "columns= names 2 columns", "--columns names 2 columns"),
    ("six.dat", {"units": "metal", "columns": "1,2,3", "mass_flux": "9"}, "no column '9'", "no column '9'"),
    ("flux.dat", {"units": "metal", "timestep": -1.0}, "timestep is -1.0, exp", "--timestep is -1.0, exp"),
]


@pytest.mark.parametrize(("name", "options", "keyword", "option"), CASES)
@pytest.mark.parametrize("command", ["kappa", "report"])
def test_the_same_error_in_python_and_on_the_command_line(run, flux, command, name, options, keyword, option):
    with pytest.raises(FluxanError) as raised:
        fluxan.green_kubo(read_flux(flux / name, **options))
    assert keyword in str(raised.value)
    given = [w for k, v in options.items() for w in ([f"--{k.replace('_', '-')}"] + ([] if v is True else [v]))]
    status, out, err = run(command, flux / name, *given)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert option in err


def test_warnings_and_notes_too(run, flux):
    given = ["--units", "metal", "--dt", "0.1", "--temperature", "0.001", "--volume", "10"]
    _, _, err = run("kappa", flux / "flux.dat", *given)
    assert "is --units right?" in err
