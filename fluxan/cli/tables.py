"""Tables on standard output."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from fluxan.contribution import contributions

if TYPE_CHECKING:
    from pathlib import Path

    import xarray


def print_contributions(dataset: xarray.Dataset, output: Path, *, json: bool = False) -> None:
    """Print the result of a decomposition, as text or as JSON."""
    parts = contributions(dataset)
    n_frames = dataset.sizes["time"]
    if json:
        facts = {"output": str(output), "n_frames": n_frames, "self_check": dataset.attrs["self_check"]}
        typer.echo(json_module.dumps(facts | {"contributions": [asdict(part) for part in parts]}))
        return
    temperature = float(dataset["temperature"].mean())
    shown = f"{temperature:.1f}" if temperature >= 1 or not temperature else f"{temperature:.2g}"
    typer.echo(f"{n_frames} frames, T = {shown} K, written to {output}")
    typer.echo(f"route {dataset.attrs['route']}: {dataset.attrs['self_check']}")
    typer.echo("")
    typer.echo(f"{'part':<12}{'owner':<8}{'carrier':<10}{'rms (eV Å/ps)':>14}{'share of J²':>14}")
    for part in parts:
        row = (
            f"{part.part:<12}{part.owner or '-':<8}{part.carrier:<10}{part.mean_square**0.5:>14.4g}{part.share:>14.1%}"
        )
        typer.echo(row)
    typer.echo(f"{'sum':<44}{sum(part.share for part in parts):>14.1%}")


def aligned(header: list[str], rows: list[list[str]]) -> str:
    """Columns, each as wide as its widest cell; units stand below the names."""
    heads = [name.partition(" (") for name in header]
    lines = [[head for head, _, _ in heads], [mark.strip() + unit for _, mark, unit in heads], *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
