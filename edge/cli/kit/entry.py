"""How every command of the product starts and ends: logging, one-line errors, exit codes."""

from __future__ import annotations

import logging
import sys

import typer

from edge.errors import AffectdError, ModelError

PACKAGES = ("edge", "calibrate", "export")


def set_debug(wanted: bool) -> None:
    """Let the product's own loggers say everything, and errors show their traceback."""
    if wanted:
        for package in PACKAGES:
            logging.getLogger(package).setLevel(logging.DEBUG)


def new_app(name: str, help_text: str, epilog: str) -> typer.Typer:
    """Return an empty command with the habits that all of ours share."""
    return typer.Typer(
        name=name,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
        help=help_text,
        epilog=epilog,
    )


def examples(*lines: str) -> str:
    """Return the examples that end a command's help."""
    return "\n\n".join(["[bold]Examples[/bold]", *(line.replace("[", r"\[") for line in lines)])


def launch(app: typer.Typer, name: str) -> None:
    """Run a command line and exit with its code; an error is one line on standard error, unless debugging."""
    logging.basicConfig(format=f"{name}: %(message)s", level=logging.WARNING)
    try:
        try:
            app(prog_name=name)
        except ModuleNotFoundError as error:
            if error.name != "onnxruntime":
                raise
            raise ModelError("onnxruntime is not installed: pip install 'affectd[cpu]' (or [gpu])") from error
    except AffectdError as error:
        if logging.getLogger(PACKAGES[0]).isEnabledFor(logging.DEBUG):
            raise
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
