"""The C functions, called from a C program that embeds Python, give the bits of the kernels."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
import sysconfig

import numpy as np
import pytest
from fluxan.kernels import cpu

from fluxan.errors import InputError
from fluxan.md import capi
from tests.kernels.cases import make_case

PROGRAM = r"""
#include <Python.h>
#include <stdio.h>
#include "fluxan.h"

enum { EDGES = 777, ATOMS = 20, GROUPS = 3 };
static int64_t receivers[EDGES], senders[EDGES], groups[ATOMS];
static double r_ij[3 * EDGES], g_ij[3 * EDGES], velocities[3 * ATOMS];
static double flux[3 * GROUPS * GROUPS], virial[9 * ATOMS];

static void *address_of(PyObject *module, const char *name) {
    PyObject *address = PyObject_CallMethod(module, "address", "s", name);
    return address ? PyLong_AsVoidPtr(address) : NULL;
}

static int read_all(FILE *file, void *place, size_t width, size_t count) {
    return fread(place, width, count, file) == count;
}

int main(int argc, char **argv) {
    if (argc != 4) return 1;
    FILE *in = fopen(argv[1], "rb"), *out = fopen(argv[2], "wb");
    if (!in || !out) return 1;
    if (!read_all(in, receivers, 8, EDGES) || !read_all(in, senders, 8, EDGES) || !read_all(in, groups, 8, ATOMS) ||
        !read_all(in, r_ij, 8, 3 * EDGES) || !read_all(in, g_ij, 8, 3 * EDGES) ||
        !read_all(in, velocities, 8, 3 * ATOMS)) return 2;
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    PyConfig_SetBytesString(&config, &config.program_name, argv[3]);  /* whose packages to use */
    PyStatus started = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (PyStatus_Exception(started)) Py_ExitStatusException(started);
    PyObject *module = PyImport_ImportModule("fluxan.md.capi");
    if (!module) { PyErr_Print(); return 3; }
    fluxan_pair_flux pair_flux = (fluxan_pair_flux)address_of(module, "pair_flux");
    fluxan_atomic_virial atomic_virial = (fluxan_atomic_virial)address_of(module, "atomic_virial");
    if (!pair_flux || !atomic_virial) { PyErr_Print(); return 4; }
    PyThreadState *state = PyEval_SaveThread();  /* without the interpreter's lock */
    int32_t status = pair_flux(EDGES, ATOMS, GROUPS, receivers, senders, r_ij, g_ij, velocities, groups, flux);
    if (status != FLUXAN_OK) return 5;
    if (atomic_virial(EDGES, ATOMS, senders, r_ij, g_ij, virial) != FLUXAN_OK) return 6;
    receivers[5] = ATOMS;
    status = pair_flux(EDGES, ATOMS, GROUPS, receivers, senders, r_ij, g_ij, velocities, groups, flux);
    if (status != FLUXAN_BAD_INDEX) return 7;
    PyEval_RestoreThread(state);
    fwrite(flux, 8, 3 * GROUPS * GROUPS, out);
    fwrite(virial, 8, 9 * ATOMS, out);
    fclose(out);
    return Py_FinalizeEx() == 0 ? 0 : 8;
}
"""


def compiled(folder):
    """The program, linked as the running interpreter says."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler, "this test needs a C compiler"
    source, program = folder / "embed.c", folder / "embed"
    source.write_text(PROGRAM, encoding="utf-8")
    settings = sysconfig.get_config_vars()
    library = settings["LIBDIR"] if settings.get("Py_ENABLE_SHARED") else settings["LIBPL"]
    options = [f"-I{settings['INCLUDEPY']}", f"-I{capi.include()}", f"-L{library}", f"-Wl,-rpath,{library}"]
    libraries = [f"-lpython{settings['LDVERSION']}", *settings["LIBS"].split(), *settings["SYSLIBS"].split()]
    shared = settings["LINKFORSHARED"].split()
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *flags, *options, str(source), "-o", str(program), *shared, *libraries], check=True)
    return program


def kernel_results(case):
    flux, virial = np.empty((3, 3, 3)), np.empty((20, 3, 3))
    cpu.pair_flux(*case.edges, case.velocities, case.groups, flux)
    # One thread's sums, as the C functions run on the thread that calls them.
    cpu._atomic_virial_chunk(case.senders, case.r_ij, case.g_ij, 0, len(case.senders), virial)
    return np.concatenate([flux.ravel(), virial.ravel()])


def test_a_c_program_that_embeds_python(tmp_path):
    case = make_case(777)
    arrays = (case.receivers, case.senders, case.groups, case.r_ij, case.g_ij, case.velocities)
    (tmp_path / "input").write_bytes(b"".join(array.tobytes() for array in arrays))
    arguments = [compiled(tmp_path), tmp_path / "input", tmp_path / "output", sys.executable]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = np.frombuffer((tmp_path / "output").read_bytes())
    np.testing.assert_array_equal(found, kernel_results(case))


def call(name, sizes, *arrays):
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_int64] * len(sizes), *[ctypes.c_void_p] * len(arrays))
    return prototype(capi.address(name))(*sizes, *(a.ctypes.data for a in arrays))


def flux_arguments(case, flux):
    return case.receivers, case.senders, case.r_ij, case.g_ij, case.velocities, case.groups, flux


@pytest.mark.parametrize(("n_edges", "n_groups"), [(0, 1), (200_001, 2), (3000, 200)])
def test_pair_flux_is_the_kernels_over_chunks_and_groups(n_edges, n_groups):
    case = make_case(n_edges, n_atoms=300, n_groups=n_groups)
    flux, expected = np.full((n_groups, n_groups, 3), np.nan), np.empty((n_groups, n_groups, 3))
    assert call("pair_flux", (n_edges, 300, n_groups), *flux_arguments(case, flux)) == 0
    cpu.pair_flux(*case.edges, case.velocities, case.groups, expected)
    np.testing.assert_array_equal(flux, expected)


def test_status_codes_of_invalid_input():
    case, flux = make_case(50), np.full((3, 3, 3), 7.0)
    for sizes in ((-1, 20, 3), (50, -1, 3), (50, 20, 0), (50, 20, 2**15 + 1)):
        assert call("pair_flux", sizes, *flux_arguments(case, flux)) == 1
    assert call("atomic_virial", (-1, 20), case.senders, case.r_ij, case.g_ij, flux) == 1
    for name, value in (("receivers", 20), ("senders", -1), ("groups", 3)):
        broken = make_case(50)
        getattr(broken, name)[4] = value
        assert call("pair_flux", (50, 20, 3), *flux_arguments(broken, flux)) == 2
    assert (flux == 7.0).all()
    case.g_ij[3, 1] = np.inf
    assert call("pair_flux", (50, 20, 3), *flux_arguments(case, flux)) == 3
    assert call("atomic_virial", (50, 20), case.senders, case.r_ij, case.g_ij, np.empty((20, 3, 3))) == 3
    assert call("atomic_virial", (50, int(case.senders.max())), case.senders, case.r_ij, case.g_ij, flux) == 2


def test_unknown_name():
    with pytest.raises(InputError, match="no C function 'pair_fluks'; there are pair_flux, atomic_virial"):
        capi.address("pair_fluks")
