"""The Dataset of a known conductivity, for tests of the mean virial."""

from tests.greenkubo.conftest import dataset

__all__ = ["dataset"]
