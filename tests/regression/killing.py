"""Run a piece of work in a child process and kill it at a random moment; a script, so that it forks without threads.

    python -m tests.regression.killing decompose TRAJECTORY OUTPUT KILLS
    python -m tests.regression.killing writer OUTPUT KILLS
    python -m tests.regression.killing md ENSEMBLE OUTPUT KILLS
    python -m tests.regression.killing train FOLDER KILLS

Prints how many children were killed in the middle of their work.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
import traceback
from contextlib import closing
from pathlib import Path

import numpy as np
import torch

import fluxan
from fluxan.md.example_systems import find_example
from fluxan.md.hnemd.hnemd_run import HnemdRun
from fluxan.md.hnemd.hnemd_settings import HnemdSettings
from fluxan.md.md_run import MdRun
from fluxan.md.md_settings import MdSettings
from fluxan.potentials.behler_parrinello import BehlerParrinello
from fluxan.potentials.symmetry_functions import default_functions
from fluxan.series import flux_writer
from fluxan.series.flux_dataset import open_flux
from fluxan.series.flux_file import FluxFile
from fluxan.series.schema import VARIABLES
from fluxan.system import Frame
from fluxan.training.dataset import TrainingSet
from fluxan.training.fit import HISTORY, TrainingRun
from fluxan.training.fit_settings import FitSettings
from fluxan.training.history import read_history
from fluxan.training.loss import FluxTerm, LossWeights
from tests.training_frames import training_frames

LABELS = ("Ar", "Kr")
#: Epochs of a fit.
EPOCHS = 60
RANDOM = np.random.default_rng(int(os.environ.get("KILL_SEED", "0")))


def killed(work, longest):
    """Whether SIGKILL hit `work` before it was done; work that fails by itself ends the whole."""
    child = os.fork()
    if not child:
        status = 1
        try:
            work()
            status = 0
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(status)
    time.sleep(RANDOM.uniform(0, longest))
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    if status:
        raise SystemExit(f"the child did not come to its end, nor was it killed: status {status}")
    return False


def kill_decompose(trajectory, output, n_kills):
    """Kill and resume, then let it end."""
    flux_writer.CHUNK_FRAMES = 2
    # Everything is imported and compiled before the first fork, so that kills fall into the work itself.
    fluxan.decompose(list(fluxan.open_trajectory(trajectory, stop=2)), "shipped:ar-kr", progress=False)

    def work():
        fluxan.decompose(trajectory, output=output, resume=True, progress=False)

    kills = 0
    while kills < n_kills:
        kills += killed(work, 0.25)
        if Path(output).exists() and finished(output):
            Path(output).unlink()
    work()
    return kills


def finished(output):
    """Whether all frames are there already, so that later kills would hit nothing."""
    with open_flux(output) as dataset:
        return dataset.sizes["time"] == 200


def kill_md(ensemble, output, n_kills):
    """Kill runs of molecular dynamics in any phase, and begin anew after those that came to their end."""
    torch.set_num_threads(1)
    run_md(ensemble, Path(output).with_name("warm.nc"), time=0.1)
    kills = 0
    while kills < n_kills:
        kills += killed(lambda: run_md(ensemble, output), 0.5)
        if Path(output).exists() and finished(output):
            for path in Path(output).parent.glob("killed.*"):
                path.unlink()
    run_md(ensemble, output)
    return kills


def kill_train(folder, n_kills):
    """Kill a fit at any moment, and begin anew after those that came to their end."""
    torch.set_num_threads(1)
    train(Path(folder).with_name("warm"), epochs=1)
    kills = 0
    while kills < n_kills:
        kills += killed(lambda: train(folder), 0.6)
        if (Path(folder) / HISTORY).exists() and len(read_history(Path(folder) / HISTORY)) >= EPOCHS:
            shutil.rmtree(folder)
    train(folder)
    return kills


def train(folder, epochs=EPOCHS):
    """A small network with the flux term; continued where it can be."""
    frames = training_frames(6)
    functions = default_functions([18, 36], cutoff=5.0, triplet_cutoff=4.2, n_radial=4, zetas=(1.0,), widths=(1.0,))
    weights = LossWeights(energy=100.0, forces=100.0, virial=10.0, flux=1e-6, term=FluxTerm(temperature=60.0))
    settings = FitSettings(epochs=epochs, batch_size=2, learning_rate=1e-2, average=0.9)
    model = BehlerParrinello(functions, hidden=(6,))
    sets = TrainingSet(frames[:4]), TrainingSet(frames[4:])
    TrainingRun(model, *sets, weights=weights, settings=settings, folder=Path(folder)).run(resume=True)


def run_md(ensemble, output, time=1.6):
    """200 fluxes of 32 atoms, after some blocks under a thermostat; continued where it can be."""
    example = find_example("ar-liquid")
    frame = Frame(*crystal(2), np.full(32, 18))
    common = {"temperature": 90.0, "time": time, "timestep": 4.0, "flux_every": 2, "thermalise": 0.2}
    common |= {"checkpoint_every": 6}
    if ensemble == "hnemd":
        settings = HnemdSettings(**common, driving_force=(0.03, 0.0, 0.01), max_lag=0.08)
        run = HnemdRun(frame, example.model(), settings, output=output, resume=True)
    else:
        run = MdRun(frame, example.model(), MdSettings(**common, ensemble=ensemble), output=output, resume=True)
    with closing(run):
        for _ in run.blocks():
            pass
        run.save_correlation()
        if isinstance(run, HnemdRun):
            run.save_spectrum()


def crystal(n_cells, a=5.5):
    """Positions, no velocities, and cell of argon."""
    corners = np.stack(np.meshgrid(*[np.arange(n_cells)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    return a * (corners + basis).reshape(-1, 3), None, a * n_cells * np.eye(3)


def kill_writer(output, n_kills):
    """Kill a writer of tiny chunks; whatever frames the file shows must be right."""
    kills = 0
    while kills < n_kills:
        Path(output).unlink(missing_ok=True)
        kills += killed(lambda: write_forever(output), 0.02)
        if Path(output).exists():
            check_frames(output)
    return kills


def write_forever(output):
    """Chunks of two frames whose every number is known."""
    file = FluxFile(output, LABELS, {}, 2)
    file.create({})
    while True:
        file.write(expected(np.arange(file.n_frames, file.n_frames + 2)))


def expected(frames):
    """Each variable holds the number of its frame."""
    sizes = {"owner": 2, "carrier": 2, "xyz": 3}
    return {
        name: np.broadcast_to(
            frames.reshape(-1, *[1] * (len(dims) - 1)), (len(frames), *(sizes[d] for d in dims[1:]))
        ).astype(np.int64 if name == "frame_sha256" else np.float64)
        for name, (dims, _, _) in VARIABLES.items()
    }


def check_frames(output):
    """Compare every frame that the file shows."""
    with open_flux(output) as dataset:
        n_frames = dataset.sizes["time"]
        right = expected(np.arange(n_frames))
        for name in VARIABLES:
            if not np.array_equal(dataset[name].values, right[name]):
                raise SystemExit(f"{name} is wrong in a file of {n_frames} frames")


if __name__ == "__main__":
    task, *paths, kills = sys.argv[1:]
    print(
        {"decompose": kill_decompose, "writer": kill_writer, "md": kill_md, "train": kill_train}[task](
            *paths, int(kills)
        )
    )
