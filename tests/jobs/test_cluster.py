"""Jobs on a cluster: the bits of a serial run, whatever is sent, resumed, broken or killed."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import warnings

import numpy as np
import pytest
import torch
from distributed import Client, LocalCluster

import fluxan
from fluxan.errors import ClusterError, DependencyError, InputError, ModelError, TrajectoryError
from fluxan.jobs.cluster import connection, dispatch, sources
from fluxan.jobs.cluster.blocks import choose_gpu, own_threads
from fluxan.jobs.cluster.worker import own_gpu
from fluxan.potentials.base import Potential
from fluxan.series import flux_writer
from fluxan.series.flux_writer import FluxWriter
from fluxan.series.schema import VARIABLES
from tests.message_passing import ToyModel, TwoHops
from tests.systems import argon_krypton
from tests.test_architecture import ROOT, files_of, imported_modules

MODEL = "shipped:ar-kr"


@pytest.fixture(scope="module")
def client():
    """Two worker processes."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as workers,
        Client(workers) as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setattr(flux_writer, "CHUNK_FRAMES", 4)


@pytest.fixture
def frames():
    return list(argon_krypton(30))


@pytest.fixture
def trajectory(frames, tmp_path):
    fluxan.convert(frames, tmp_path / "traj.nc", double=True)
    return tmp_path / "traj.nc"


def decompose(traj, model=MODEL, **options):
    return fluxan.decompose(traj, model, progress=False, **options)


def assert_same(found, serial):
    for name in VARIABLES:
        assert np.array_equal(found[name].values, serial[name].values, equal_nan=True), name
    assert found.sizes == serial.sizes
    assert comparable(found) == comparable(serial)


def comparable(dataset):
    """Attributes of file and memory, but for the errors of the check, round-off that is never the same twice."""
    attributes = {name: value for name, value in dataset.attrs.items() if name not in {"schema", "Conventions"}}
    return attributes | {"self_check": attributes["self_check"].partition(":")[0]}


def test_a_file(client, trajectory):
    assert_same(decompose(trajectory, client=client), decompose(trajectory))


@pytest.mark.parametrize("reader", [{"start": 3, "stride": 2}, {"stop": 8}, {"stop": 9}, {"stop": 1}])
def test_selected_frames(client, trajectory, reader):
    assert_same(decompose(trajectory, client=client, reader=reader), decompose(trajectory, reader=reader))
    opened = fluxan.open_trajectory(trajectory, **reader)
    assert_same(decompose(opened, client=client), decompose(trajectory, reader=reader))


@pytest.mark.parametrize("kind", [list, iter])
def test_frames_that_are_sent(client, frames, kind):
    assert_same(decompose(kind(frames), client=client), decompose(kind(frames)))


def test_velocities_in_a_separate_file(client, frames, trajectory, tmp_path):
    velocities = np.array([frame.velocities for frame in frames]) * 1.1
    np.save(tmp_path / "velocities.npy", velocities)
    serial = decompose(trajectory, velocities=velocities)
    for given in (velocities, tmp_path / "velocities.npy"):
        assert_same(decompose(trajectory, velocities=given, client=client), serial)


@pytest.mark.parametrize("done", [5, 8, 30])
def test_resume_across_cluster_and_serial_jobs(client, frames, trajectory, tmp_path, done):
    serial = decompose(trajectory)
    for first, second in ((None, client), (client, None), (client, client)):
        output = tmp_path / "flux.nc"
        decompose(trajectory, output=output, overwrite=True, client=first, reader={"stop": done}).close()
        with decompose(trajectory, output=output, resume=True, client=second) as resumed:
            assert_same(resumed, serial)


def test_resume_sent_frames(client, frames, tmp_path):
    decompose(frames[:9], output=tmp_path / "flux.nc").close()
    with decompose(frames, output=tmp_path / "flux.nc", resume=True, client=client) as resumed:
        assert_same(resumed, decompose(frames))


class Wavy(Potential):
    """A user's own model, in a module that workers import."""

    cutoff = 4.5

    def __init__(self, power=1.0):
        super().__init__()
        self.power = torch.nn.Parameter(torch.tensor(power, dtype=torch.float64))

    def forward(self, graph):
        r = graph.r_ij.norm(dim=1)
        f = torch.cos(r) * torch.exp(-self.power * r) * (1 - r / self.cutoff) ** 2
        return torch.zeros(graph.n_atoms, dtype=f.dtype).index_add(0, graph.receivers, f)


def make_models(tmp_path):
    """One model of each way to a worker: description, file, pickle, and a large pickle."""
    from fluxan.potentials.equivariant import EquivariantNetwork

    network = EquivariantNetwork(elements=(18, 36), cutoff=4.5, n_features=8)
    network.save(tmp_path / "network.safetensors")
    return {
        "description": fluxan.load_model(MODEL),
        "file": tmp_path / "network.safetensors",
        "pickle": Wavy(1.3),
        "single precision": fluxan.load_model(MODEL).float(),
        "messages": ToyModel(cutoff=4.5, n_elements=37),
        "large": ToyModel(cutoff=4.5, n_elements=37, n_features=64),
    }


@pytest.mark.parametrize("kind", ["description", "file", "pickle", "single precision", "messages", "large"])
def test_models(client, trajectory, tmp_path, kind):
    model = make_models(tmp_path)[kind]
    assert_same(decompose(trajectory, model, client=client), decompose(trajectory, model))


def test_groups(client, trajectory):
    groups = ["a", "b", "a", "c"] * 8
    assert_same(decompose(trajectory, client=client, groups=groups), decompose(trajectory, groups=groups))


def test_a_model_that_cannot_be_pickled(client, trajectory):
    model = Wavy()
    model.lock = threading.Lock()
    with pytest.raises(ModelError, match=r"Wavy cannot be sent to workers .* give the file it is loaded from"):
        decompose(trajectory, model, client=client)


@pytest.mark.parametrize("sent", [False, True])
def test_a_fault_is_that_of_a_serial_run(client, frames, tmp_path, sent):
    broken = [*frames[:14], frames[14].replace(positions=np.zeros((32, 3))), *frames[15:]]
    fluxan.convert(broken, tmp_path / "traj.nc", double=True)
    traj = broken if sent else tmp_path / "traj.nc"
    messages = []
    for name, where in (("serial.nc", None), ("cluster.nc", client)):
        with pytest.raises(InputError, match="frame 14: atoms 0 and 1") as caught:
            decompose(traj, output=tmp_path / name, client=where)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    with fluxan.open_flux(tmp_path / "serial.nc") as serial, fluxan.open_flux(tmp_path / "cluster.nc") as found:
        assert found.sizes["time"] == 14
        assert_same(found, serial)


@pytest.mark.parametrize("whole", [16, 18])
def test_a_cut_file(client, frames, tmp_path, whole):
    path = tmp_path / "traj.nc"
    fluxan.convert(frames, path, double=True)
    fluxan.convert(frames[:whole], tmp_path / "short.nc", double=True)
    begin = (tmp_path / "short.nc").stat().st_size
    path.write_bytes(path.read_bytes()[: begin + 300])
    errors = []
    for where in (None, client):
        with pytest.raises(TrajectoryError) as caught:
            decompose(path, client=where, output=tmp_path / "flux.nc", overwrite=True)
        with fluxan.open_flux(tmp_path / "flux.nc") as dataset:
            errors.append((str(caught.value), dataset.sizes["time"]))
    assert errors[0] == errors[1]


def said(traj, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        decompose(traj, **options)
    return [str(w.message) for w in caught if w.category is UserWarning]


def test_warnings_come_once(client, frames):
    late = [f.replace(time=f.time + (k >= 12) + (k >= 20), velocities=f.velocities + 100) for k, f in enumerate(frames)]
    serial = said(late)
    assert len(serial) == 2
    assert said(late, client=client) == serial


def test_uneven_spacing_at_a_border_of_blocks(client, frames, tmp_path):
    late = [f.replace(time=f.time + (k >= 16)) for k, f in enumerate(frames)]
    fluxan.convert(late, tmp_path / "traj.nc", double=True)
    serial = said(tmp_path / "traj.nc")
    assert "1.01 ps after the one before" in serial[0]
    assert said(tmp_path / "traj.nc", client=client) == serial


@pytest.mark.parametrize("n_empty", [0, 2, 9])
def test_the_route_is_checked_once_and_warned_of_once(client, frames, n_empty):
    empty = [
        f.replace(cell=np.eye(3) * 500, positions=f.positions * 30, time=0.01 * (k - n_empty))
        for k, f in enumerate(frames[:n_empty])
    ]
    with pytest.warns(UserWarning, match="local route fails") as serial:
        expected = decompose([*empty, *frames], TwoHops())
    with pytest.warns(UserWarning, match="local route fails") as found:
        assert_same(decompose([*empty, *frames], TwoHops(), client=client), expected)
    assert len(found) == len(serial) == 1


class Slow(Wavy):
    """Costs 20 ms a frame."""

    def forward(self, graph):
        time.sleep(0.02)
        return super().forward(graph)


def test_a_killed_worker_does_not_change_results(client, trajectory, tmp_path, monkeypatch):
    killed = []

    def write(writer, columns, written=FluxWriter.write):
        written(writer, columns)
        if not killed:
            killed.append(next(iter(client.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(FluxWriter, "write", write)
    with decompose(trajectory, Slow(), output=tmp_path / "flux.nc", client=client) as found:
        assert_same(found, decompose(trajectory, Slow()))
    client.wait_for_workers(2)
    assert killed[0] not in client.run(os.getpid).values()


class Deadly(Wavy):
    """Kills its process at a frame in which two atoms are close."""

    def forward(self, graph):
        if graph.r_ij.norm(dim=1).min() < 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(graph)


def test_a_chunk_that_kills_every_worker(client, frames, tmp_path, monkeypatch):
    monkeypatch.setattr(client.cluster.scheduler, "allowed_failures", 1)
    close = frames[13].positions.copy()
    close[0] = close[1] + 0.5
    frames[13] = frames[13].replace(positions=close)
    with pytest.raises(ClusterError, match=r"frame 12: 2 workers died over this chunk.* memory"):
        decompose(frames, Deadly(), output=tmp_path / "flux.nc", client=client)
    client.wait_for_workers(2)
    with fluxan.open_flux(tmp_path / "flux.nc") as dataset:
        assert dataset.sizes["time"] == 12


def test_workers_do_not_change_thread_counts_of_other_processes(client):
    assert own_threads()[0] == 1
    assert set(client.run(torch.get_num_threads).values()) == {1}


@pytest.fixture
def silent_port():
    """What takes messages and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(connection, "CONNECT", 0.3)
    monkeypatch.setattr(connection, "GRACE", 0.5)
    monkeypatch.setattr(dispatch, "FIRST_WORKER", 0.3)


def test_an_address_without_a_scheduler(frames, impatient, silent_port, tmp_path):
    file = tmp_path / "scheduler.json"
    file.write_text(f'{{"address": "tcp://127.0.0.1:{silent_port}"}}')
    for address in (f"127.0.0.1:{silent_port}", "tcp://127.0.0.1:9", "not:aport", file):
        with pytest.raises(ClusterError, match="no Dask scheduler answers at"):
            decompose(frames, client=address)


@pytest.mark.parametrize("content", ["", "{}", "not JSON", '{"address": 3}'])
def test_an_invalid_scheduler_file(frames, impatient, tmp_path, content):
    (tmp_path / "scheduler.json").write_text(content)
    with pytest.raises(ClusterError, match=r"scheduler\.json"):
        decompose(frames, client=tmp_path / "scheduler.json")


@pytest.mark.parametrize(
    ("given", "error"), [("nowhere.json", ClusterError), (3, InputError), ("", ClusterError), ("local ", ClusterError)]
)
def test_invalid_cluster_arguments(frames, given, error):
    with pytest.raises(error, match="scheduler file"):
        decompose(frames, client=given)


def test_no_workers(frames, impatient):
    with (
        LocalCluster(n_workers=0, dashboard_address=":0", silence_logs=50) as empty,
        pytest.raises(ClusterError, match=r"has no workers after 0\.3 s"),
    ):
        decompose(frames, client=empty.scheduler_address)


def test_another_version(client, frames, monkeypatch):
    monkeypatch.setattr(dispatch, "__version__", "9.9")
    with pytest.raises(ClusterError, match=rf"worker tcp://.* has fluxan {fluxan.__version__}, .* 9\.9"):
        decompose(frames, client=client)


def test_a_worker_that_joins_later_with_another_version(client, frames, monkeypatch):
    monkeypatch.setattr(dispatch.Cluster, "refuse_unfit_workers", lambda _: None)
    monkeypatch.setattr(dispatch, "__version__", "9.9")
    with pytest.raises(ClusterError, match=rf"a worker on .* has fluxan {fluxan.__version__}, .* 9\.9"):
        decompose(frames, client=client)


def test_workers_without_access_to_the_file(client, trajectory, frames, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_absolute", lambda _: str(tmp_path / "other" / "traj.nc"))
    with pytest.raises(ClusterError, match=r"a worker on .* cannot open the trajectory .*other.traj\.nc"):
        decompose(trajectory, client=client)
    (tmp_path / "other").mkdir()
    fluxan.convert(
        [f.replace(positions=f.positions + 0.1) for f in frames], tmp_path / "other" / "traj.nc", double=True
    )
    with pytest.raises(ClusterError, match="sees another file"):
        decompose(trajectory, client=client)


def test_workers_without_access_to_the_model(client, trajectory, tmp_path, monkeypatch):
    model = make_models(tmp_path)["file"]
    monkeypatch.setattr(sources, "_absolute_model", lambda _: "/nowhere/network.safetensors")
    with pytest.raises(ClusterError, match=r"a worker on .* cannot load the model: no model file /nowhere"):
        decompose(trajectory, model, client=client)


def test_a_device_that_workers_lack(client, frames):
    with pytest.raises(InputError, match="device='abacus' cannot be used"):
        decompose(frames, client=client, device="abacus")


def test_each_worker_takes_a_gpu_of_its_own(client):
    assert [choose_gpu(place, 2) for place in range(4)] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]

    def chosen():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.cuda, "device_count", lambda: 2)
            return own_gpu()

    workers = client.scheduler_info(n_workers=-1)["workers"]
    assert {client.submit(chosen, workers=[w], pure=False).result() for w in workers} == {"cuda:0", "cuda:1"}


def test_only_the_cluster_package_imports_dask():
    for path in files_of("fluxan"):
        if path.relative_to(ROOT / "fluxan").parts[:2] != ("jobs", "cluster"):
            assert not {"dask", "distributed"} & {name.partition(".")[0] for name in imported_modules(path)}, path


def test_dask_is_not_installed(frames, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(DependencyError, match=r'pip install "fluxan\[dask\]"'):
        decompose(frames, client="local")
