"""The checked `pair_flux`: what it takes, and what it says about what it does not take."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

import fluxan
from fluxan.errors import InputError
from tests import oracles
from tests.kernels.cases import make_case

NAMES = ("receivers", "senders", "r_ij", "g_ij", "velocities", "groups")


def arguments(case, **changes):
    return {name: getattr(case, name) for name in NAMES} | {"n_groups": 3} | changes


@pytest.fixture
def case():
    return make_case(200)


def expected(case):
    return oracles.pair_flux(*case.edges, case.velocities, case.groups, 3)


def as_lists(case):
    return {name: getattr(case, name).tolist() for name in NAMES}


def as_tensors(case):
    tensors = {name: torch.from_numpy(getattr(case, name)) for name in NAMES}
    return tensors | {"r_ij": tensors["r_ij"].clone().requires_grad_()}


def as_odd_arrays(case):
    arrays = {name: getattr(case, name) for name in NAMES}
    wide = np.asfortranarray(np.hstack([case.r_ij, case.r_ij]))
    read_only = case.g_ij.copy()
    read_only.flags.writeable = False
    small = {name: arrays[name].astype("uint16") for name in ("senders", "receivers", "groups")}
    return arrays | small | {"r_ij": wide[:, :3], "g_ij": read_only}


@pytest.mark.parametrize("convert", [as_lists, as_tensors, as_odd_arrays])
def test_takes_what_numpy_reads(case, convert):
    flux = fluxan.pair_flux(**convert(case), n_groups=3)
    assert flux.shape == (3, 3, 3)
    np.testing.assert_allclose(flux, expected(case), rtol=1e-12)


def test_integers_where_real_numbers_are_expected(case):
    velocities = np.arange(60).reshape(20, 3)
    flux = fluxan.pair_flux(**arguments(case, velocities=velocities))
    np.testing.assert_allclose(flux, oracles.pair_flux(*case.edges, velocities, case.groups, 3), rtol=1e-12)


def test_empty_groups_and_no_edges():
    case = make_case(50)
    flux = fluxan.pair_flux(**arguments(case, n_groups=5))
    np.testing.assert_array_equal(flux[3:], 0)
    np.testing.assert_array_equal(flux[:, 3:], 0)
    none = {name: [] for name in ("senders", "receivers")} | {name: np.empty((0, 3)) for name in ("r_ij", "g_ij")}
    np.testing.assert_array_equal(fluxan.pair_flux(**arguments(case, **none)), np.zeros((3, 3, 3)))


def changed(array, place, value):
    array = array.copy()
    array[place] = value
    return array


CASE = make_case(200)
FAULTS = {
    "shape of r_ij": ({"r_ij": CASE.r_ij[:-1]}, "r_ij has shape (199, 3), expected (200, 3)"),
    "flat g_ij": ({"g_ij": CASE.g_ij.ravel()}, "g_ij has shape (600,), expected (200, 3)"),
    "scalar senders": ({"senders": 3}, "senders has shape (), expected (0,)"),
    "groups of other atoms": ({"groups": CASE.groups[:5]}, "groups has shape (5,), expected (20,)"),
    "sender too large": ({"senders": changed(CASE.senders, 7, 20)}, "senders of edge 7 (counted from 0) is 20"),
    "receiver negative": ({"receivers": changed(CASE.receivers, 9, -1)}, "receivers of edge 9 (counted from 0) is -1"),
    "group too large": (
        {"groups": changed(CASE.groups, 2, 3)},
        "groups of atom 2 (counted from 0) is 3, expected 0 to 2",
    ),
    "NaN": ({"r_ij": changed(CASE.r_ij, (11, 2), np.nan)}, "r_ij of edge 11 (counted from 0"),
    "infinity": ({"g_ij": changed(CASE.g_ij, (12, 0), np.inf)}, "g_ij of edge 12 (counted from 0"),
    "velocity": (
        {"velocities": changed(CASE.velocities, CASE.senders[0], np.nan)},
        "velocities of the sender of edge 0 (counted from 0",
    ),
    "overflow": ({"r_ij": np.full((200, 3), 1e200), "g_ij": np.full((200, 3), 1e200)}, "the flux overflows"),
    "floats as indices": ({"senders": CASE.senders + 0.5}, "senders has dtype float64, expected integers"),
    "complex": ({"g_ij": CASE.g_ij + 1j}, "g_ij has dtype complex128, expected real numbers"),
    "words": ({"velocities": "fast"}, "velocities has dtype <U4, expected real numbers"),
    "ragged": ({"r_ij": [[1.0, 2.0, 3.0], [1.0]]}, "r_ij cannot be read as an array of numbers"),
    "no groups": ({"n_groups": 0}, "n_groups is 0, expected at least 1"),
    "half a group": ({"n_groups": 2.5}, "n_groups is 2.5, expected a whole number"),
    "too many groups": ({"n_groups": 10**9}, "n_groups = 1000000000 does not fit in memory"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("fault", FAULTS)
def test_invalid_arguments_are_one_line_errors(fault):
    changes, message = FAULTS[fault]
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        fluxan.pair_flux(**arguments(CASE, **changes))
    assert "\n" not in str(caught.value)


def test_every_argument_has_its_name(case):
    with pytest.raises(TypeError):
        fluxan.pair_flux(*case.edges, case.velocities, case.groups, 3)
