"""`fluxan scan-strength`."""

from __future__ import annotations

import csv
import json as json_module
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxan.cli.command_options import Json, Quiet

if TYPE_CHECKING:
    from fluxan.training.linear_scan import LinearScan
    from fluxan.training.network_scan import NetworkScan


def scan_strength(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="TOML file: data, model, loss, flux, fit, scan.")],
    *,
    linear: Annotated[bool, typer.Option("--linear", help="The linear model alone, without fits of networks.")] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Choose the strength of the heat-flux term: what it removes, and what it costs.

    A linear model gives every strength over 8 decades at once; networks are fitted at a few around its estimate. An
    interrupted scan goes on where it was.

    Example: fluxan scan-strength agi.toml
    """
    from fluxan.potentials.linear_potential import LinearPotential
    from fluxan.progress import progress_bar
    from fluxan.report.strength_figure import draw_scan
    from fluxan.training.linear_scan import scan_linear
    from fluxan.training.network_scan import scan_networks
    from fluxan.training.training_config import read_training_config
    from fluxan.training.training_job import load_data, make_linear

    settings = read_training_config(config)
    data = load_data(settings.data)
    model = make_linear(settings.model, data.train)
    with progress_bar("linear model", total=len(data.train), show=not quiet) as bar:
        found = scan_linear(model, data.train, data.validation, settings.weights, progress=bar.show)
    networks = None
    if not linear and settings.model["kind"] != LinearPotential.kind:
        total = settings.scan.seeds * (settings.scan.strengths + 2)
        with progress_bar("networks", total=total, show=not quiet, unit="fits") as bar:
            networks = scan_networks(config.absolute(), settings, found.estimate.strength, progress=bar.show)
    settings.folder.mkdir(parents=True, exist_ok=True)
    files = [settings.folder / "scan.csv", settings.folder / "scan.png"]
    _write_table(files[0], found, networks)
    draw_scan(found, networks).savefig(files[1], dpi=150)
    facts = _facts(found, networks) | {"files": [str(path) for path in files]}
    typer.echo(json_module.dumps(facts) if json else _report(found, networks, files))


def _write_table(path: Path, linear: LinearScan, networks: NetworkScan | None) -> None:
    """One row per model, strength and seed."""
    terms = list(linear.validation)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["model", "seed", "strength", *(f"validation {term}" for term in terms)])
        for k, strength in enumerate(linear.strengths):
            writer.writerow(["linear", "", repr(float(strength)), *(float(linear.validation[t][k]) for t in terms)])
        if networks is None:
            return
        levels: list[tuple[float, dict[str, Any], tuple[int, ...]]] = [(0.0, networks.baseline, ())]
        levels += [(float(p), networks.errors, (k,)) for k, p in enumerate(networks.strengths)]
        for strength, errors, index in levels:
            for seed in range(len(networks.baseline["flux"])):
                values = [float(errors[t][(*index, seed)]) if t in errors else "" for t in terms]
                writer.writerow(["network", seed, repr(strength), *values])


def _facts(linear: LinearScan, networks: NetworkScan | None) -> dict[str, Any]:
    found = linear.open_directions
    facts: dict[str, Any] = {
        "strength": (networks or linear).estimate.strength,
        "linear": asdict(linear.estimate) | {"baseline": linear.baseline, "spread": linear.spread},
        "open_directions": len(found.freedom),
        "undetermined_directions": found.n_undetermined,
    }
    if networks is not None:
        facts["networks"] = asdict(networks.estimate)
    return facts


def _report(linear: LinearScan, networks: NetworkScan | None, files: list[Path]) -> str:
    found = linear.open_directions
    left_open = f"{len(found.freedom)} directions of its weights open, {found.n_undetermined} have no effect at all"
    lines = [
        f"linear model: {linear.estimate}",
        f"energies, forces and virials leave {left_open}",
        "",
        f"{'term':<10}{'RMSE':>12}{'spread':>12}{'at strength':>14}",
    ]
    place = int(abs(linear.strengths / linear.estimate.strength - 1).argmin())
    for term, value in linear.baseline.items():
        lines.append(f"{term:<10}{value:>12.4g}{linear.spread[term]:>12.2g}{linear.validation[term][place]:>14.4g}")
    if networks is not None:
        lines += ["", f"networks: {networks.estimate}", ""]
        lines += [f"{'strength':<12}{'flux power':>12}{'energy':>10}{'forces':>10}{'virial':>10}"]
        lines += _network_rows(networks)
    strength = (networks or linear).estimate.strength
    lines += ["", f"set loss.flux = {strength:.3g} and train", f"written: {', '.join(map(str, files))}"]
    return "\n".join(lines)


def _network_rows(networks: NetworkScan) -> list[str]:
    """Means over seeds, without the term first."""
    rows = [("none", {name: values.mean() for name, values in networks.baseline.items()})]
    for k, strength in enumerate(networks.strengths):
        rows.append((f"{strength:.3g}", {name: values[k].mean() for name, values in networks.errors.items()}))
    return [
        f"{name:<12}{values['flux'] ** 2:>12.4g}"
        + "".join(f"{values[t]:>10.4g}" if t in values else f"{'':>10}" for t in ("energy", "forces", "virial"))
        for name, values in rows
    ]
