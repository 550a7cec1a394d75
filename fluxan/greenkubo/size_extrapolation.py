"""Conductivity at infinite size from that of several cells: a weighted fit, and what supports it.

Laws of the size L of the cell, with x = 1/L (or another power of it): linear, κ = κ∞ + c x; inverse, 1/κ = 1/κ∞ + c x,
which Matthiessen's rule gives where the cell limits mean free paths (P. K. Schelling, S. R. Phillpot, P. Keblinski,
Phys. Rev. B 65, 144306 (2002), of the direct method); constant, the weighted mean. Errors of κ are known, so that χ²
tests a law. The law that is asked for gives κ∞, whatever the others say: to take the constant wherever no slope is
seen would make the error too small for slopes of one or two of their errors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from fluxan.display import Displayed
from fluxan.errors import InputError
from fluxan.rounding import value_and_error

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]

LAWS, SIZES = ("linear", "inverse", "constant"), ("atoms", "length")
#: Probability below which scatter, or a slope, is not taken for chance; Akaike weight of a law that is possible.
CHANCE, POSSIBLE = 0.05, 0.05
#: Relative difference of sizes that count as one: the mean volume of runs at constant pressure fluctuates.
_SAME_SIZE: Final = 1e-3
#: Steps of a fit; rounds in which errors in proportion to the values settle, each changing them by a square of them.
_ITERATIONS, _ROUNDS = 200, 30


@dataclass(frozen=True)
class SizeLaw:
    """One law fitted to the values.

    Attributes
    ----------
    law, kappa, error, slope, slope_error : str, float, float, float, float
        Name; κ∞ and c with standard deviations; the slope of the constant is zero.
    covariance : (2, 2) float64
        Of κ∞ (1/κ∞ for the inverse law) and c.
    chi_squared, dof : float, int
        Sum of squared residuals in units of the errors; points less parameters.
    p_value : float or None
        Probability of a χ² this large if the law holds and the errors are right; None without degrees of freedom.
    scale, weight : float
        Factor of the law's errors, √(χ²/dof) where `p_value` is below 0.05, else 1 (Birge ratio); Akaike weight.
    """

    law: str
    kappa: float
    error: float
    slope: float
    slope_error: float
    covariance: Array
    chi_squared: float
    dof: int
    p_value: float | None
    scale: float
    weight: float = 0.0

    def curve(self, x: ArrayLike) -> tuple[Array, Array]:
        """κ and its error at abscissas x (n,)."""
        x, inverse = np.asarray(x, dtype=np.float64), self.law == "inverse"
        line = (1 / self.kappa if inverse else self.kappa) + self.slope * x
        variance = self.covariance[0, 0] + 2 * x * self.covariance[0, 1] + x**2 * self.covariance[1, 1]
        value = 1 / line if inverse else line
        return value, np.sqrt(np.maximum(variance, 0)) * (value**2 if inverse else 1)

    def interval(self, sigmas: float = 1.0) -> tuple[float, float]:
        """Bounds of κ∞ at so many standard deviations; symmetric in 1/κ∞ for the inverse law, then perhaps infinite."""
        if self.law != "inverse":
            return self.kappa - sigmas * self.error, self.kappa + sigmas * self.error
        share = sigmas * self.error / self.kappa
        return self.kappa / (1 + share), self.kappa / (1 - share) if share < 1 else np.inf


class SizePoints(NamedTuple):
    """Sizes (n,) from small to large, abscissas, means of κ over the runs, errors; warnings of runs that disagree."""

    sizes: Array
    x: Array
    values: Array
    errors: Array
    n_runs: NDArray[np.int64]
    warnings: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class SizeExtrapolation(Displayed):
    """Conductivity at infinite size.

    Attributes
    ----------
    law, kappa, error : str, float, float
        A law, and its κ∞ with one standard deviation, from the errors of the values alone.
    systematic : float
        Largest difference from κ∞ of another law that the values leave possible (Akaike weight of 0.05 or more), or 0.
    preferred : str
        Law of the largest Akaike weight.
    slope_p_value : float
        Probability of so large an apparent slope if κ does not depend on the size.
    distance : float
        Smallest x over the range of x: how far the extrapolation goes beyond the values.
    laws : dict of str to SizeLaw
        The laws, by name; those that give no finite κ∞ are missing.
    points : SizePoints
        What was fitted.
    of, power : str, float
        x is L^-power, with L the size (of "length") or the cube root of the number of "atoms".
    notes, warnings : tuple of str
        What was found, and evidence against the result.
    """

    law: str
    kappa: float
    error: float
    systematic: float
    preferred: str
    slope_p_value: float
    distance: float
    laws: dict[str, SizeLaw]
    points: SizePoints
    of: str
    power: float
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def fit(self) -> SizeLaw:
        """The law that gives `kappa`."""
        return self.laws[self.law]

    def _facts(self) -> dict[str, str]:
        kappa = value_and_error(self.kappa, self.error)
        return {"κ∞": kappa, "law": self.law, "warnings": "; ".join(self.warnings)}


def extrapolate(
    sizes: ArrayLike,
    values: ArrayLike,
    errors: ArrayLike,
    *,
    power: float = 1.0,
    law: str = "linear",
    of: str = "atoms",
    weights: ArrayLike | None = None,
    proportional: bool = False,
) -> SizeExtrapolation:
    """Fit κ against the size of the cell and extrapolate to infinite size.

    Parameters
    ----------
    sizes : (n,) array_like
        Numbers of atoms, or lengths of the cell; values of one size (within 0.1 %) are averaged as independent runs.
    values, errors : (n,) array_like
        Conductivities and their standard deviations, in any unit.
    power : float
        1 fits against 1/L, 3 against 1/N or 1/L³.
    law, of : str
        "linear", "inverse" or "constant"; what sizes are, "atoms" or "length".
    weights : (n,) array_like, optional
        Weights in the mean over runs of one size, such as their lengths; the inverse squares of the errors by default.
        Where errors are estimates, a value that is low by chance has a small one, and those pull the mean down.
    proportional : bool
        Whether errors are fractions of what is fitted rather than of the values, which have the same effect.

    Returns
    -------
    SizeExtrapolation
        κ∞ with its error, all laws, and what speaks against the result.

    Raises
    ------
    InputError
        A number that is not finite, an error that is not positive, one size only, or a law that gives no finite κ∞.
    """
    if law not in LAWS or of not in SIZES or not 0 < power < np.inf:
        raise InputError(f"law, of, power are {law}, {of}, {power}, expected {LAWS}, {SIZES} and a positive number")
    columns = {"size": sizes, "conductivity": values, "error": errors, "weight": weights}
    points = _averaged(*_checked(columns, positive=proportional), proportional=proportional)
    points = points._replace(x=points.sizes ** (-power / 3 if of == "atoms" else -power))
    if proportional:
        points = points._replace(errors=_errors_along_line(points))
    laws, notes = _laws(points, law)
    chosen = laws[law]
    possible = [other.kappa for other in laws.values() if other.weight >= POSSIBLE]
    found = SizeExtrapolation(
        law, chosen.kappa, chosen.error,
        systematic=max((abs(kappa - chosen.kappa) for kappa in possible), default=0.0),
        preferred=max((law, *laws), key=lambda name: round(laws[name].weight, 9)),
        slope_p_value=_slope_p_value(laws["constant"], laws["linear"] if law == "constant" else chosen),
        distance=float(points.x.min() / np.ptp(points.x)),
        laws=laws, points=points, of=of, power=power,
    )  # fmt: skip
    return replace(found, notes=(*notes, *_notes(found)), warnings=(*points.warnings, *_warnings(found)))


def _checked(columns: dict[str, ArrayLike | None], *, positive: bool) -> list[Array]:
    """Sizes, values, errors and weights as arrays; all `positive`, or the values of either sign."""
    try:
        arrays = [np.asarray(column, dtype=np.float64) for column in columns.values() if column is not None]
    except (TypeError, ValueError):
        raise InputError("sizes, values and errors must be numbers") from None
    if any(array.ndim != 1 or array.shape != arrays[0].shape for array in arrays):
        raise InputError(f"sizes, values, errors have shapes {[a.shape for a in arrays]}, expected (n,) for all")
    for name, array in zip(columns, arrays, strict=False):
        above = positive or name != "conductivity"
        if (wrong := ~np.isfinite(array) | (above & (array <= 0))).any():
            k, need = int(np.argmax(wrong)), "positive" if above else "finite"
            raise InputError(f"{name} {k + 1} of {len(array)} is {array[k]:g}, expected a {need} number")
    return arrays


def _averaged(sizes: Array, values: Array, errors: Array, *given: Array, proportional: bool) -> SizePoints:
    """Weighted means over the runs of each size, from small to large."""
    from scipy.special import chdtrc

    weights = given[0] if given else ((values if proportional else 1) / errors) ** 2
    sizes, values, errors, weights = np.array([sizes, values, errors, weights])[:, np.argsort(sizes, kind="stable")]
    starts = np.flatnonzero(np.diff(sizes, prepend=0) > _SAME_SIZE * sizes)
    if len(starts) < 2:
        raise InputError(f"an extrapolation needs two sizes, and three to check its law; there is {len(starts)}")
    rows, warnings = [], []
    for runs in np.split(np.arange(len(sizes)), starts[1:]):
        value, error, share = values[runs], errors[runs], weights[runs] / weights[runs].sum()
        mean = float(share @ value)
        bars = error * mean / value if proportional else error
        spread = float((((value - mean) / bars) ** 2).sum())
        dof, scale = len(runs) - 1, 1.0
        if dof and (p := float(chdtrc(dof, spread))) < CHANCE:
            scale = float(np.sqrt(spread / dof))
            warnings.append(
                f"the {len(runs)} runs of size {sizes[runs[0]]:.6g} scatter more than their errors "
                f"(χ² = {spread:.3g} for {dof}, p = {p:.2g}); the error of their mean is multiplied by {scale:.2g}"
            )
        rows.append((sizes[runs].mean(), mean, scale * float(np.linalg.norm(share * bars)), len(runs)))
    size, mean, error, n_runs = np.array(rows).T
    return SizePoints(size, size, mean, error, n_runs.astype(np.int64), tuple(warnings))


def _errors_along_line(points: SizePoints) -> Array:
    """Errors as fractions of the fitted line instead of the values, which scatter; repeated until it stays."""
    fractions, errors = points.errors / points.values, points.errors
    for _ in range(_ROUNDS):
        line = _fit("linear", points.x, points.values, errors).curve(points.x)[0]
        if (line <= 0).any():
            raise InputError("errors in proportion to κ need a line above zero at all sizes: use proportional=False")
        errors = fractions * line
    return errors


def _laws(points: SizePoints, law: str) -> tuple[dict[str, SizeLaw], list[str]]:
    """All laws with their Akaike weights, and notes on those that cannot be fitted."""
    laws, notes = {}, []
    for name in LAWS:
        try:
            laws[name] = _fit(name, points.x, points.values, points.errors)
        except InputError as error:
            if name == law:
                raise
            notes.append(str(error))
    scale = min(one.scale for one in laws.values())  # errors too small for every law tell little between them
    criteria = np.array([one.chi_squared / scale**2 - 2 * one.dof for one in laws.values()])  # Akaike's, shifted
    weights = np.exp(-0.5 * (criteria - criteria.min()))
    shares = zip(laws.items(), (weights / weights.sum()).tolist(), strict=True)
    return {name: replace(one, weight=weight) for (name, one), weight in shares}, notes


def _fit(law: str, x: Array, y: Array, sigma: Array) -> SizeLaw:
    """Least squares of one law, for the inverse one by Gauss-Newton steps from the fit of 1/κ."""
    from scipy.special import chdtrc

    unit = np.array([1.0, x.max()])  # both columns of the design are of order one
    design = np.column_stack([np.ones_like(x), x / x.max()])[:, : 1 if law == "constant" else 2]
    parameters, root = (_inverse_fit if law == "inverse" else _solve)(design, y, sigma)
    line = (design @ parameters) ** (-1 if law == "inverse" else 1)
    chi_squared = float((((y - line) / sigma) ** 2).sum())
    dof = len(x) - len(parameters)
    p_value = float(chdtrc(dof, chi_squared)) if dof else None
    scale = float(np.sqrt(chi_squared / dof)) if p_value is not None and p_value < CHANCE else 1.0
    covariance, size = np.zeros((2, 2)), len(parameters)
    covariance[:size, :size] = scale**2 * (root @ root.T) / np.outer(unit, unit)[:size, :size]
    intercept, slope = float(parameters[0]), float(parameters[1] / unit[1]) if size == 2 else 0.0
    error, slope_error = map(float, np.sqrt(np.diag(covariance)))
    kappa, error = (1 / intercept, error / intercept**2) if law == "inverse" else (intercept, error)
    return SizeLaw(law, kappa, error, slope, slope_error, covariance, chi_squared, dof, p_value, scale)


def _solve(design: Array, y: Array, sigma: Array) -> tuple[Array, Array]:
    """Parameters of a weighted linear fit, and a root of their covariance, by QR decomposition."""
    q, r = np.linalg.qr(design / sigma[:, None])
    root = np.linalg.inv(r)
    return root @ (q.T @ (y / sigma)), root


def _inverse_fit(design: Array, y: Array, sigma: Array) -> tuple[Array, Array]:
    """Parameters of κ = 1/(a + c x) with errors of κ, and a root of their covariance."""
    parameters = _solve(design, 1 / y, sigma / y**2)[0] if y.min() > 0 else np.zeros(2)
    for _ in range(_ITERATIONS):
        line = design @ parameters
        if line.min() <= 0:
            break
        step, root = _solve(-design / line[:, None] ** 2, y - 1 / line, sigma)
        parameters = parameters + step
        if np.abs(step).max() <= 1e-12 * np.abs(parameters).max():
            if parameters[0] > 0:
                return parameters, root
            break
    raise InputError("1/κ = 1/κ∞ + c x gives no finite κ∞ above zero for these values")


def _slope_p_value(constant: SizeLaw, sloped: SizeLaw) -> float:
    """By the difference of χ²; by the F test where errors are too small and the scatter stands for them."""
    from scipy.special import chdtrc, fdtrc

    gain = max(constant.chi_squared - sloped.chi_squared, 0.0)
    return float(chdtrc(1, gain) if sloped.scale == 1 else fdtrc(1, sloped.dof, gain / sloped.scale**2))


def _notes(found: SizeExtrapolation) -> list[str]:
    """What the values say about the law, in words."""
    mean = value_and_error(found.laws["constant"].kappa, found.laws["constant"].error)
    seen = f"κ depends on the size: a slope this large has p = {found.slope_p_value:.2g} if there is none"
    unseen = (
        f"no dependence on the size is seen (p = {found.slope_p_value:.2g}): the weighted mean is {mean}; the larger "
        "error of a law with a slope allows for one that the errors hide"
    )
    laws = f"systematic uncertainty of the law: ± {found.systematic:.2g}, the most that other laws that fit differ by"
    return [seen if found.slope_p_value < CHANCE else unseen, *([laws] if found.systematic else [])]


def _warnings(found: SizeExtrapolation) -> list[str]:
    """Evidence against the result, in words."""
    fit, constant, (low, high) = found.fit, found.law == "constant", found.fit.interval(2.0)
    told = {
        f"two sizes determine the {found.law} law and nothing checks it; a third size would": fit.dof == 0,
        f"the sizes scatter about the {found.law} law more than their errors (χ² = {fit.chi_squared:.3g} for "
        f"{fit.dof}, p = {fit.p_value or 0:.2g}): the law is wrong, or errors are too small; the error of κ∞ is "
        f"multiplied by {fit.scale:.2g}": fit.scale > 1,
        "κ depends on the size; use another law than the constant": constant and found.slope_p_value < CHANCE,
        f"from the largest cell to infinity, x changes {found.distance:.2g} times as much as among the cells, so that "
        "κ∞ rests on the law; a larger cell helps more than longer runs": not constant and found.distance > 1,
        "κ∞ is not determined: two standard deviations reach zero or infinity": low <= 0 or high == np.inf,
        "the laws differ by more than the error of κ∞; larger cells would tell": found.systematic > found.error,
    }
    return [text for text, holds in told.items() if holds]
