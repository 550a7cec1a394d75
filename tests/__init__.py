"""Tests; a package, so that `tests.` is not taken for another project's."""
