"""The layout that everything else relies on: packages, direction of imports, start-up."""

from __future__ import annotations

import ast
import configparser
import importlib
import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

ROOT = Path(__file__).parents[1]


#: Rooms of the package from the ground up; a module imports those of its own room and of rooms above it in the list.
ROOMS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["fluxan"]["rooms"]
#: Results draw themselves by the public `fluxan.plot`, which lives below them: the one exception to the law.
PLOTTING = {("fluxan.correlation.spectral_density", "fluxan"), ("fluxan.greenkubo.result", "fluxan")}


class NoTyping(ast.NodeTransformer):
    """Drops what only type checkers see."""

    def visit_If(self, node):
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)


def imported_modules(path):
    """Top-level names and fluxan modules that a file imports, at the top or inside functions."""
    for node in ast.walk(NoTyping().visit(ast.parse(path.read_text(encoding="utf-8")))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files_of(folder):
    return sorted((ROOT / folder).rglob("*.py"))


def test_every_package_is_listed_in_setup_cfg():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    found = {".".join(f.parent.relative_to(ROOT).parts) for f in (ROOT / "fluxan").rglob("__init__.py")}
    assert listed == found | {"fluxan.kernels"}


def modules():
    """Every module of the package by its full name; the kernels as they are installed."""
    for folder, package in ((ROOT / "fluxan", "fluxan"), (ROOT / "kernels", "fluxan.kernels")):
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join((package, *parts)).removesuffix(".__init__"), path


def imports_of(module, path, known):
    """Modules of fluxan that a module imports: at the top, inside functions, and for types alone."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield from [name for name in (f"{base}.{alias.name}", base) if name in known][:1]


@pytest.fixture(scope="module")
def imported():
    """By module, all that it imports of fluxan."""
    found = dict(modules())
    imports = {module: set(imports_of(module, path, set(found))) - {module} for module, path in found.items()}
    assert all(other in imports[module] for module, other in PLOTTING)
    return {module: {other for other in imports[module] if (module, other) not in PLOTTING} for module in imports}


def room_of(module):
    """The room of a module: the name below fluxan."""
    return module.split(".")[1] if "." in module else "fluxan"


def test_every_module_has_a_room(imported):
    assert {room_of(module) for module in imported} == set(ROOMS)


def test_imports_point_up_the_list_of_rooms(imported):
    down = {
        (module, other)
        for module, others in imported.items()
        for other in others
        if ROOMS.index(room_of(other)) > ROOMS.index(room_of(module))
    }
    assert not down


def circles(imported):
    """Sets of modules each of which imports itself by way of the others."""
    names = sorted(imported)
    edges = [(names.index(module), names.index(other)) for module in names for other in imported[module]]
    graph = csr_array((np.ones(len(edges)), np.transpose(edges)), shape=(len(names), len(names)))
    labels = connected_components(graph, connection="strong")[1]
    found = [frozenset(np.array(names)[labels == label].tolist()) for label in np.unique(labels)]
    return {circle for circle in found if len(circle) > 1}


def test_imports_are_not_circular(imported):
    assert not circles(imported)


def test_circular_imports_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == {frozenset("bc")}


def test_no_two_modules_have_one_stem():
    named = [module.rpartition(".")[2] for module, path in modules() if path.stem not in {"__init__", "__main__"}]
    stems = Counter(named)
    assert [stem for stem, count in stems.items() if count > 1] == []


def definitions(kind):
    """All classes or functions of the package, with their files."""
    for path in (*files_of("fluxan"), *files_of("kernels")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, kind):
                yield path.relative_to(ROOT), node


def test_no_two_classes_have_one_name():
    names = Counter(node.name for _, node in definitions(ast.ClassDef))
    assert [name for name, count in names.items() if count > 1] == []


def test_functions_have_ten_parameters_at_most():
    """But for the command line, where they are options."""
    for path, node in definitions(ast.FunctionDef):
        arguments = node.args
        names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        names += [a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None]
        if path.parts[:2] != ("fluxan", "cli") and path.parts[0] != "kernels":
            assert len([name for name in names if name not in {"self", "cls"}]) <= 10, (path, node.name)


def test_modules_have_350_lines_at_most():
    for path in (*files_of("fluxan"), *files_of("kernels")):
        if path != ROOT / "kernels" / "__init__.py":
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 350, path


def test_kernels_import_numerics_only():
    standard = set(sys.stdlib_module_names)
    for path in files_of("kernels"):
        roots = {name.partition(".")[0] for name in imported_modules(path)}
        assert roots - standard <= {"numpy", "numba"}, path


def test_potentials_do_not_import_flux():
    for path in files_of("fluxan/potentials"):
        assert not [name for name in imported_modules(path) if name.startswith("fluxan.flux")], path


@pytest.mark.parametrize("package", ["matplotlib", "rich", "typer"])
def test_only_cli_and_report_format_output(package):
    for path in files_of("fluxan"):
        if path.relative_to(ROOT / "fluxan").parts[0] in {"cli", "report", "progress.py"}:
            continue
        assert package not in {name.partition(".")[0] for name in imported_modules(path)}, path


def test_readers_alone_open_trajectories():
    for path in files_of("fluxan"):
        if path.relative_to(ROOT / "fluxan").parts[0] == "trajectory":
            continue
        readers = [n for n in imported_modules(path) if n.startswith(("ase.io", "mdtraj", "chemfiles"))]
        assert not readers, path


@pytest.mark.parametrize("module", ["fluxan", "fluxan.cli.app"])
def test_start_up_imports_nothing_heavy(module):
    heavy = ("torch", "numba", "xarray", "vesin", "ase.io", "dask", "matplotlib", "mdtraj", "netCDF4", "scipy.signal")
    code = f"import sys, {module}; print(*[m for m in {heavy!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_no_module_bears_the_name_of_a_public_function():
    import fluxan

    modules = {path.stem for path in (ROOT / "fluxan").iterdir()}
    assert not modules & set(fluxan.__all__)
    assert all(getattr(fluxan, name) is not None for name in fluxan.__all__)


def dotted_names():
    """Names below fluxan that prose and docstrings speak of; import statements are not prose."""
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *files_of("fluxan"), *files_of("kernels")):
        text = path.read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if not line.lstrip().startswith(("from ", "import "))]
        yield from re.findall(r"\bfluxan(?:\.[A-Za-z_]\w*)+", "\n".join(lines))


def test_names_in_docs_are_reached_from_a_bare_import():
    files = {"fluxan.toml", "fluxan.h"}
    names = sorted(set(dotted_names()) - files)
    assert "fluxan.fluxfiles.read_flux" in names
    code = (
        "import functools, json, sys, fluxan\n"
        "for name in json.loads(sys.argv[1]):\n"
        "    try: functools.reduce(getattr, name.split('.')[1:], fluxan)\n"
        "    except AttributeError as error: print(name, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, json.dumps(names)], capture_output=True, text=True, check=True)
    assert done.stdout == ""


@pytest.mark.parametrize("name", ["fluxan.nothing", "fluxan.fluxfiles.nothing", "fluxan.kernels.nothing", "fluxan._x"])
def test_unknown_names_raise_attribute_errors(name):
    owner, _, last = name.rpartition(".")
    assert not hasattr(importlib.import_module(owner), last)
