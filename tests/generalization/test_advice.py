"""Which advice follows from which errors."""

from __future__ import annotations

import pytest

from fluxan.generalization.advice import advice_on
from fluxan.generalization.study_config import read_study_config
from tests.generalization.study_helper import write_study


def record(observations=("energy", "forces"), parts=(0.1, 0.01, 0.01), test=0.02, **values):
    names = ("core", "force_constants", "anharmonic")
    return {
        "defect": "vacancy",
        "line": False,
        "cells": 2,
        "L": 3.8,
        "observations": list(observations),
        "lattice": "reference",
        "lattice_ratio": 1.0,
        "geometry": 0.1,
        "energy": 0.2,
        "reason": "",
        "fit": dict.fromkeys(("energy", "forces", "force_constants", "virial"), 0.02),
        "test": {"forces": test},
        "parts": dict(zip(names, parts, strict=True)),
        **values,
    }


def advice(tmp_path, records, *changes):
    return advice_on(read_study_config(write_study(tmp_path, *changes)), records)


@pytest.mark.parametrize(
    ("given", "limit", "changes"),
    [
        (record(parts=(0.01, 0.1, 0.01)), "force_constants",
         {"observations": {"sets": [["energy", "forces", "force_constants"]]}}),
        (record(("energy", "forces", "force_constants"), parts=(0.01, 0.1, 0.01)), "force_constants",
         {"observations": {"sets": [["energy", "forces", "force_constants", "virial"]]}}),
        (record(parts=(0.01, 0.02, 0.1)), "anharmonic", {"training": {"cells": [3]}, "evaluation": {"cell": 6}}),
        (record(("energy",)), "core", {"observations": {"sets": [["energy", "forces"]]}}),
        (record(test=0.05), "core", {"training": {"frames": 6}}),
        (record(), "core", {"model": {"n_radial": 8, "zetas": [1.0, 2.0, 4.0, 8.0]},
                            "training": {"displacement": 0.025}}),
    ],
)  # fmt: skip
def test_the_largest_part_is_named_with_what_lowers_it(tmp_path, given, limit, changes):
    (found,) = advice(tmp_path, [given])
    assert found.limit == limit
    assert found.changes == changes
    assert found.text.startswith("vacancy, ")


def test_a_weight_is_raised_where_everything_is_observed(tmp_path):
    everything = ("energy", "forces", "force_constants", "virial")
    (found,) = advice(tmp_path, [record(everything, parts=(0.0, 0.1, 0.0))])
    assert found.changes["observations"]["weights"]["force_constants"] == 10
    assert "Raise the weight of force_constants to 10" in found.text


def test_the_defect_has_to_be_in_the_training_set(tmp_path):
    (found,) = advice(tmp_path, [record()], ("[2]", '[2]\naround = "crystal"'))
    assert found.changes["training"]["around"] == "defect"


def test_the_best_model_is_the_one_that_is_spoken_of(tmp_path):
    better = record(parts=(0.0, 0.05, 0.0), geometry=0.05, cells=3)
    (found,) = advice(tmp_path, [record(), better])
    assert found.limit == "force_constants"


def test_what_was_tried_in_vain_is_not_advised(tmp_path):
    fewer = record(parts=(0.0, 0.05, 0.0), geometry=0.05)
    tried = record(("energy", "forces", "force_constants"), geometry=0.06)
    (found,) = advice(tmp_path, [fewer, tried])
    assert "FC too has been tried, and is no better" in found.text
    assert found.limit == "core"
    (found,) = advice(tmp_path, [record(parts=(0.0, 0.0, 0.1)), record(cells=3, geometry=0.2)])
    assert "A larger cell has been tried" in found.text


def test_what_the_reference_cannot_give_is_not_advised(tmp_path):
    poor = record(parts=(0.01, 0.1, 0.01)) | {"fit": {"energy": 0.1, "forces": 0.02}}
    (found,) = advice(tmp_path, [poor])
    assert "The reference gives no force_constants" in found.text
    assert "observations" not in found.changes


def test_another_lattice_constant_is_told_first(tmp_path):
    own = record(lattice="own", lattice_ratio=1.012, parts=(1, 1, 1)) | {"parts": None}
    lattice, core = advice(tmp_path, [record(), own])
    assert lattice.limit == "lattice"
    assert "it is +1.20 % off" in lattice.text
    assert lattice.changes == {"observations": {"sets": [["energy", "forces", "virial"]]}}
    assert core.limit == "core"


@pytest.mark.parametrize(
    ("observations", "around", "word"),
    [(("energy",), "defect", "Fit forces too"), (("energy", "forces"), "crystal", "No training cell"),
     (("energy", "forces"), "defect", "Displace atoms of the training cells by more, 0.1 A")],
)  # fmt: skip
def test_models_in_another_basin(tmp_path, observations, around, word):
    lost = record(observations, geometry=None, reason="model: 1 atom left its site") | {"parts": None}
    (found,) = advice(tmp_path, [lost], ("[2]", f'[2]\naround = "{around}"'))
    assert found.limit == "basin"
    assert "1 atom left its site" in found.text
    assert word in found.text
