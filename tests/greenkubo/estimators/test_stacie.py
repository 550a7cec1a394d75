"""STACIE fed with our spectra."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fluxan.errors import DependencyError
from fluxan.greenkubo.estimators import stacie as module
from fluxan.greenkubo.estimators.stacie import stacie
from tests.exact_series import Series

if TYPE_CHECKING:
    from stacie.estimate import Result
    from stacie.model import SpectrumModel

    from fluxan.greenkubo.estimators.periodogram import Spectrum


def _drawn(series: Series, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    f = np.arange(1, n + 1) / (2 * n + 2)
    return f, series.spectrum(f) * np.random.default_rng(seed).gamma(3, size=n) / 3


def test_single_relaxation_is_found_by_the_lorentz_model() -> None:
    series = Series(((1, 20),))
    estimate = stacie(*_drawn(series, 400, 2), dof=6)
    assert estimate.details["model"].startswith("lorentz")
    assert abs(estimate.value / 2 - series.integral) < 4 * estimate.error / 2
    assert estimate.error < 0.4 * estimate.value


@pytest.mark.parametrize(("factor", "inflation"), [(1e3, 1.0), (1.0, 1e4)])
def test_a_diverged_lorentz_fit_is_replaced(monkeypatch: pytest.MonkeyPatch, factor: float, inflation: float) -> None:
    """The Lorentz model's result is spoiled as its blow-ups spoil it: the other model's must come back."""
    honest = module._fitted

    def spoiled(spectrum: Spectrum, model: SpectrumModel) -> Result | None:
        result = honest(spectrum, model)
        if model.name.startswith("lorentz"):
            result.props["acint"] *= factor
            result.props["acint_std"] *= inflation
        return result

    monkeypatch.setattr(module, "_fitted", spoiled)
    series = Series(((1, 8),))
    estimate = stacie(*_drawn(series, 250, 2), dof=6)
    assert estimate.details["model"].startswith("exppoly")
    assert estimate.value / 2 == pytest.approx(series.integral, rel=0.5)


def test_missing_package_is_named_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stacie", None)
    with pytest.raises(DependencyError, match="pip install"):
        stacie(np.arange(1, 40) / 100, np.ones(39), dof=6)
