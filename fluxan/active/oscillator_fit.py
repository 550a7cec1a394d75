"""Maximum-likelihood fit of a damped oscillator to a periodogram of its velocity.

The process is ``x'' + 2Γ x' + ω₀² x = noise``, of which the velocity autocorrelation is
``C(t) ∝ Σ_± c_± exp(λ_± |t|)`` with ``λ_± = −Γ ± √(Γ² − ω₀²)`` and ``c_± = ±λ_±/(λ_+ − λ_−)``; its energy decays as
``exp(−2Γt)``, and the full width at half maximum of its power spectrum is ``2Γ`` in angular frequency. A periodogram of
N samples with a taper h(n) has the expectation

``S(ω) = (Δt/N) Σ_{n,m<N} h(n) h(m) C((n − m)Δt) exp(−iω(n − m)Δt)``,

with the broadening by the finite time and with aliasing, here in closed form (the debiased Whittle likelihood,
Sykulski, Olhede, Guillaumin, Lilly, Early, Biometrika 106, 251, 2019). The taper is that of Hann: without one the tails
of a narrow line are all leakage, and a shape that is slightly different misleads the fit. The model is ``A (S(ω) +
β)``: the constant is
the part of the spectrum that other modes contribute near the peak. Errors are those of the curvature, corrected for the
correlations of neighbouring ordinates (of the sandwich form), which matter for lines about as narrow as the resolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

#: Half of the fitted band, in full widths at half maximum and at least in ordinates.
BAND_WIDTHS, BAND_ORDINATES = 5.0, 12
#: Rounds in which the band is adapted to the fitted width.
_ROUNDS = 4
#: Smallest linewidth Γ, in inverse block lengths: below it the periodogram no longer depends on it.
_NARROWEST = 0.02
#: Groups of neighbouring ordinates in which the spectrum is compared with the fit.
_GROUPS = 12
#: Part of the peak's height above which ordinates are compared: far from it other modes contribute to the spectrum.
_NEAR = 0.1


class Periodogram(NamedTuple):
    """A periodogram of a velocity.

    Attributes
    ----------
    power : (n_samples // 2 + 1,) float64
        Mean of `n_averages` independent periodograms with the taper `hann`.
    time_step : float
        ps.
    n_samples : int
        Samples N of each.
    n_averages : int
        Blocks times modes; ordinates are χ² with twice as many degrees of freedom.
    """

    power: np.ndarray
    time_step: float
    n_samples: int
    n_averages: int

    @property
    def duration(self) -> float:
        """Length of a block, ps."""
        return self.n_samples * self.time_step


@dataclass(frozen=True, slots=True)
class OscillatorFit:
    """A damped oscillator and its errors.

    Attributes
    ----------
    omega, omega_error : float
        ω₀, rad/ps.
    gamma, gamma_relative_error : float
        Γ, 1/ps, and the standard error of log Γ.
    misfit : float
        Root mean square of the relative deviations of the spectrum from the fit beyond statistical noise, over groups
        of neighbouring ordinates near the peak.
    p_value : float
        Probability of as large a deviation if the process is one damped oscillator.
    """

    omega: float
    omega_error: float
    gamma: float
    gamma_relative_error: float
    misfit: float
    p_value: float


def hann(n_samples: int) -> np.ndarray:
    """Periodic Hann taper of unit mean square, (n_samples,)."""
    return np.sqrt(2 / 3) * (1 - np.cos(2 * np.pi * np.arange(n_samples) / n_samples))


def expected_periodogram(
    bins: np.ndarray, omega: float, gamma: float, *, time_step: float, n_samples: int
) -> np.ndarray:
    """Expectation S(ω_k) of the tapered periodogram of a damped oscillator's velocity with unit variance, ps.

    A taper of Hann combines neighbouring Fourier coefficients, ``½ X_k − ¼ (X_{k−1} + X_{k+1})``.

    Parameters
    ----------
    bins : (n,) array of int
        Successive k of the frequencies ``2πk/(NΔt)``.
    omega, gamma : float
        ω₀ in rad/ps and Γ in 1/ps.
    time_step, n_samples : float, int
        Sampling interval, ps, and number of samples.
    """
    square, odd = _coefficients(np.arange(bins[0] - 1, bins[-1] + 2), omega, gamma, (time_step, n_samples))
    next_one = np.diff(odd) / np.tan(np.pi / n_samples)
    next_two = (odd[2:] - odd[:-2]) / np.tan(2 * np.pi / n_samples)
    sums = square[1:-1] / 4 + (square[:-2] + square[2:]) / 16 - (next_one[1:] + next_one[:-1]) / 4 + next_two / 8
    return sums * time_step / n_samples * 8 / 3


def _coefficients(
    bins: np.ndarray, omega: float, gamma: float, sampling: tuple[float, int]
) -> tuple[np.ndarray, np.ndarray]:
    """E|X_k|² without a taper, and Im K_k with ``K_k = Σ_{n<N} C(nΔt) exp(−iω_k nΔt)``, both by geometric series.

    From the latter ``E X_j X_k* = (Im K_j − Im K_k) exp(iδ)/sin δ`` with ``δ = (ω_j − ω_k)Δt/2`` for j ≠ k.
    """
    time_step, n_samples = sampling
    square, sums = np.full(len(bins), -1.0), np.zeros(len(bins), dtype=complex)
    for weight, rate in _exponentials(omega, gamma):
        z = np.exp(rate * time_step - 2j * np.pi * bins / n_samples)
        rest = 1 - np.exp(rate * time_step * n_samples)
        # Σ_{n=0}^{N−1} (1 − n/N) z^n, where z^N has no phase
        square += 2 * (weight * (1 / (1 - z) - z * rest / (n_samples * (1 - z) ** 2))).real
        sums += weight * rest / (1 - z)
    return n_samples * square, sums.imag


def _exponentials(omega: float, gamma: float) -> list[tuple[complex, complex]]:
    """Weights c_± and rates λ_±, 1/ps, of the velocity autocorrelation."""
    root = complex(gamma**2 - omega**2) ** 0.5
    if abs(root) < 1e-6 * omega:
        root = 1e-6 * omega  # critical damping is the limit of two close rates
    upper, lower = -gamma + root, -gamma - root
    return [(upper / (2 * root), upper), (-lower / (2 * root), lower)]


def fit_oscillator(data: Periodogram) -> OscillatorFit | None:
    """Fit the highest peak of a periodogram.

    Returns
    -------
    fit : OscillatorFit or None
        None where the peak is at an end of the spectrum or the power is zero.
    """
    smooth = np.convolve(data.power, [0.25, 0.5, 0.25], mode="same")
    peak = 1 + int(smooth[1:-1].argmax())
    if data.power[peak] <= 0 or peak >= len(data.power) - 3:
        return None
    omega = 2 * np.pi * peak / data.duration
    # The area of a Lorentzian is its height times π/2 of its full width.
    gamma = 2 * data.power[1:-1].sum() / data.duration / smooth[peak]
    for _ in range(_ROUNDS):
        band = _Band(data, omega, gamma)
        found = band.minimum()
        settled = abs(np.log(band.gamma_of(found) / gamma)) < 0.1
        omega, gamma = band.omega_of(found), band.gamma_of(found)
        if settled:
            break
    return band.described(found)


class _Band:
    """Likelihood of a damped oscillator within a band about a peak, with parameters (ω₀ − ω)/scale, log Γ and β."""

    def __init__(self, data: Periodogram, omega: float, gamma: float) -> None:
        self.data, self.omega, self.scale = data, omega, max(gamma, 1 / data.duration)
        spacing = 2 * np.pi / data.duration
        half = max(BAND_ORDINATES, int(np.ceil(2 * BAND_WIDTHS * gamma / spacing)))
        centre = round(omega / spacing)
        # Ordinates at zero and at the Nyquist frequency have another distribution.
        self.bins = np.arange(max(1, centre - half), min((data.n_samples - 1) // 2, centre + half) + 1)
        self.omegas, self.power = spacing * self.bins, data.power[self.bins]
        self.limits = [
            ((self.omegas[0] / 2 - omega) / self.scale, (self.omegas[-1] + spacing - omega) / self.scale),
            (np.log(_NARROWEST / data.duration), np.log(4 * self.omegas[-1])),
            (0.0, 3.0),
        ]
        self._start = np.log(gamma)

    def omega_of(self, parameters: np.ndarray) -> float:
        """ω₀, rad/ps."""
        return float(self.omega + self.scale * parameters[0])

    def gamma_of(self, parameters: np.ndarray) -> float:
        """Γ, 1/ps."""
        return float(np.exp(parameters[1]))

    def shape(self, parameters: np.ndarray) -> np.ndarray:
        """S(ω) + β over the band, where β is in units of the mean of S."""
        omega, gamma = self.omega_of(parameters), self.gamma_of(parameters)
        data = self.data
        peak = expected_periodogram(self.bins, omega, gamma, time_step=data.time_step, n_samples=data.n_samples)
        # The offset keeps the far tails of a narrow line positive against rounding.
        return peak + (parameters[2] + 1e-9) * peak.mean()

    def deviance(self, parameters: np.ndarray) -> float:
        """Minus log likelihood with the best A, but for a constant."""
        shape = self.shape(parameters)
        return float(self.data.n_averages * (len(shape) * np.log(np.mean(self.power / shape)) + np.log(shape).sum()))

    def minimum(self) -> np.ndarray:
        """Parameters of the greatest likelihood, from the best of several widths."""
        low, high = self.limits[1]
        widths = np.clip(self._start + np.log([0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 3.0]), low, high)
        start = min((np.array([0.0, width, 0.02]) for width in widths), key=self.deviance)
        return optimize.minimize(self.deviance, start, method="L-BFGS-B", bounds=self.limits, options={"ftol": 1e-7}).x

    def described(self, parameters: np.ndarray) -> OscillatorFit:
        """The fit with its errors and its agreement with the spectrum."""
        covariance = self._covariance(parameters)
        shape = self.shape(parameters)
        misfit, p_value = self._agreement(self.power / shape / np.mean(self.power / shape), shape)
        errors = np.sqrt(np.maximum(np.diag(covariance), 0))
        omega, gamma = self.omega_of(parameters), self.gamma_of(parameters)
        return OscillatorFit(omega, float(self.scale * errors[1]), gamma, float(errors[2]), misfit, p_value)

    def _covariance(self, parameters: np.ndarray) -> np.ndarray:
        """Covariance of (log A, (ω₀ − ω)/scale, log Γ, β): F⁻¹ J F⁻¹ with the information F and the scores' J."""
        slopes = [np.ones(len(self.bins))]
        parameters = np.maximum(parameters, [-np.inf, -np.inf, 1e-4])  # β − step is not negative
        for k in range(3):
            step = np.zeros(3)
            step[k] = 1e-4
            slopes.append((np.log(self.shape(parameters + step)) - np.log(self.shape(parameters - step))) / 2e-4)
        g = np.array(slopes)
        inverse = np.linalg.pinv(g @ g.T, hermitian=True)
        shape = self.shape(parameters)
        correlations = self._covariances(parameters) / np.outer(shape, shape)
        np.fill_diagonal(correlations, 1.0)
        return inverse @ (g @ correlations @ g.T) @ inverse / self.data.n_averages

    def _covariances(self, parameters: np.ndarray) -> np.ndarray:
        """Covariances of ordinates, ``(Δt/N)² |E X_j X_k*|²`` of the tapered X_k, in units of A²."""
        sampling = (self.data.time_step, self.data.n_samples)
        bins = np.arange(self.bins[0] - 1, self.bins[-1] + 2)
        square, odd = _coefficients(bins, self.omega_of(parameters), self.gamma_of(parameters), sampling)
        angles = np.pi * (bins[:, None] - bins) / self.data.n_samples
        plain = (odd[:, None] - odd) * np.exp(1j * angles) / (np.sin(angles) + np.eye(len(bins)))
        np.fill_diagonal(plain, square)
        rows = plain[1:-1] / 2 - (plain[:-2] + plain[2:]) / 4
        tapered = rows[:, 1:-1] / 2 - (rows[:, :-2] + rows[:, 2:]) / 4
        return (8 / 3 * self.data.time_step / self.data.n_samples) ** 2 * np.abs(tapered) ** 2

    def _agreement(self, ratios: np.ndarray, shape: np.ndarray) -> tuple[float, float]:
        """Misfit and p-value from the ratios of spectrum to fit near the peak, averaged over groups of ordinates."""
        near = ratios[shape > _NEAR * shape.max()]
        groups = np.array_split(near, min(_GROUPS, len(near)))
        means, sizes = np.array([group.mean() for group in groups]), np.array([len(group) for group in groups])
        # With the taper, ordinates one and two apart have correlations of 4/9 and 1/36.
        correlated = 1 + 8 / 9 * (sizes - 1) / sizes + np.maximum(sizes - 2, 0) / sizes / 18
        noise = correlated / (self.data.n_averages * sizes)
        excess = np.mean((means - 1) ** 2 - noise)
        # 2n (r − 1 − log r) of a mean of n exponential variables has χ² of one degree of freedom, for large n.
        deviance = np.sum(2 / noise * (means - 1 - np.log(np.maximum(means, 1e-300))))
        return max(float(excess), 0.0) ** 0.5, float(stats.chi2.sf(deviance, len(means)))
