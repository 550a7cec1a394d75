"""Null space of structures and classes: known vectors, words, and candidates that fix them."""

from __future__ import annotations

import numpy as np
import pytest

from fluxan.errors import InputError
from fluxan.training.undetermined_offsets import find_offset_space

SILICON = ("Si with 3 neighbours", "Si with 4 neighbours"), (14, 14)


def test_one_thickness_leaves_the_offset_of_surface_against_inside():
    space = find_offset_space(*SILICON, np.array([[8, 24]] * 5))
    (only,) = space.undetermined
    assert only.coefficients == pytest.approx({SILICON[0][0]: 1.0, SILICON[0][1]: -1 / 3})
    assert str(only) == "+1 on 'Si with 3 neighbours', −0.33 on 'Si with 4 neighbours'"
    assert only.response < 1e-12
    np.testing.assert_allclose(np.abs(space.null_space), [[3 / 10**0.5, 1 / 10**0.5]])


@pytest.mark.parametrize("second", [[8, 40], [0, 2], [8, 28]])
def test_a_second_thickness_or_the_crystal_leaves_none(second):
    space = find_offset_space(*SILICON, np.array([[8, 24], second]))
    assert space.undetermined == []
    assert space.null_space.shape == (0, 2)


def test_energies_tell_what_an_offset_changes():
    """Singular values are changes of the energy per atom, by brute force."""
    counts = np.array([[8, 24], [8, 40], [0, 2]])
    space = find_offset_space(*SILICON, counts)
    angles = np.linspace(0, np.pi, 20001)
    offsets = np.stack([np.cos(angles), np.sin(angles)])
    changes = np.sqrt(np.mean((counts / counts.sum(axis=1, keepdims=True) @ offsets) ** 2, axis=0))
    np.testing.assert_allclose(space.singular_values, [changes.max(), changes.min()], rtol=1e-5)


def test_one_stoichiometry_leaves_an_offset_per_element():
    names, elements = ("Ag with 4 I neighbours", "I with 4 Ag neighbours"), (47, 53)
    (only,) = find_offset_space(names, elements, np.array([[4, 4], [16, 16]])).undetermined
    assert only.by_element
    assert only.coefficients == pytest.approx({names[0]: 1.0, names[1]: -1.0})
    assert not find_offset_space(names, elements, np.array([[4, 4], [16, 0]])).undetermined


def test_rows_have_few_classes_each():
    names = tuple("abcd")
    spaces = find_offset_space(names, (1, 1, 2, 2), np.array([[2, 2, 0, 0], [0, 0, 1, 3]])).undetermined
    assert [str(one) for one in spaces] in (
        ["+1 on 'a', −1 on 'b'", "+1 on 'c', −0.33 on 'd'"],
        ["+1 on 'c', −0.33 on 'd'", "−1 on 'a', +1 on 'b'"],
        ["+1 on 'c', −0.33 on 'd'", "+1 on 'a', −1 on 'b'"],
    )
    assert not any(one.by_element for one in spaces)


def test_rare_exceptions_do_not_determine_an_offset():
    counts = np.array([[8, 24]] * 200 + [[9, 23]])
    assert len(find_offset_space(*SILICON, counts).undetermined) == 1
    assert not find_offset_space(*SILICON, counts, tolerance=1e-4).undetermined


def test_candidates_that_fix_most_come_first():
    space = find_offset_space(*SILICON, np.array([[8, 24]]))
    names = ["the same", "12 layers", "crystal", "clusters"]
    counts = np.array([[8, 24, 0], [8, 40, 0], [0, 2, 0], [0, 4, 16]])
    ranked = space.rank(names, counts)
    assert [one.name for one in ranked] == ["crystal", "the same", "12 layers", "clusters"]
    assert ranked[0].score == ranked[0].alone == pytest.approx(1 / 10**0.5)
    assert [one.score for one in ranked[1:3]] == pytest.approx([0.0, 0.0], abs=1e-12)
    assert ranked[2].alone == pytest.approx((40 - 24) / 48 / 10**0.5)
    assert ranked[3].is_strange
    assert ranked[3].strangers == pytest.approx(0.8)


def test_two_combinations_need_two_candidates():
    names = tuple("abc")
    space = find_offset_space(names, (1, 1, 1), np.array([[1, 1, 1]]))
    ranked = space.rank(["a again", "a", "b"], np.array([[9, 1, 0], [1, 0, 0], [0, 1, 0]]))
    assert {ranked[0].name, ranked[1].name} == {"a", "b"}
    assert ranked[1].score > 0.5
    assert ranked[2].score < 1e-12


def test_a_tolerance_that_is_refused():
    with pytest.raises(InputError, match="tolerance"):
        find_offset_space(*SILICON, np.array([[8, 24]]), tolerance=0.0)
