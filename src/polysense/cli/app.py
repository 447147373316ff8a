"""The entry point: global options, the commands, and how an error ends.

A user's mistake is one message and exit code 2, never a traceback. `--debug` shows the traceback too. Commands import
what they run only when they run: `polysense --help` takes 0.2 s instead of the 2 s that torch needs.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, Any, cast

import typer

from polysense.cli import console
from polysense.cli.clock import begin
from polysense.cli.commands.audit import audit
from polysense.cli.commands.check import check
from polysense.cli.commands.compare import compare
from polysense.cli.commands.convert import convert
from polysense.cli.commands.demo import demo
from polysense.cli.commands.doctor import doctor
from polysense.cli.commands.embed import embed
from polysense.cli.commands.evaluate import evaluate
from polysense.cli.commands.explain import explain
from polysense.cli.commands.fewshot import fewshot
from polysense.cli.commands.impute import impute
from polysense.cli.commands.index import index
from polysense.cli.commands.label import label
from polysense.cli.commands.list import show as list_components
from polysense.cli.commands.map import show as show_map
from polysense.cli.commands.new import new
from polysense.cli.commands.predict import predict
from polysense.cli.commands.prepare import prepare
from polysense.cli.commands.report import report
from polysense.cli.commands.runs import show as show_runs
from polysense.cli.commands.schema import schema
from polysense.cli.commands.search import search
from polysense.cli.commands.shards import shards
from polysense.cli.commands.train import train
from polysense.cli.commands.zeroshot import zeroshot
from polysense.cli.groups import GroupedHelp, epilog
from polysense.errors import ConfigError, PolysenseError, TrainingInterrupted

__all__ = ["app", "main"]

# Options that may stand anywhere on the line; `--` ends the search.
_GLOBAL_OPTIONS = frozenset({"--debug", "-q", "--quiet", "-v", "--verbose"})

# The class that every mistake on the command line derives from. typer re-exports only this child of it, and carries
# its own copy of click since 0.26.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])

# Trouble of the machine or of a path that was given, not of polysense.
_USERS_ERRNOS = frozenset(
    {
        errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOENT, errno.ENOTDIR, errno.EISDIR,
        errno.EEXIST, errno.ENAMETOOLONG, errno.ENOTEMPTY, errno.EMFILE, errno.ENFILE, errno.EFBIG,
    }
)  # fmt: skip

app = typer.Typer(
    name="polysense",
    cls=GroupedHelp,
    help="Train one model on the columns of a table: text, images, audio, numbers and categories.",
    epilog="Start with `polysense demo`, or with `polysense train TABLE --target COLUMN`.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo,
    "new": new,
    "check": check,
    "label": label,
    "prepare": prepare,
    "convert": convert,
    "shards": shards,
    "train": train,
    "evaluate": evaluate,
    "audit": audit,
    "predict": predict,
    "explain": explain,
    "impute": impute,
    "compare": compare,
    "embed": embed,
    "zeroshot": zeroshot,
    "fewshot": fewshot,
    "index": index,
    "search": search,
    "map": show_map,
    "runs": show_runs,
    "report": report,
    "list": list_components,
    "schema": schema,
    "doctor": doctor,
}
for _name, _command in _COMMANDS.items():
    app.command(_name, epilog=epilog(_name))(_command)


def _print_version(requested: bool) -> bool:
    if requested:
        from importlib.metadata import version

        console.write(f"polysense {version('polysense')}")
        raise typer.Exit
    return requested


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show warnings and results only, no progress bars.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show detailed logs.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    console.configure_logging(1 if verbose or debug else -1 if quiet else 0)


def main(arguments: Sequence[str] | None = None, *, started: float | None = None) -> int:
    """Runs one command.

    Args:
        arguments: What stands after `polysense` on the command line; taken from there if None.
        started: When its time began, by `time.monotonic`; None: now.

    Returns:
        The exit code: 0, 1 (training failed, or a bug), 2 (a mistake that the user can mend), 130 (interrupted).
    """
    console.settle_streams()
    begin(started)
    line = _hoist(sys.argv[1:] if arguments is None else arguments)
    # No command is a mistake that is best answered with the list of commands.
    is_empty = _GLOBAL_OPTIONS.issuperset(line)
    try:
        _require_values(line)
        command = typer.main.get_command(app)
        # The help is nobody else's, though typer writes it.
        with console.silenced_libraries(["-v"] if is_empty or {"-h", "--help"} & {*line} else line):
            code = command(args=["--help"] if is_empty else line, prog_name="polysense", standalone_mode=False)
        sys.stdout.flush()
        if code == 130:  # typer makes this of a KeyboardInterrupt, older ones an Abort
            console.write_error("interrupted")
        return 2 if is_empty else code if isinstance(code, int) else 0
    except Exception as error:  # noqa: BLE001 (the one place where every error ends)
        if "--debug" in line and not isinstance(error, (BrokenPipeError, _UsageError)):
            console.write_error(*"".join(traceback.format_exception(error)).rstrip().split("\n"))
        return _end(error)
    except KeyboardInterrupt:
        console.write_error("interrupted")
        return 130


def _hoist(arguments: Sequence[str]) -> list[str]:
    """Brings the global options before the command, where the parser wants them."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    results = [argument for argument in arguments[:end] if argument in _GLOBAL_OPTIONS]
    rest = [argument for argument in arguments[:end] if argument not in _GLOBAL_OPTIONS]
    return [*results, *rest, *arguments[end:]]


def _require_values(line: Sequence[str]) -> None:
    """Raises ConfigError where an argument is empty: as a path it would be the current folder, which nobody meant."""
    for before, argument in zip(["", *line], line, strict=False):
        option = argument.removesuffix("=") if argument.startswith("--") and argument.endswith("=") else before
        if not argument or option is not before:
            where = option if option.startswith("-") and option != "--" else "the command line"
            raise ConfigError(
                f"{where}: found an empty text, expected a value; is a shell's variable not set? Say . for this folder"
            )


def _end(error: Exception) -> int:
    """Says what went wrong, in one message, and returns the exit code."""
    match error:
        case TrainingInterrupted():
            console.write_error(*f"interrupted: {error}".split("\n"))
            return error.exit_code
        case PolysenseError():
            console.write_error(*f"error: {error}".split("\n"))
            return error.exit_code
        case typer.Abort():
            console.write_error("interrupted")
            return 130
        case BrokenPipeError():
            # Whoever read our output has read enough. Python would complain once more when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return 1
        case _UsageError():
            console.write_error(f"error: {_explain_usage(error)}")
            return 2
        case OSError() if error.errno in _USERS_ERRNOS:
            where = f"{error.filename}: " if error.filename is not None else ""
            console.write_error(f"error: {where}{error.strerror}")
            return 2
        case _ if _is_out_of_memory(error):
            console.write_error("error: out of memory; lower training.batch_size, or free some memory")
            return 1
        case _:
            result = " ".join(str(error).split())
            console.write_error(
                f"error: {type(error).__name__}: {result}", "this is a bug in polysense; run again with --debug"
            )
            return 1


def _is_out_of_memory(error: Exception) -> bool:
    """By name: torch, whose errors these are, may not be imported."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )


def _explain_usage(error: Any) -> str:
    message = error.format_message().rstrip(".")
    option = str(getattr(error, "option_name", ""))
    if "." in option:
        message += f"; a recipe's key is set without dashes: {option.lstrip('-')}=VALUE"
    path = error.ctx.command_path if error.ctx is not None else "polysense"
    return f"{message}; see `{path} --help`"


if __name__ == "__main__":
    # So that `torchrun -m polysense.cli.app train ...` works.
    sys.exit(main())
