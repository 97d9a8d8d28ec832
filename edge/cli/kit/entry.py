"""How every command of the product starts and ends: logging, one-line errors, exit codes."""

from __future__ import annotations

import logging
import os
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import typer

from edge.cli.kit.streams import flush_output, open_streams
from edge.errors import AffectdError, ExitCode, ModelError, OutputError, UsageError, nearest, one_line

if TYPE_CHECKING:
    from click import ClickException as ClickError
else:
    ClickError = typer.BadParameter.__mro__[2]  # of click, or of typer's own copy of it

PACKAGES = ("edge", "calibrate", "export")
EXTRAS = {
    "affectd": "'affectd[cpu]' (or [gpu])",
    "affectd-calibrate": "'affectd[train,cpu]'",
    "affectd-export": "'affectd[train,cpu]'",
}
"""What brings all that a program needs."""
UNKNOWN_COMMAND = re.compile(r"No such command '(.*?)'(?=\.)", re.DOTALL)


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


def run(app: typer.Typer, name: str) -> int:
    """Run a command line and return its exit code; an error is one line on standard error, unless debugging.

    Raises:
        KeyboardInterrupt: Ctrl-C, while it starts or ends.
    """
    open_streams()
    logging.basicConfig(format=f"{name}: %(message)s", level=logging.WARNING)
    try:
        try:
            code = _called(app, name)
        finally:
            flush_output()
        return code
    except BrokenPipeError:  # the reader has gone, and does not want to know
        return ExitCode.FAILED
    except AffectdError as error:
        if logging.getLogger(PACKAGES[0]).isEnabledFor(logging.DEBUG):
            raise
        with suppress(OSError):  # where standard error is full, the exit code says it
            print(f"{name}: {one_line(str(error))}", file=sys.stderr)
        return error.exit_code


def _called(app: typer.Typer, name: str) -> int:
    """Run a command line and return its exit code; raises AffectdError, whatever is wrong outside of the program."""
    try:
        return int(app(prog_name=name, standalone_mode=False) or 0)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except ClickError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # the help is out
            return ExitCode.USAGE
        raise UsageError(_usage_message(error)) from error
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in PACKAGES:
            raise
        raise ModelError(f"{missing} is not installed: pip install {EXTRAS[name]}") from error
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno is None:
            raise
        where = "standard output cannot be written" if error.filename is None else os.fsdecode(error.filename)
        raise OutputError(f"{where}: {error.strerror}") from error


def _usage_message(error: ClickError) -> str:
    """Return what is wrong, the nearest command or option if there is none of that name, and where its help is."""
    context = getattr(error, "ctx", None)
    if context is None:
        return error.format_message()
    unknown_command = UNKNOWN_COMMAND.match(error.message)
    message = error.format_message()
    if unknown_command:
        commands = [name for name, command in context.command.commands.items() if not command.hidden]
        message = unknown_command[0] + nearest(unknown_command[1], commands)
    elif option := getattr(error, "option_name", None) if hasattr(error, "possibilities") else None:
        parameters = [each for each in context.command.get_params(context) if not getattr(each, "hidden", False)]
        options = [name for each in parameters for name in (*each.opts, *each.secondary_opts) if name.startswith("-")]
        message = error.message + nearest(option, options)
    return f"{message} ({context.command_path} --help)"
