"""The command line: one sub-command per module, errors in one line."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, Any, Final, NoReturn

import typer

from fluxan.cli.batch_command import batch
from fluxan.cli.convert_command import convert
from fluxan.cli.decompose_command import decompose
from fluxan.cli.defects_command import defects
from fluxan.cli.demo_command import demo
from fluxan.cli.export_command import export
from fluxan.cli.extrapolate_command import extrapolate
from fluxan.cli.hnemd_command import hnemd
from fluxan.cli.info_command import info
from fluxan.cli.kappa_command import kappa
from fluxan.cli.learn_command import learn
from fluxan.cli.mapping_command import mapping
from fluxan.cli.md_command import md
from fluxan.cli.report_command import report
from fluxan.cli.scan_strength_command import scan_strength
from fluxan.cli.shc_command import shc
from fluxan.cli.spectrum_command import spectrum
from fluxan.cli.standard_error import begin, print_warning
from fluxan.cli.train_command import train
from fluxan.cli.watch_command import watch
from fluxan.cli.wording import for_command_line, speak_for
from fluxan.errors import FluxanError

app = typer.Typer(
    name="fluxan",
    help="Heat flux of machine-learned interatomic potentials: exact, split by element, with an error bar.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    decompose,
    kappa,
    extrapolate,
    spectrum,
    shc,
    report,
    md,
    hnemd,
    watch,
    batch,
    train,
    scan_strength,
    mapping,
    learn,
    defects,
    info,
    convert,
    export,
    demo,
):
    app.command()(command)


def _print_version(version: bool) -> None:
    if version:
        from fluxan import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Heat flux of machine-learned interatomic potentials: exact, split by element, with an error bar."""
    _state["debug"] = debug
    commands: Any = context.command
    speak_for(commands.commands[context.invoked_subcommand])


_state = {"debug": False}
#: Exit status after Ctrl-C.
_INTERRUPTED: Final = 130


def main() -> None:
    """Run the command; a user error is printed in one line on standard error, with exit status 2."""
    begin()
    warnings.showwarning = print_warning
    try:
        status = app(standalone_mode=False) or 0
    except FluxanError as error:
        if _state["debug"]:
            raise
        _fail(str(error))
    except MemoryError as error:
        _fail(f"there is not enough memory: {error or 'give it fewer atoms or frames'}")
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        _refuse_usage(error)
    if status == _INTERRUPTED:
        print("fluxan: interrupted; an unfinished output can be continued with --resume", file=sys.stderr)
    sys.exit(status)


def _refuse_usage(error: Any) -> NoReturn:
    """Print typer's error about the command line in one line, or the help where there are no arguments."""
    text = " ".join(error.format_message().split())
    if error.ctx is None or "Usage:" in text:
        error.show()
        sys.exit(2)
    _fail(f"{text.rstrip('.')}; {error.ctx.command_path} --help lists what there is")


def _fail(message: str) -> NoReturn:
    print(f"fluxan: error: {for_command_line(' '.join(message.split()))}", file=sys.stderr)
    sys.exit(2)
