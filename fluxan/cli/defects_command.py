"""`fluxan defects`."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxan.cli.command_options import Json
from fluxan.cli.tables import aligned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxan.generalization.advice import Advice
    from fluxan.generalization.study_table import Record, Slope


def defects(
    config: Annotated[
        Path,
        typer.Argument(metavar="CONFIG", help="TOML file: reference, crystal, defects, model, training, observations."),
    ],
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Go on in a folder that was begun.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print no line on what is being done.")] = False,
    json: Json = False,
) -> None:
    """Tell whether a model holds for defects: errors against training size and observations, and what limits them.

    Example: fluxan defects silicon.toml; interrupted at any time, fluxan defects silicon.toml --resume goes on.
    """
    from fluxan.active.label_worker import make_calculator
    from fluxan.active.reference_settings import ReferenceSettings
    from fluxan.generalization.advice import advice_on
    from fluxan.generalization.defect_study import run_study
    from fluxan.generalization.study_config import read_study_config
    from fluxan.generalization.study_table import slopes_of, write_table
    from fluxan.md.ase.calculator import FluxanCalculator
    from fluxan.report.defects_figure import draw_defects
    from fluxan.training.setting_tables import read_record

    settings = read_study_config(config)
    reference = make_calculator(read_record(ReferenceSettings, settings.reference, "reference").described())

    def say(line: str) -> None:
        if not quiet:
            typer.echo(line, err=True)

    records = run_study(settings, reference, FluxanCalculator, resume=resume, say=say)
    advice, slopes = advice_on(settings, records), slopes_of(records)
    table, figure = settings.folder / "errors.csv", settings.folder / "errors.png"
    write_table(records, table)
    draw_defects(records).savefig(figure, dpi=150)
    facts = {"folder": str(settings.folder), "table": str(table), "figure": str(figure)}
    typer.echo(_as_json(facts, records, slopes, advice) if json else _report(facts, records, slopes, advice))


def _report(facts: dict[str, str], records: Sequence[Record], slopes: Sequence[Slope], advice: Sequence[Advice]) -> str:
    from fluxan.generalization.study_table import letters, table_of

    lines = [aligned(*table_of(records))]
    unusable = [
        f"{r['defect']}, {letters(r['observations'])} at L = {r['L']:.1f} A, lattice constant: {r['lattice']}: "
        + r["reason"]
        for r in records
        if r["reason"]
    ]
    lines += ["", "not compared:", *(f"  {reason}" for reason in unusable)] if unusable else []
    rows = [
        [s.defect, s.observations, s.lattice, s.quantity, f"{s.predicted:g}",
         f"{s.law.exponent:.2f} ({s.law.lower:.2f} to {s.law.upper:.2f})", s.verdict]
        for s in slopes if s.law is not None
    ]  # fmt: skip
    if rows:
        header = ["defect", "fitted", "lattice", "error", "predicted", "exponent (95 %)", "verdict"]
        lines += ["", aligned(header, rows)]
    none = ["none: no error could be split into its parts, which needs the lattice constant of the reference"]
    lines += ["", "advice:", *(f"  {text}" for text in [one.text for one in advice] or none)]
    return "\n".join([*lines, "", f"table: {facts['table']}", f"figure: {facts['figure']}"])


def _as_json(
    facts: dict[str, str], records: Sequence[Record], slopes: Sequence[Slope], advice: Sequence[Advice]
) -> str:
    content: dict[str, Any] = dict(facts)
    content["records"] = list(records)
    content["slopes"] = [
        {**s._asdict(), "law": None if s.law is None else s.law._asdict(), "verdict": s.verdict} for s in slopes
    ]
    content["advice"] = [one._asdict() for one in advice]
    return json_module.dumps(content)
