"""The command line: one sub-command per module, errors in one line."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, Any

import typer

from fluxan.cli import batch, convert, decompose, demo, info, kappa, md, report, spectrum, watch
from fluxan.cli.wording import for_command_line
from fluxan.errors import FluxanError

app = typer.Typer(
    name="fluxan",
    help="Heat flux of machine-learned interatomic potentials: exact, split by element, with an error bar.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    decompose.decompose,
    kappa.kappa,
    spectrum.spectrum,
    report.report,
    md.md,
    watch.watch,
    batch.batch,
    info.info,
    convert.convert,
    demo.demo,
):
    app.command()(command)


@app.callback()
def options(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    """Heat flux of machine-learned interatomic potentials: exact, split by element, with an error bar."""
    if version:
        from fluxan import __version__

        typer.echo(__version__)
        raise typer.Exit
    _state["debug"] = debug


_state = {"debug": False}


def _print_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"fluxan: warning: {for_command_line(' '.join(str(message).split()))}", file=sys.stderr)


def main() -> None:
    """Run the command; an error a user can mend is one line on standard error, and exit status 2."""
    warnings.showwarning = _print_warning
    try:
        app()
    except FluxanError as error:
        if _state["debug"]:
            raise
        message = for_command_line(" ".join(str(error).split()))
        print(f"fluxan: error: {message}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("fluxan: interrupted; an output that was begun can be continued with --resume", file=sys.stderr)
        sys.exit(130)
