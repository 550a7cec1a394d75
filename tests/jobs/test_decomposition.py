"""The main call: what it takes, what it writes, how it resumes, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fluxan
from fluxan.errors import InputError, ModelError, OutputError, TrajectoryError
from fluxan.jobs.job import Job
from fluxan.potentials.base import Potential
from fluxan.potentials.fingerprint import model_sha256
from fluxan.series import flux_writer
from fluxan.series.schema import VARIABLES
from tests.message_passing import TwoHops
from tests.systems import argon_krypton

MODEL = "shipped:ar-kr"


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setattr(flux_writer, "CHUNK_FRAMES", 4)


@pytest.fixture
def frames():
    return list(argon_krypton(10))


def decompose(traj, model=MODEL, **options):
    return fluxan.decompose(traj, model, progress=False, **options)


def assert_same(a, b):
    for name in VARIABLES:
        assert np.array_equal(a[name].values, b[name].values, equal_nan=True), name


def test_every_frame_equals_the_flux_of_that_frame(frames):
    dataset = decompose(frames)
    assert dict(dataset.sizes) == {"time": 10, "owner": 2, "carrier": 2, "xyz": 3}
    for k, frame in enumerate(frames):
        flux = fluxan.heat_flux(frame, fluxan.load_model(MODEL))
        for name in ("potential", "kinetic", "convective", "velocity"):
            assert np.allclose(dataset[name].values[k], getattr(flux, name), rtol=1e-12, atol=1e-14), name
        assert dataset["temperature"].values[k] == frame.temperature
        assert dataset["potential_energy"].values[k] == pytest.approx(flux.potential_energy, rel=1e-13)


def test_attributes_record_the_job(frames):
    attributes = decompose(frames).attrs
    assert attributes["route"] == "local"
    assert attributes["time_step"] == pytest.approx(0.01)
    assert attributes["fluxan_version"] == fluxan.__version__
    assert len(attributes["model_sha256"]) == 64
    assert "lennard-jones" in attributes["model"]
    assert attributes["self_check"]
    assert attributes["n_atoms"] == 32


def test_file_and_memory_hold_the_same(frames, tmp_path):
    with decompose(frames, output=tmp_path / "flux.nc") as written:
        assert_same(written, decompose(frames))
        assert written["carrier"].values.tolist() == ["Ar", "Kr"]


@pytest.mark.parametrize("done", [1, 4, 7, 10])
def test_resumed_equals_undisturbed(frames, tmp_path, done):
    decompose(frames[:done], output=tmp_path / "flux.nc").close()
    with decompose(frames, output=tmp_path / "flux.nc", resume=True) as resumed:
        assert_same(resumed, decompose(frames))


def test_a_file_that_does_not_record_its_number_of_atoms_is_resumed(frames, tmp_path, monkeypatch):
    """Files of earlier versions: the attribute does not identify the job."""
    describe = Job.describe
    with monkeypatch.context() as older:
        older.setattr(Job, "describe", lambda job: {k: v for k, v in describe(job).items() if k != "n_atoms"})
        decompose(frames[:8], output=tmp_path / "flux.nc").close()
    with decompose(frames, output=tmp_path / "flux.nc", resume=True) as resumed:
        assert_same(resumed, decompose(frames))
        assert "n_atoms" not in resumed.attrs


def test_resume_with_no_file_starts(frames, tmp_path):
    with decompose(frames, output=tmp_path / "flux.nc", resume=True) as dataset:
        assert dataset.sizes["time"] == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "shipped:ar-kr-other"}, "begun with model_sha256"),
        ({"groups": ["all"] * 32}, "begun with groups_sha256"),
        ({"traj": "moved"}, "frame 7 .* is not the one the output was made from"),
        ({"traj": "shorter"}, "frame 7 .* is not the one the output was made from"),
    ],
)
def test_resume_with_another_job_is_refused(frames, tmp_path, change, message):
    output = tmp_path / "flux.nc"
    decompose(frames[:8], output=output).close()
    options = {"traj": frames, "model": MODEL} | change
    if options["model"] != MODEL:
        other = tmp_path / "other.toml"
        other.write_text(fluxan.load_model(MODEL).describe().replace("8.5", "8.0"), encoding="utf-8")
        options["model"] = other
    if options["traj"] == "moved":
        options["traj"] = [f.replace(positions=f.positions + 0.1) for f in frames]
    if options["traj"] == "shorter":
        options["traj"] = frames[:5]
    with pytest.raises(OutputError, match=message):
        decompose(**options, output=output, resume=True)


def test_existing_output_is_left_alone(frames, tmp_path):
    output = tmp_path / "flux.nc"
    output.write_text("precious")
    with pytest.raises(OutputError, match=r"flux\.nc exists; resume it, overwrite it"):
        decompose(frames, output=output)
    assert output.read_text() == "precious"
    decompose(frames, output=output, overwrite=True).close()


@pytest.mark.parametrize("output", ["none/flux.nc", "."])
def test_output_that_cannot_be_written_is_refused_before_work(frames, tmp_path, output):
    with pytest.raises(OutputError, match="cannot be written"):
        decompose(frames, output=tmp_path / output)


def test_frames_before_a_fault_are_kept(frames, tmp_path):
    broken = [*frames[:6], frames[6].replace(positions=np.zeros((32, 3)))]
    with pytest.raises(InputError, match=r"frame 6: atoms 0 and 1 .* at one point"):
        decompose(broken, output=tmp_path / "flux.nc")
    with fluxan.open_flux(tmp_path / "flux.nc") as dataset:
        assert dataset.sizes["time"] == 6


def test_no_velocities(frames):
    with pytest.raises(InputError, match="no velocities"):
        decompose([frame.replace(velocities=None) for frame in frames])


def test_no_frame():
    with pytest.raises(TrajectoryError, match="no frame"):
        decompose([])


def test_element_that_the_model_lacks(frames):
    with pytest.raises(ModelError, match="does not know Kr; it knows Ar"):
        decompose(frames, "shipped:ar")


def test_no_model_is_given(frames):
    with pytest.raises(ModelError, match="carries no model"):
        decompose(frames, None)


def test_model_beside_the_trajectory(frames, tmp_path):
    fluxan.convert(frames, tmp_path / "traj.nc", double=True)
    (tmp_path / "fluxan.toml").write_text(fluxan.load_model(MODEL).describe(), encoding="utf-8")
    assert_same(decompose(tmp_path / "traj.nc", None), decompose(frames))


def test_model_inside_the_trajectory(frames, tmp_path):
    fluxan.convert(frames, tmp_path / "traj.nc", double=True, model_text=fluxan.load_model(MODEL).describe())
    assert_same(decompose(tmp_path / "traj.nc", None), decompose(frames))


@pytest.mark.parametrize("route", ["fastest", ""])
def test_unknown_route(frames, route):
    with pytest.raises(InputError, match="auto, local, adjoint, unfolded"):
        decompose(frames, route=route)


class Faulty(Potential):
    """A local model with a fault of one's choice."""

    cutoff = 4.5

    def __init__(self, fault):
        super().__init__()
        self.fault = fault

    def forward(self, graph):
        r = graph.r_ij.norm(dim=1)
        energies = torch.zeros(graph.n_atoms, dtype=r.dtype).index_add(0, graph.receivers, torch.exp(-r))
        return {
            "total": energies.sum,
            "column": lambda: energies[:, None],
            "integers": energies.long,
            "nan": lambda: energies * torch.tensor(np.nan),
            "numpy": lambda: energies.detach().numpy(),
            "detached": energies.detach,
            "late nan": lambda: energies / (graph.positions[0, 0] < 5.35),
        }[self.fault]()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("total", "total instead of atomic energies"),
        ("column", r"shape \(32, 1\)"),
        ("integers", "int64"),
        ("nan", "nan"),
        ("numpy", "ndarray"),
        ("detached", "detached"),
    ],
)
def test_model_with_invalid_output(frames, fault, message):
    with pytest.raises(ModelError, match=message):
        decompose(frames, Faulty(fault))


def test_single_precision_model(frames):
    double, single = decompose(frames), decompose(frames, fluxan.load_model(MODEL).float())
    scale = np.abs(double["potential"].values).max()
    assert single["potential"].dtype == np.float64
    assert np.abs(single["potential"].values - double["potential"].values).max() < 1e-5 * scale


def test_one_shot_iterator_of_frames(frames):
    assert_same(decompose(iter(frames)), decompose(frames))


def test_cluster_has_no_volume():
    cluster = [f.replace(cell=None, pbc=(False,) * 3) for f in argon_krypton(2)]
    assert np.isnan(decompose(cluster)["volume"].values).all()


def test_a_first_frame_without_edges_leaves_the_check_to_a_later_one(frames):
    empty = frames[0].replace(cell=np.eye(3) * 500, positions=frames[0].positions * 30, time=-0.01)
    with pytest.warns(UserWarning, match="local route fails"):
        dataset = decompose([empty, *frames], TwoHops())
    assert dataset.attrs["route"] == "adjoint"


class Scaled(Potential):
    """Keeps a setting where torch does not look."""

    cutoff = 4.5
    power = 1

    def __init__(self, **settings):
        super().__init__()
        self.__dict__.update(settings)

    def forward(self, graph):
        f = torch.exp(-graph.r_ij.norm(dim=1)) ** self.power
        return torch.zeros(graph.n_atoms, dtype=f.dtype).index_add(0, graph.receivers, f)


class Cubed(Scaled):
    power = 3


def test_all_state_of_a_model_enters_its_identity():
    models = [
        Scaled(),
        Cubed(),
        Scaled(table={"Ar": 1.0}),
        Scaled(table={"Ar": 2.0}),
        Scaled(_eps=1.0),
        Scaled(_eps=2.0),
        Scaled(array=np.ones(3)),
        Scaled(array=np.zeros(3)),
        Scaled(plain=torch.ones(3)),
        Scaled(plain=torch.zeros(3)),
    ]
    assert len({model_sha256(model) for model in models}) == len(models)
    assert model_sha256(Scaled(_eps=1.0)) == model_sha256(Scaled(_eps=1.0))


def test_the_trajectory_is_not_overwritten(frames, tmp_path):
    path = tmp_path / "traj.nc"
    fluxan.convert(frames, path)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="is the trajectory itself"):
        decompose(path, output=path, overwrite=True)
    with pytest.raises(OutputError, match="is the trajectory itself"):
        fluxan.convert(path, path, overwrite=True, stop=3)
    assert path.read_bytes() == before


def test_resume_and_overwrite_exclude_each_other(frames, tmp_path):
    with pytest.raises(InputError, match="exclude each other"):
        decompose(frames, output=tmp_path / "flux.nc", resume=True, overwrite=True)


def test_frames_without_times_are_counted(frames, tmp_path):
    timeless = [frame.replace(time=0.0) for frame in frames]
    assert decompose(timeless).attrs["time_unit"] == "frame"
    fluxan.convert(timeless, tmp_path / "traj.nc")
    assert not next(iter(fluxan.open_trajectory(tmp_path / "traj.nc"))).time
    assert decompose(tmp_path / "traj.nc").attrs["time_unit"] == "frame"


def test_uneven_frames_and_a_drift_are_warned_of(frames):
    late = [*frames[:5], *(frame.replace(time=frame.time + 1) for frame in frames[5:])]
    with pytest.warns(UserWarning, match="1.01 ps after the one before"):
        decompose(late)
    with pytest.warns(UserWarning, match="centre of mass moves"):
        decompose([frame.replace(velocities=frame.velocities + 100) for frame in frames])


def test_one_frame_per_chunk_keeps_the_time_step(frames, monkeypatch):
    monkeypatch.setattr(flux_writer, "CHUNK_FRAMES", 1)
    assert decompose(frames).attrs["time_step"] == pytest.approx(0.01)


class AsksForTheCell(Scaled):
    def forward(self, graph):
        volume = graph.cell.det().abs()
        images = graph.shifts.to(graph.cell) @ graph.cell
        r_ij = graph.positions[graph.senders] + images - graph.positions[graph.receivers]
        assert (r_ij - graph.r_ij).abs().max() < 1e-9
        assert volume > 0
        f = torch.exp(-r_ij.norm(dim=1))
        return torch.zeros(graph.n_atoms, dtype=f.dtype).index_add(0, graph.receivers, f)


def test_model_that_forms_its_own_vectors(frames):
    with pytest.warns(UserWarning, match="does not use graph.r_ij"):
        own = decompose(frames[:3], AsksForTheCell())
    given = decompose(frames[:3], Scaled())
    assert np.allclose(own["potential"].values, given["potential"].values, rtol=1e-9, atol=1e-12)
