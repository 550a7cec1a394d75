"""A program for two MPI ranks that meets errors on one of them, and prints what each rank gets.

``mpirun -n 2 python -m tests.md.ranks_errors FOLDER``
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

import fluxan
from fluxan.errors import ModelError, OutputError
from fluxan.md.lammps import FluxRecorder, drive
from fluxan.potentials.load import load_model
from fluxan.series.flux_file import FluxFile
from tests.lammps_helper import lammps_instance
from tests.md.ranks_program import LJ_CUT, fill


class Failing(torch.nn.Module):
    """Argon and krypton; from some time on it fails on one rank."""

    cutoff, n_hops = 8.5, 1

    def __init__(self):
        super().__init__()
        self.good, self.fault = load_model("shipped:ar-kr"), None

    def forward(self, graph):
        if self.fault is not None:
            raise self.fault
        return self.good(graph)


class NotFinite(Failing):
    """Gives NaN to the one atom of xenon."""

    def forward(self, graph):
        xenon = graph.numbers == 54
        energies = super().forward(graph.replace(numbers=torch.where(xenon, 36, graph.numbers)))
        return torch.where(xenon, torch.nan, energies) if self.fault is None else energies


class UnsendableError(Exception):
    """Cannot be unpickled."""

    def __init__(self, first, second):
        super().__init__(f"{first} {second}")


def report(name, function, *arguments, **options):
    try:
        result = function(*arguments, **options)
        print(f"{rank} {name}: {result}\n", end="", flush=True)
    except Exception as error:
        print(f"{rank} {name}: {type(error).__name__}: {error}\n", end="", flush=True)


def fails_with(fault):
    def fails(*_):
        raise fault

    return fails


def models(lmp):
    sys.modules["mpi4py"] = None
    report("no mpi4py", drive, lmp, "shipped:ar-kr", elements="Ar Kr")
    del sys.modules["mpi4py"]
    report("missing", drive, lmp, "nosuch.toml" if rank else "shipped:ar-kr", elements="Ar Kr")
    model = Failing()
    with drive(lmp, model, elements="Ar Kr"):
        recorder = FluxRecorder(lmp, model, elements="Ar Kr", every=5)
        report("nothing yet", recorder.dataset)
        recorder.run(10)
        model.fault = ModelError("no more") if rank else None
        report("forces", recorder.run, 10)
        report("command", lmp.command, "run 3")
        model.fault = None
        lmp.command("run 3")
        report("step", lambda: (lmp.extract_global("ntimestep"), recorder.dataset().sizes["time"]))
    lmp.commands_string("set type 2 type 1\nset atom 40 type 2")
    report("owner", lambda: 40 in lmp.numpy.extract_atom("id")[: lmp.extract_setting("nlocal")])
    with drive(lmp, NotFinite(), elements="Ar Xe"):
        report("not finite", lmp.command, "run 1")
    lmp.commands_string(LJ_CUT)
    report("flux", FluxRecorder(lmp, NotFinite(), elements="Ar Xe", every=5).run, 5)


def outputs(lmp, folder):
    record = {"elements": "Ar Kr", "every": 1}
    recorder = FluxRecorder(lmp, "shipped:ar-kr", output=folder / "flux.nc", **record)
    report("no flux", recorder.dataset)
    recorder.run(3)
    report("file", lambda: recorder.dataset().sizes["time"])
    report("exists", FluxRecorder, lmp, "shipped:ar-kr", output=folder / "flux.nc", **record)
    write = FluxFile.write
    for name, fault in (("disk", OutputError("the disk is full")), ("unsendable", UnsendableError("it", "fails"))):
        FluxFile.write = fails_with(fault) if rank == 0 else write
        report(name, recorder.run, 1)
    FluxFile.write = write
    correlator = fluxan.Correlator(3, max_lag=2)
    recorder = FluxRecorder(lmp, "shipped:ar-kr", correlator=correlator, output=folder / "two.nc", **record)
    recorder.run(5)
    total = fluxan.total_flux(recorder.dataset()).values
    report("correlation", lambda: bool(np.isclose(correlator.correlation().values[0, 0, 0], np.mean(total[:, 0] ** 2))))


if __name__ == "__main__":
    with lammps_instance() as instance:
        rank = instance.extract_setting("world_rank")
        fill(instance, "Ar Kr", (2, 2, 4), 5.6, 300)
        models(instance)
    with lammps_instance() as instance:
        fill(instance, "Ar Kr", (2, 2, 4), 5.6, 300)
        instance.commands_string(LJ_CUT)
        outputs(instance, Path(sys.argv[1]))
