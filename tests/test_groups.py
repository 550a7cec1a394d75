"""Groups: elements by atomic number, labels by first appearance."""

from __future__ import annotations

import pytest

from fluxan.errors import InputError
from fluxan.groups import assign_groups


def test_elements_come_by_atomic_number():
    indices, labels = assign_groups([53, 47, 47, 53])
    assert labels == ("Ag", "I")
    assert indices.tolist() == [1, 0, 0, 1]


def test_labels_come_by_first_appearance():
    indices, labels = assign_groups([1, 1, 1], ["slab", "adatom", "slab"])
    assert labels == ("slab", "adatom")
    assert indices.tolist() == [0, 1, 0]


@pytest.mark.parametrize(("groups", "message"), [("species", "not known"), (["a", "b"], "2 labels for 3 atoms")])
def test_bad_groups(groups, message):
    with pytest.raises(InputError, match=message):
        assign_groups([1, 1, 1], groups)
