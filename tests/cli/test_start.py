"""How the command starts: version, module, completion, and one line for every slip."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import fluxan

COMMANDS = ("decompose", "kappa", "spectrum", "report", "md", "watch", "batch", "info", "convert")


def test_version(run):
    assert run("--version") == (0, f"{fluxan.__version__}\n", "")


@pytest.mark.parametrize("module", ["fluxan", "fluxan.cli"])
def test_as_a_module(module):
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == fluxan.__version__
    assert done.stderr == ""


def test_completion_for_bash(tmp_path):
    command = os.path.join(os.path.dirname(sys.executable), "fluxan")  # noqa: PTH118, PTH120
    environment = os.environ | {"COMP_WORDS": "fluxan de", "COMP_CWORD": "1", "_FLUXAN_COMPLETE": "complete_bash"}
    done = subprocess.run([command], capture_output=True, text=True, check=False, env=environment)
    assert {"decompose", "demo"} <= set(done.stdout.split())
    environment |= {"COMP_WORDS": "fluxan md --tru", "COMP_CWORD": "2"}
    done = subprocess.run([command], capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.split() == ["--trust-pickle"]
    # Named, since a test may have no shell above it that could be recognised.
    environment = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    shown = subprocess.run(
        [command, "--show-completion", "bash"], capture_output=True, text=True, check=False, env=environment
    )
    script = tmp_path / "completion.sh"
    script.write_text(shown.stdout)
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert "complete" in shown.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_usage_errors_are_one_line(command, run):
    for words, message in (([], "Missing argument"), (["x", "--nosuch"], "No such option: --nosuch")):
        status, out, said = run(command, *words)
        assert (status, out, said.count("\n")) == (2, "", 1)
        assert said.startswith(f"fluxan: error: {message}")
        assert f"{command} --help" in said


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text"])
def test_invalid_files_are_one_line(command, kind, tmp_path, run):
    path = tmp_path / "it.nc"
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_text("" if kind == "empty" else "hello\nworld\n")
    more = {
        "decompose": ["--model", "ar", "--output", tmp_path / "o.nc"],
        "md": ["--model", "ar", "--temperature", "30", "--output", tmp_path / "o.nc"],
        "convert": ["--output", tmp_path / "o.nc"],
        "report": ["--output", tmp_path / "o.html"],
        "watch": ["--once"],
    }.get(command, [])
    status, out, said = run(command, path, *more)
    assert (status, out, said.count("\n")) == (2, "", 1), said
    assert "it.nc" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["md", "shipped:ar-liquid", "--time", "abc"], "'--time'"),
        (["md", "shipped:ar-liquid", "--time", "1e300"], "more steps than can be run"),
        (["md", "shipped:ar-liquid", "--repeat", "1000"], "atoms are too many"),
        (["md", "shipped:ar-liquid", "--output", "{}", "--overwrite"], "it is a folder"),
        (["md", "shipped:ar-liquid", "--output", "{}/no/flux.nc"], "no such folder"),
        (["md", "shipped:ar-liquid", "--model", "mace:"], "names no file"),
        (["md", "shipped:ar-liquid", "--model", "{}"], "is no model file"),
        (["report", "{}", "--model", "ar"], "--trajectory"),
    ],
)
def test_invalid_values_are_one_line(words, message, tmp_path, run):
    status, out, said = run(*(word.format(tmp_path) for word in words))
    assert (status, out, said.count("\n")) == (2, "", 1), said
    assert message in said


def test_warnings_of_md_are_printed_once_in_one_line(tmp_path, run):
    words = ["--time", "2", "--thermalise", "0.1", "--flux-every", "4", "--output", tmp_path / "f.nc", "--quiet"]
    status, _, said = run("md", "shipped:ar-liquid", *words)
    assert status == 0
    lines = [line for line in said.splitlines() if "warning" in line]
    assert lines
    assert len(set(lines)) == len(lines)
    assert all(line.startswith("fluxan: warning: ") for line in lines)
    status, out, said = run("md", "shipped:ar-liquid", *words, "--resume", "--json")
    assert [line for line in said.splitlines() if "warning" in line] == lines  # also beside JSON
    assert out.count("\n") == 1
