"""Power of a flux within a band of frequencies, from consecutive frames; differentiable, and linear in the flux.

By Parseval's theorem the squares of the discrete Fourier transform of n samples, divided by n, add up to the sum of
the squares of the samples: the power of all frequencies together is ``Σ_t |J(t)|²``.
"""

from __future__ import annotations

import math

import torch

from fluxan.errors import InputError


def band_power(flux: torch.Tensor, time_step: float, band: tuple[float, float]) -> torch.Tensor:
    """Power of a series within a band, summed over channels and directions.

    Parameters
    ----------
    flux : (n_samples, n_channels, 3) tensor
        eV Å/ps, evenly spaced in time.
    time_step : float
        ps.
    band : (float, float)
        Lowest and highest frequency, THz, both included.

    Returns
    -------
    scalar tensor
        The share of ``Σ_t |J(t)|²`` at these frequencies, (eV Å/ps)².

    Raises
    ------
    InputError
        The band holds no frequency of the series.
    """
    return band_transform(len(flux), time_step, band).to(flux).matmul(flux.flatten(1)).square().sum()


def band_transform(n_samples: int, time_step: float, band: tuple[float, float]) -> torch.Tensor:
    """Real rows whose products with a series, squared and summed, are the power within a band.

    Parameters
    ----------
    n_samples : int
        Length of the series.
    time_step : float
        ps.
    band : (float, float)
        THz.

    Returns
    -------
    (n_rows, n_samples) float64 tensor
        Cosines and sines, orthonormal.

    Raises
    ------
    InputError
        The band holds no frequency of the series; the message names those there are.
    """
    frequencies = torch.fft.rfftfreq(n_samples, time_step, dtype=torch.float64)
    inside = (frequencies >= band[0]) & (frequencies <= band[1])
    if not inside.any():
        raise InputError(
            f"no frequency between {band[0]:g} and {band[1]:g} THz: {n_samples} frames {time_step:g} ps apart have "
            f"frequencies every {1 / (n_samples * time_step):.3g} THz up to {float(frequencies[-1]):.3g} THz"
        )
    orders = inside.nonzero().squeeze(1)
    phases = orders[:, None] * torch.arange(n_samples, dtype=torch.float64) * (2 * math.pi / n_samples)
    # Frequencies between zero and the highest stand for their negatives too.
    once = (orders == 0) | (2 * orders == n_samples)
    amplitudes = ((2.0 - once.to(phases)) / n_samples).sqrt()[:, None]
    return torch.cat([amplitudes * phases.cos(), (amplitudes * phases.sin())[~once]])
