"""The cache of compiled kernels follows the sources, and a machine without a place for it still works."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from fluxan.kernels import jit


def test_cache_key_changes_with_any_source_file(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "b.py").write_text("y = 1\n")
    before = jit.source_hash(tmp_path)
    (tmp_path / "b.py").write_text("y = 2\n")
    assert jit.source_hash(tmp_path) != before


def test_cache_goes_to_the_users_own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    folder = jit.cache_folder()
    assert folder is not None
    assert folder.is_relative_to(tmp_path)


def test_no_cache_where_nothing_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    assert jit.cache_folder() is None


PROGRAM = """
import numpy as np
from fluxan.kernels import cpu

sums = np.empty((3, 1, 3))
cpu.convection(np.ones((1, 3)), np.ones(1), np.ones(1), np.zeros(1, dtype=int), 2.0, *sums)
print(sums[0, 0, 0])
"""


def run(cache):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "NUMBA_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def test_kernels_work_without_and_with_a_cache(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    assert run(tmp_path / "file") == 3.0
    assert run(tmp_path / "cache") == 3.0
    compiled = list((tmp_path / "cache").rglob("*.nbc"))
    assert compiled
    assert run(tmp_path / "cache") == 3.0
    assert sorted((tmp_path / "cache").rglob("*.nbc")) == sorted(compiled)  # nothing compiled again


THREADS = """
import torch
from fluxan.kernels import jit

torch.set_num_threads(2)  # which the start of Numba's threads must leave alone
print(jit.n_threads(), torch.get_num_threads())
"""


@pytest.mark.parametrize(("omp", "numba", "expected"), [("1", None, "1 2"), ("1", "2", "2 2"), ("2", "1", "1 2")])
def test_kernels_use_the_requested_number_of_threads(omp, numba, expected):
    environment = os.environ | {"OMP_NUM_THREADS": omp}
    environment.pop("NUMBA_NUM_THREADS", None)
    environment |= {} if numba is None else {"NUMBA_NUM_THREADS": numba}
    command = [sys.executable, "-c", THREADS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected
