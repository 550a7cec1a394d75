"""Running the command line inside the tests."""

from __future__ import annotations

import sys

import pytest

from fluxan.cli import main


@pytest.fixture
def run(capsys, monkeypatch):
    """Run the command in this process; gives exit status, standard output and standard error."""

    def runner(*arguments):
        monkeypatch.setattr(sys, "argv", ["fluxan", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return (end.value.code or 0, *capsys.readouterr())

    return runner
