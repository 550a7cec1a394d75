"""The figure of a conductivity under a driving force shows the running mean, the parts and the spectrum."""

from __future__ import annotations

import numpy as np
import pytest

import fluxan
from fluxan.greenkubo.driven import driven_conductivity, standard_error
from fluxan.report.driven_study import driven_study
from fluxan.units import CONDUCTIVITY
from tests.driven_runs import driven_file


def test_the_running_mean_with_its_error_and_the_result(tmp_path):
    result = driven_conductivity(driven_file(tmp_path / "hnemd.nc", parts=[[2.0]], labels=["Ar"]))
    figure = fluxan.plot(result)
    (axes,) = figure.axes
    curves = {drawn.get_label(): drawn for drawn in axes.lines}
    np.testing.assert_array_equal(curves["running mean ± σ"].get_ydata(), result.running.value)
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx((result.running.value + result.running.error).max())
    assert axes.get_xlim() == pytest.approx((0, result.discarded + result.length))
    bottom, top = axes.get_ylim()
    assert bottom < result.kappa - result.error < result.kappa + result.error < top
    assert figure.get_suptitle().startswith("κ = ")
    assert "(0 0.6 0.8)" in figure.get_suptitle()


def test_dots_are_the_means_whose_scatter_is_the_error(tmp_path):
    result = driven_conductivity(driven_file(tmp_path / "hnemd.nc", n=3217), temperature=300.0)
    blocks = result.blocks
    with fluxan.open_flux(tmp_path / "hnemd.nc") as dataset:
        along = fluxan.total_flux(dataset).values @ result.driving_force / result.strength
    size = round(result.length / dataset.attrs["time_step"])
    factor = CONDUCTIVITY / (result.volume * result.temperature * result.strength)
    np.testing.assert_allclose(blocks, factor * along[-size:].reshape(16, -1).mean(axis=1), rtol=1e-10)
    assert blocks.shape == (16,)
    assert blocks.mean() == pytest.approx(result.kappa, rel=1e-12)
    assert standard_error(blocks) == pytest.approx(result.block_error, rel=1e-9)


def test_several_carriers_and_a_spectrum_have_panels_of_their_own(tmp_path):
    study = driven_study(driven_file(tmp_path / "hnemd.nc", spectrum=True))
    figure = fluxan.plot(study.result, spectrum=study.spectrum)
    _, carriers, matrix, _, spectrum, integral = figure.axes
    assert [bar.get_width() for bar in carriers.patches] == pytest.approx(study.result.by_carrier.tolist())
    assert [text.get_text() for text in matrix.get_yticklabels()] == ["Si", "C"]
    assert len(matrix.texts) == 4
    for axes, curve in ((spectrum, study.spectrum.spectrum), (integral, study.spectrum.cumulative)):
        drawn = {line.get_label(): line for line in axes.lines}
        np.testing.assert_array_equal(drawn["total"].get_ydata(), curve.value)
        np.testing.assert_array_equal(drawn["C"].get_xdata(), study.spectrum.by_carrier["C"].x)
    figure.savefig(tmp_path / "driven.png")
    assert len(fluxan.plot(study.result).axes) == 4
