"""Fits: they learn, resume bit for bit, stop at a loss that is not finite, and refuse what cannot be fitted."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

import fluxan
from fluxan.errors import FluxanError, InputError, ModelError, OutputError
from fluxan.neighbors import build_graph
from fluxan.potentials.behler_parrinello import BehlerParrinello
from fluxan.potentials.equivariant import EquivariantNetwork
from fluxan.potentials.model_file import training_record
from fluxan.potentials.symmetry_functions import default_functions
from fluxan.training import batches as batches_module
from fluxan.training.batches import with_tables
from fluxan.training.dataset import TrainingSet
from fluxan.training.descriptor_table import make_table
from fluxan.training.fit import CHECKPOINT, HISTORY, MODEL, TrainingRun
from fluxan.training.fit_settings import FitSettings
from fluxan.training.history import read_history
from fluxan.training.initial_values import fitted_offsets, given_offsets, set_initial_values
from fluxan.training.loss import FluxTerm, LossWeights, mean_squares, total_loss
from fluxan.training.prediction import predict
from tests.training_frames import crystal, labelled, training_frames

FRAMES = training_frames(8)
TRAIN, VALIDATION = TrainingSet(FRAMES[:6]), TrainingSet(FRAMES[6:])


def behler_parrinello(seed=0):
    functions = default_functions([18, 36], cutoff=5.0, triplet_cutoff=4.2, n_radial=6, zetas=(1.0,), widths=(1.0,))
    model = BehlerParrinello(functions, hidden=(6,), seed=seed)
    set_initial_values(model, TRAIN, fitted_offsets(TRAIN))
    return model


def equivariant(seed=0):
    model = EquivariantNetwork([18, 36], cutoff=4.2, n_features=4, n_basis=4, n_layers=2, seed=seed)
    set_initial_values(model, TRAIN, fitted_offsets(TRAIN))
    return model


MODELS = {"behler-parrinello": behler_parrinello, "equivariant": equivariant}
WEIGHTS = LossWeights(energy=100.0, forces=100.0, virial=10.0, flux=1e-6, term=FluxTerm(temperature=60.0))
SETTINGS = FitSettings(epochs=6, batch_size=4, learning_rate=1e-2, average=0.9)


def fit(folder, make=behler_parrinello, *, weights=WEIGHTS, settings=SETTINGS, monitor=None):
    return TrainingRun(
        make(), TRAIN, VALIDATION, weights=weights, settings=settings, folder=Path(folder), monitor=monitor
    )


@pytest.mark.parametrize("name", MODELS)
def test_errors_fall(tmp_path, name):
    settings = FitSettings(epochs=40, batch_size=2, learning_rate=2e-2, average=0.8)
    result = fit(tmp_path, MODELS[name], settings=settings).run()
    first = result.history[0]
    assert result.errors["forces"] < 0.5 * first["validation forces (eV/A)"]
    assert result.history[result.epoch]["validation loss"] == min(row["validation loss"] for row in result.history)


def test_lbfgs_falls_steeply(tmp_path):
    settings = FitSettings(epochs=5, optimizer="lbfgs", learning_rate=1.0, schedule="constant")
    result = fit(tmp_path, settings=settings).run()
    assert result.history[-1]["train loss"] < 0.1 * result.history[0]["train loss"]


@pytest.mark.parametrize("name", MODELS)
def test_the_model_file_is_the_model(tmp_path, name):
    result = fit(tmp_path, MODELS[name]).run()
    frame = FRAMES[0].frame
    model = fluxan.load_model(tmp_path / MODEL)
    assert fluxan.heat_flux(frame, model).total == pytest.approx(fluxan.heat_flux(frame, result.model).total, abs=0)
    record = training_record(tmp_path / MODEL)
    assert record["identity"]["training data"] == TRAIN.sha256
    assert record["identity"]["loss"]["flux"] == 1e-6
    assert record["epoch"] == result.epoch


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_resumes_bit_for_bit(tmp_path, optimizer):
    settings = FitSettings(epochs=6, batch_size=2, learning_rate=0.05, optimizer=optimizer)
    whole = fit(tmp_path / "whole", settings=settings).run()
    for stop in range(1, 6):
        # An interruption after each epoch in turn.
        part = fit(tmp_path / "parts", settings=settings)
        with pytest.raises(KeyboardInterrupt):
            part.run(resume=True, progress=interrupt_after(stop - 1))
    resumed = fit(tmp_path / "parts", settings=settings).run(resume=True)
    assert (tmp_path / "whole" / MODEL).read_bytes() == (tmp_path / "parts" / MODEL).read_bytes()
    assert (tmp_path / "whole" / HISTORY).read_bytes() == (tmp_path / "parts" / HISTORY).read_bytes()
    assert resumed.epoch == whole.epoch


def interrupt_after(last):
    def progress(epoch, row):
        if epoch >= last:
            raise KeyboardInterrupt

    return progress


def test_history_rows_beyond_the_checkpoint_are_dropped(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path).run(progress=interrupt_after(2))
    with (tmp_path / HISTORY).open("a") as file:
        file.write("3,0.1,broken")  # cut while it was written
    fit(tmp_path / "whole").run()
    fit(tmp_path).run(resume=True)
    assert (tmp_path / HISTORY).read_bytes() == (tmp_path / "whole" / HISTORY).read_bytes()


def test_a_resumption_that_is_interrupted_keeps_the_history(tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path).run(progress=interrupt_after(3))
    calls = itertools.count()

    def interrupted(row):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return [repr(value) for value in row.values()]

    with monkeypatch.context() as patch:
        patch.setattr("fluxan.training.history._numbers", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path).run(resume=True)
    fit(tmp_path / "whole").run()
    fit(tmp_path).run(resume=True)
    assert (tmp_path / HISTORY).read_bytes() == (tmp_path / "whole" / HISTORY).read_bytes()


def test_a_history_that_lost_rows_is_told(tmp_path):
    fit(tmp_path).run()
    lines = (tmp_path / HISTORY).read_text().splitlines(keepends=True)
    (tmp_path / HISTORY).write_text("".join(lines[:-1]))
    with pytest.raises(FluxanError, match=f"has {len(lines) - 2} rows for {len(lines) - 1} epochs"):
        fit(tmp_path).run(resume=True)


def test_another_fit_is_not_resumed(tmp_path):
    fit(tmp_path).run()
    for change, name in (
        ({"weights": LossWeights()}, "loss"),
        ({"settings": FitSettings(epochs=7)}, "settings"),
        ({"make": equivariant}, "model"),
    ):
        with pytest.raises(OutputError, match=f"belongs to a fit with another {name}; begin anew"):
            fit(tmp_path, **change).run(resume=True)


def test_a_damaged_checkpoint_is_told(tmp_path):
    fit(tmp_path).run()
    (tmp_path / CHECKPOINT).write_bytes(b"x" * 100)
    with pytest.raises(FluxanError, match="cannot be read as a checkpoint"):
        fit(tmp_path).run(resume=True)


def test_patience_ends_a_fit(tmp_path):
    settings = FitSettings(epochs=500, batch_size=2, learning_rate=0.3, schedule="constant", patience=3, average=0.0)
    result = fit(tmp_path, settings=settings).run()
    assert len(result.history) == result.epoch + 1 + 3


def test_a_loss_that_is_not_finite_stops_the_fit(tmp_path):
    job = fit(tmp_path)

    def spoil(epoch, row):
        if epoch == 2:
            with torch.no_grad():
                next(job.model.parameters()).fill_(float("nan"))

    with pytest.raises(ModelError, match=r"epoch 3: .* nan.*; the best model before, of epoch \d, is in") as caught:
        job.run(progress=spoil)
    assert str(tmp_path / MODEL) in str(caught.value)
    assert len(read_history(tmp_path / HISTORY)) == 3
    assert np.isfinite(fluxan.heat_flux(FRAMES[0].frame, tmp_path / MODEL).total).all()


def test_a_loss_that_overflows_stops_the_fit(tmp_path):
    settings = FitSettings(epochs=20, learning_rate=1e30, average=0.0)
    with pytest.raises(ModelError, match=r"epoch 0: .*; no epoch was completed"):
        fit(tmp_path, equivariant, settings=settings, weights=LossWeights(energy=1e300)).run()


def test_unknown_elements_are_refused(tmp_path):
    model = BehlerParrinello(default_functions([18], cutoff=4.0, triplet_cutoff=3.0))
    with pytest.raises(ModelError, match="does not know Kr"):
        TrainingRun(model, TRAIN, VALIDATION, weights=WEIGHTS, settings=SETTINGS, folder=tmp_path)


def test_missing_labels_are_refused(tmp_path):
    frames = TrainingSet([item.replace(virial=None) for item in FRAMES])
    with pytest.raises(InputError, match="8 of 8 frames have no virial"):
        TrainingRun(behler_parrinello(), frames, VALIDATION, weights=WEIGHTS, settings=SETTINGS, folder=tmp_path)
    unlabelled = [item.replace(frame=item.frame.replace(velocities=None)) for item in FRAMES]
    weights = LossWeights(flux=1.0, term=FluxTerm("velocities"))
    with pytest.raises(InputError, match="8 of 8 frames have no velocities"):
        TrainingRun(
            behler_parrinello(),
            TrainingSet(unlabelled),
            VALIDATION,
            weights=weights,
            settings=SETTINGS,
            folder=tmp_path,
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "fit.epochs is 0"),
        ({"batch_size": 1.5}, "fit.batch_size is 1.5"),
        ({"optimizer": "sgd"}, "expected one of adam, lbfgs"),
        ({"schedule": "step"}, "expected one of cosine"),
        ({"learning_rate": float("nan")}, "fit.learning_rate is nan"),
        ({"average": 1.0}, "fit.average is 1.0"),
        ({"clip": 0.0}, "fit.clip is 0.0"),
        ({"seed": -1}, "fit.seed is -1"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(InputError, match=message):
        FitSettings(**settings)


@pytest.mark.parametrize("schedule", ["cosine", "exponential"])
def test_schedules_end_at_the_final_rate(schedule):
    settings = FitSettings(epochs=11, learning_rate=1.0, schedule=schedule, final_rate=0.1)
    rates = [settings.rate(k) for k in range(11)]
    assert rates[0] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.1)
    assert all(np.diff(rates) < 0)


def mixed():
    """Frames of argon, of krypton, and of both."""
    frame = crystal(noise=0.1)
    pure = [labelled(frame.replace(numbers=np.full(8, z), masses=None)) for z in (18, 36)]
    shifted = [
        item.replace(energy=item.energy - 3.0 * np.sum(item.frame.numbers == 18)) for item in [*pure, labelled(frame)]
    ]
    return TrainingSet(shifted)


def test_offsets_of_mixed_stoichiometry():
    found = fitted_offsets(mixed())
    energies = [item.energy for item in mixed().frames]
    assert np.allclose(np.linalg.pinv([[8.0, 0], [0, 8], [4, 4]]) @ energies, found)
    assert found[0] - found[1] < -3.0
    with pytest.raises(InputError, match=r"differ in stoichiometry, and in energy by \d\.\d+ eV/atom"):
        given_offsets("none", mixed())
    assert given_offsets("none", TRAIN).tolist() == [0.0, 0.0]
    assert given_offsets({"Ar": -1.0, "Kr": 2.0}, TRAIN).tolist() == [-1.0, 2.0]
    for wrong, message in (
        ({"Ar": -1.0}, "no energy of Kr"),
        ({"Xe": 1.0}, "names Xe"),
        ("fitted", "expected fit, none"),
    ):
        with pytest.raises(InputError, match=message):
            given_offsets(wrong, TRAIN)


def test_offsets_of_one_stoichiometry_are_of_least_norm():
    found = fitted_offsets(TRAIN)
    assert found[0] == pytest.approx(found[1])


def test_tables_change_nothing():
    model = behler_parrinello(seed=2)
    (batch,) = TRAIN.batches(model.cutoff, 6)
    found = []
    for given in (batch, batch._replace(table=make_table(model, batch.graph))):
        prediction = predict(model, given, flux=True)
        loss = total_loss(mean_squares(prediction, given, WEIGHTS), WEIGHTS)
        found.append([*prediction, loss, *torch.autograd.grad(loss, list(model.parameters()))])
    for plain, tabulated in zip(*found, strict=True):
        assert torch.allclose(plain, tabulated, rtol=1e-9, atol=1e-11 * float(plain.detach().abs().max()))


def test_tables_that_are_too_large_are_left_out(monkeypatch):
    model, batches = behler_parrinello(), TRAIN.batches(5.0, 3)
    assert all(batch.table is not None for batch in with_tables(model, batches))
    monkeypatch.setattr(batches_module, "MAX_BYTES", 10_000)
    assert all(batch.table is None for batch in with_tables(model, batches))


@pytest.mark.parametrize("name", MODELS)
def test_validation_frames_may_lack_an_element(tmp_path, name):
    frame = crystal(noise=0.1)
    krypton = TrainingSet([labelled(frame.replace(numbers=np.full(8, 36), masses=None))] * 2)
    settings = FitSettings(epochs=1, batch_size=4)
    model = MODELS[name]()
    result = TrainingRun(model, TRAIN, krypton, weights=WEIGHTS, settings=settings, folder=tmp_path).run()
    energy = result.model(build_graph(krypton.frames[0].frame, result.model.cutoff)).sum().detach()
    assert result.errors["energy"] == pytest.approx(abs(float(energy) - krypton.frames[0].energy) / 8, rel=1e-9)
