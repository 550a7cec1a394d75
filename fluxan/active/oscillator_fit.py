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
from scipy import stats

#: Half of the fitted band, in full widths at half maximum and at least in ordinates.
BAND_WIDTHS, BAND_ORDINATES = 5.0, 12
#: Rounds in which the band is adapted to the fitted width.
_ROUNDS = 4
#: Linewidths at which the first search may start, in parts of the estimate from the peak's height and the power.
_WIDTHS = [0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 3.0]
#: Steps of a search; gain of the log likelihood, expected of a step, that ends it; damping at which nothing is gained.
_STEPS, _SETTLED, _STUCK = 60, 1e-5, 1e6
#: Smallest linewidth Γ, in inverse block lengths: below it the periodogram no longer depends on it.
_NARROWEST = 0.02
#: Ordinates over which correlations count, the whole band of a narrow line (those of a wide one reach over two), and
#: rows at once.
_REACH, _CHUNK = 2 * BAND_ORDINATES, 64
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
    """Expectation of the tapered periodogram of a damped oscillator's velocity with unit variance, and its slopes.

    A taper of Hann combines neighbouring Fourier coefficients, ``½ X_k − ¼ (X_{k−1} + X_{k+1})``.

    Parameters
    ----------
    bins : (n,) array of int
        Successive k of the frequencies ``2πk/(NΔt)``.
    omega, gamma : float
        ω₀ in rad/ps and Γ in 1/ps.
    time_step, n_samples : float, int
        Sampling interval, ps, and number of samples.

    Returns
    -------
    expectation : (3, n) float64
        S(ω_k), ps, and its derivatives to ω₀ and to Γ, ps².
    """
    square, odd = _coefficients(np.arange(bins[0] - 1, bins[-1] + 2), omega, gamma, (time_step, n_samples))
    next_one = np.diff(odd) / np.tan(np.pi / n_samples)
    next_two = (odd[:, 2:] - odd[:, :-2]) / np.tan(2 * np.pi / n_samples)
    sums = square[:, 1:-1] / 4 + (square[:, :-2] + square[:, 2:]) / 16
    sums += next_two / 8 - (next_one[:, 1:] + next_one[:, :-1]) / 4
    return sums * time_step / n_samples * 8 / 3


def _coefficients(
    bins: np.ndarray, omega: float, gamma: float, sampling: tuple[float, int]
) -> tuple[np.ndarray, np.ndarray]:
    """E|X_k|² without a taper, and Im K_k with ``K_k = Σ_{n<N} C(nΔt) exp(−iω_k nΔt)``, both by geometric series.

    From the latter ``E X_j X_k* = (Im K_j − Im K_k) exp(iδ)/sin δ`` with ``δ = (ω_j − ω_k)Δt/2`` for j ≠ k.
    Each is (3, n_bins): the value and its derivatives to ω₀ and Γ.
    """
    time_step, n_samples = sampling
    weights, rates = _exponentials(omega, gamma)
    z = np.exp(rates[0, :, None] * time_step) * np.exp(-2j * np.pi / n_samples * bins)
    pole, decayed = 1 / (1 - z), np.exp(rates[0, :, None] * time_step * n_samples)
    rest, slope = 1 - decayed, time_step * z * pole**2
    # Σ_{n=0}^{N−1} (1 − n/N) z^n and Σ_{n=0}^{N−1} z^n, where z^N has no phase, and their derivatives to the rate
    triangle, plain = pole * (1 - z * rest * pole / n_samples), rest * pole
    triangle_slope = slope * (1 + decayed - rest * (1 + 2 * z * pole) / n_samples)
    plain_slope = rest * slope - time_step * n_samples * decayed * pole
    chain = weights[0] * rates
    chain[0] = 0
    square = 2 * (weights @ triangle + chain @ triangle_slope).real
    square[0] -= 1
    return n_samples * square, (weights @ plain + chain @ plain_slope).imag


def _exponentials(omega: float, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights c_± and rates λ_±, 1/ps, of the velocity autocorrelation, and their derivatives to ω₀ and Γ, (3, 2)."""
    root = complex(gamma**2 - omega**2) ** 0.5
    if abs(root) < 1e-4 * omega:
        root = complex(1e-4 * omega)  # critical damping is the limit of two close rates, even in their distance
    signs, ratio = np.array([1, -1]), gamma / root
    weights = [0.5 * (1 - signs * ratio), -0.5 * signs * ratio * omega / root**2, signs * (ratio**2 - 1) / (2 * root)]
    rates = [signs * root - gamma, -signs * omega / root, signs * ratio - 1]
    return np.array(weights), np.array(rates)


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
    for k in range(_ROUNDS):
        band = _Band(data, omega, gamma)
        found = band.minimum([0.5, 1.0] if k else _WIDTHS)
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

    def shape(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """S(ω) + β over the band, where β is in units of the mean of S, and derivatives (3, n) to the parameters."""
        omega, gamma = self.omega_of(parameters), self.gamma_of(parameters)
        data = self.data
        peak = expected_periodogram(self.bins, omega, gamma, time_step=data.time_step, n_samples=data.n_samples)
        means = peak.mean(axis=1)
        # The offset keeps the far tails of a narrow line positive against rounding.
        peak += (parameters[2] + 1e-9) * means[:, None]
        return peak[0], np.stack([self.scale * peak[1], gamma * peak[2], np.full(peak.shape[1], means[0])])

    def deviance(self, parameters: np.ndarray) -> float:
        """Minus log likelihood with the best A, but for a constant."""
        return self._expansion(parameters)[0]

    def minimum(self, starts: list[float]) -> np.ndarray:
        """Parameters of the greatest likelihood by damped Fisher scoring, from the best of several parts of Γ."""
        low, high = np.transpose(self.limits)
        widths = np.clip(self._start + np.log(starts), low[1], high[1])
        place = min((np.array([0.0, width, 0.02]) for width in widths), key=self.deviance)
        value, score, information = self._expansion(place)
        damping = 1e-3
        for _ in range(_STEPS):
            free = ~(((place <= low) & (score < 0)) | ((place >= high) & (score > 0)))
            matrix = information + np.diag(damping * np.diag(information) + 1e-12)
            step = np.zeros(3)
            step[free] = np.linalg.solve(matrix[np.ix_(free, free)], score[free])
            if step @ score < _SETTLED:
                break
            trial = np.clip(place + np.clip(step, -1.5, 1.5), low, high)
            found = self._expansion(trial)
            if found[0] < value:
                place, (value, score, information), damping = trial, found, max(damping / 10, 1e-9)
            elif (damping := damping * 10) > _STUCK:
                break
        return place

    def _expansion(self, parameters: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Minus log likelihood with the best A, but for a constant, the score (3,) and the information (3, 3)."""
        shape, slopes = self.shape(parameters)
        ratios = self.power / shape
        mean, n = ratios.mean(), self.data.n_averages
        g = slopes / shape
        g -= g.mean(axis=1, keepdims=True)  # A is the best one
        value = n * (len(shape) * np.log(mean) + np.log(shape).sum())
        return float(value), n * (g @ (ratios / mean)), n * (g @ g.T)

    def described(self, parameters: np.ndarray) -> OscillatorFit:
        """The fit with its errors and its agreement with the spectrum."""
        covariance = self._covariance(parameters)
        shape, _ = self.shape(parameters)
        misfit, p_value = self._agreement(self.power / shape / np.mean(self.power / shape), shape)
        errors = np.sqrt(np.maximum(np.diag(covariance), 0))
        omega, gamma = self.omega_of(parameters), self.gamma_of(parameters)
        return OscillatorFit(omega, float(self.scale * errors[1]), gamma, float(errors[2]), misfit, p_value)

    def _covariance(self, parameters: np.ndarray) -> np.ndarray:
        """Covariance of (log A, (ω₀ − ω)/scale, log Γ, β): F⁻¹ J F⁻¹ with the information F and the scores' J."""
        shape, slopes = self.shape(parameters)
        g = np.concatenate([np.ones((1, len(shape))), slopes / shape])
        inverse = np.linalg.pinv(g @ g.T, hermitian=True)
        scores = np.zeros((4, 4))
        for first in range(0, len(shape), _CHUNK):
            rows = np.arange(first, min(first + _CHUNK, len(shape)))
            near = np.arange(max(rows[0] - _REACH, 0), min(rows[-1] + _REACH + 1, len(shape)))
            covariances = self._covariances(self.bins[near], parameters) / np.outer(shape[near], shape[near])
            np.fill_diagonal(covariances, 1.0)
            scores += g[:, rows] @ covariances[rows - near[0]] @ g[:, near].T
        return inverse @ scores @ inverse / self.data.n_averages

    def _covariances(self, bins: np.ndarray, parameters: np.ndarray) -> np.ndarray:
        """Covariances of ordinates, ``(Δt/N)² |E X_j X_k*|²`` of the tapered X_k, in units of A²."""
        sampling = (self.data.time_step, self.data.n_samples)
        bins = np.arange(bins[0] - 1, bins[-1] + 2)
        squares, odds = _coefficients(bins, self.omega_of(parameters), self.gamma_of(parameters), sampling)
        odd = odds[0]
        angles = np.pi * (bins[:, None] - bins) / self.data.n_samples
        plain = (odd[:, None] - odd) * np.exp(1j * angles) / (np.sin(angles) + np.eye(len(bins)))
        np.fill_diagonal(plain, squares[0])
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
