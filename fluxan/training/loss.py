"""Loss terms: energy per atom, forces, virial per atom, and the power of the heat flux.

With weights p and means over frames and atoms, the loss is

``p_E/2 ⟨(ΔU/N)²⟩ + p_F/2 ⟨|ΔF|²⟩/3 + p_W/2 ⟨‖ΔΞ‖²/N²⟩/9 + p_Q/2 ⟨|J|²/N⟩``

with Ξ the virial. The first three are those of every potential; the last is the regularisation of K. Shimamura,
A. Koura, F. Shimojo (arXiv:2204.01405): energies, forces and virials leave the flux partly open, and it selects the
model with the least. Division by N makes it independent of the size of the cell.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from fluxan.errors import InputError
from fluxan.training.power import mean_square_flux, require_temperature, without_mean_virial
from fluxan.training.spectral_band import band_power

if TYPE_CHECKING:
    from fluxan.training.batches import Batch
    from fluxan.training.prediction import Prediction

#: Labels that each term needs of every frame.
NEEDS = {"energy": "energy", "forces": "forces", "virial": "virial"}
#: Forms of the flux term.
FORMS = ("thermal", "velocities", "band", "reference")
#: Terms in the order of reports.
TERMS = ("energy", "forces", "virial", "flux")


@dataclass(frozen=True, slots=True)
class FluxTerm:
    """Which power of the heat flux is a term of the loss.

    Attributes
    ----------
    form : {"thermal", "velocities", "band", "reference"}
        "thermal": ⟨|J_pot|²⟩ over Maxwell-Boltzmann velocities in closed form; "velocities": |J_pot|² of the frames'
        own velocities; "band": the same between two frequencies, each batch being consecutive frames; "reference":
        |J_pot − J_ref|² against the frames' flux labels.
    temperature : float or None
        K; "thermal" needs it.
    by_element : bool
        Add up the mean squares of the fluxes that the elements carry, instead of that of the total flux.
    gauge_fixed : bool
        Take each element's mean virial out first.
    fixed_momentum : bool
        Whether the total momentum is zero; for "thermal".
    band : (float, float) or None
        Frequencies, THz; for "band".
    time_step : float or None
        Interval between consecutive frames, ps; for "band".
    window : int
        Number of consecutive frames that are transformed together; for "band".
    """

    form: str = "thermal"
    temperature: float | None = None
    by_element: bool = False
    gauge_fixed: bool = False
    fixed_momentum: bool = True
    band: tuple[float, float] | None = None
    time_step: float | None = None
    window: int = 64

    def __post_init__(self) -> None:
        """Refuse combinations without a meaning."""
        if self.form not in FORMS:
            raise InputError(f"flux form {self.form!r} is not known; expected one of {', '.join(FORMS)}")
        if self.form == "thermal":
            if self.temperature is None:
                raise InputError("the flux term needs a temperature, K, for its Maxwell-Boltzmann velocities")
            require_temperature(self.temperature)
        if self.form == "band" and (self.band is None or self.time_step is None or self.window < 2):
            raise InputError("the flux term over a band needs band, THz, the time between frames, and a window")
        if self.form == "reference" and (self.by_element or self.gauge_fixed):
            raise InputError("a reference flux is compared as it is: neither by element nor without mean virials")

    @property
    def sampling(self) -> tuple[float, tuple[float, float]]:
        """Interval between frames, ps, and the band, THz."""
        if self.band is None or self.time_step is None:
            raise InputError("only a flux term over a band has a sampling")
        return self.time_step, self.band

    @property
    def label(self) -> str | None:
        """Label that every frame must have."""
        return {"thermal": None, "reference": "flux"}.get(self.form, "velocities")


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Weights of the terms of the loss; 0 leaves a term out.

    Attributes
    ----------
    energy, forces, virial : float
        Of the mean squares in eV², (eV/Å)² and eV².
    flux : float
        p_Q, of ⟨|J|²⟩/N in (eV Å/ps)².
    term : FluxTerm or None
        Form of the flux term; without one the flux is neither trained nor reported.
    """

    energy: float = 1.0
    forces: float = 1.0
    virial: float = 1.0
    flux: float = 0.0
    term: FluxTerm | None = None

    def __post_init__(self) -> None:
        """Refuse negative weights, and a flux weight without a term."""
        for name in TERMS:
            weight = getattr(self, name)
            if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < float("inf"):
                raise InputError(f"loss weight {name} is {weight!r}; expected a number, zero or more")
        if not any(getattr(self, name) for name in TERMS[:3]):
            raise InputError("all weights of energy, forces and virial are zero; there is nothing to fit")
        if self.flux and self.term is None:
            raise InputError("the flux has a weight but no form; give its temperature or another form")

    def needs(self) -> tuple[str, ...]:
        """Labels that every frame must have."""
        labels = [label for name, label in NEEDS.items() if getattr(self, name)]
        return tuple(labels + ([self.term.label] if self.term and self.term.label else []))

    def without_flux(self) -> LossWeights:
        """The same weights without a flux term."""
        return replace(self, flux=0.0, term=None)


def mean_squares(prediction: Prediction, batch: Batch, weights: LossWeights) -> dict[str, torch.Tensor]:
    """Mean square of each term over the frames and atoms of a batch, differentiable.

    Returns
    -------
    dict of str to scalar tensor
        "energy" and "virial", eV² per atom², "forces", eV²/Å², and "flux", (eV Å/ps)² per atom, those that have a
        weight or a label.
    """
    terms = {}
    if batch.has["energy"].any():
        terms["energy"] = _mean(((prediction.energies - batch.energies) / batch.counts).square(), batch.has["energy"])
    if batch.has["forces"].any():
        squares = (prediction.forces - batch.forces).square().mean(dim=1)
        terms["forces"] = _mean(squares, batch.has["forces"][batch.frame_of_atom])
    if batch.has["virial"].any():
        excess = (prediction.virials - batch.virials) / batch.counts[:, None, None]
        terms["virial"] = _mean(excess.square().mean(dim=(1, 2)), batch.has["virial"])
    if weights.term is not None:
        terms["flux"] = (frame_flux_power(prediction, batch, weights.term) / batch.counts).mean()
    return terms


def total_loss(terms: dict[str, torch.Tensor], weights: LossWeights) -> torch.Tensor:
    """Half the weighted sum of the mean squares."""
    weighted = [0.5 * getattr(weights, name) * value for name, value in terms.items() if getattr(weights, name)]
    return torch.stack(weighted).sum()


def frame_flux_power(prediction: Prediction, batch: Batch, term: FluxTerm) -> torch.Tensor:
    """Power of the flux of each frame in the form that a term asks for, (n_frames,) (eV Å/ps)²."""
    virial = prediction.atomic_virial
    if virial is None:
        raise InputError("the flux term needs atomic virials; predict with flux=True")
    frames = batch.frame_of_atom
    if term.gauge_fixed:
        virial = without_mean_virial(virial, frames, batch.species, batch.n_frames)
    if term.form == "thermal":
        return mean_square_flux(
            virial,
            batch.masses,
            frames,
            batch.n_frames,
            temperature=require_temperature(term.temperature),
            carriers=batch.species if term.by_element else None,
            fixed_momentum=term.fixed_momentum,
        )
    flux = sampled_flux(virial, batch, by_element=term.by_element)
    if term.form == "reference":
        flux = flux - batch.fluxes[:, None, :]
    if term.form == "band":
        # The power of the band is that of the whole batch; each frame is given an equal share.
        return band_power(flux, *term.sampling) / batch.n_frames * torch.ones_like(batch.counts)
    return flux.square().sum(dim=(1, 2))


def sampled_flux(virial: torch.Tensor, batch: Batch, *, by_element: bool) -> torch.Tensor:
    """Virial flux of the frames' velocities by carrier, (n_frames, n_carriers, 3) eV Å/ps."""
    carried = torch.einsum("jab,jb->ja", virial, batch.velocities)
    n_groups = int(batch.species.max()) + 1 if by_element else 1
    slots = batch.frame_of_atom * n_groups + (batch.species if by_element else 0)
    return virial.new_zeros(batch.n_frames * n_groups, 3).index_add(0, slots, carried).reshape(-1, n_groups, 3)


def _mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over the entries that have a label."""
    return values[mask].mean()
