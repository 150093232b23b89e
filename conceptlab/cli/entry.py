"""Where the command line begins and ends: options of every command, faults, exit codes."""

import logging
import os
import sys
from typing import Annotated

import typer

from conceptlab.cli import effects as effects
from conceptlab.cli import look as look
from conceptlab.cli import pictures as pictures
from conceptlab.cli import studies as studies
from conceptlab.cli import vectors as vectors
from conceptlab.cli import work as work
from conceptlab.cli.options import LAST_SEED, app, options
from conceptlab.errors import NO_MEMORY, CacheError, ConceptlabError, UnfinishedError
from conceptlab.stopping import EXIT_CODE, stoppable

INTERRUPTED = 130
STOPPED = "interrupted; the same command continues where it stopped"
EPILOG = (
    "Options of this list may also stand after the command. Exit codes: 0 done, 2 wrong input, 3 "
    "unfinished, 130 interrupted and 143 terminated (the same command continues)."
)
GLOBAL_VALUES = ("--seed", "--device")
GLOBAL_FLAGS = ("--quiet", "--json", "--debug")


@app.callback(epilog=EPILOG)
def _globals(
    version: Annotated[bool, typer.Option("--version", help="Say the version and stop.")] = False,
    seed: Annotated[
        int | None, typer.Option(min=0, max=LAST_SEED, help="Seed of all that is left to chance.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Where networks run: cpu, cuda, cuda:1, mps.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars, no remarks.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line on stdout.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    del version
    options.given_seed, options.device = seed, device
    options.quiet, options.json = quiet, as_json
    options.unmade = {}
    if quiet:
        os.environ.setdefault(
            "HF_HUB_DISABLE_PROGRESS_BARS", "1"
        )  # of the source of timm's weights
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger("conceptlab").setLevel(_level(quiet, debug))


def _level(quiet: bool, debug: bool) -> int:
    """Which remarks are shown."""
    if debug:
        return logging.DEBUG
    return logging.WARNING if quiet else logging.INFO


def reorder(arguments: list[str]) -> list[str]:
    """Global options moved before the command, so that they may stand after it as well.

    >>> reorder(["layers", "builtin:scenenet", "--json", "--seed", "3"])
    ['--json', '--seed', '3', 'layers', 'builtin:scenenet']
    """
    front: list[str] = []
    rest: list[str] = []
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            rest += ["--", *waiting]
            break
        if word in GLOBAL_FLAGS or word.startswith(tuple(f"{v}=" for v in GLOBAL_VALUES)):
            front.append(word)
        elif word in GLOBAL_VALUES and waiting:
            front += [word, waiting.pop(0)]
        else:
            rest.append(word)
    return front + rest


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every failure is one sentence on stderr and an exit code."""
    words = reorder(sys.argv[1:] if arguments is None else arguments)
    if "--version" in words:
        from conceptlab import __version__

        typer.echo(f"conceptlab {__version__}")
        sys.exit(0)
    with stoppable() as ending:
        code = _run(words)
    sys.exit(EXIT_CODE if code == INTERRUPTED and ending.asked else code)


def _run(words: list[str]) -> int:
    """The exit code of a command; what went wrong is said."""
    try:
        _keep_memory(words)
        code = int(app(words, prog_name="conceptlab", standalone_mode=False) or 0)
        sys.stdout.flush()
        if code == INTERRUPTED:  # the option parser has caught it
            _say(code, STOPPED)
        code = code or _say_unmade()
    except BrokenPipeError:  # whoever read our answer has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except KeyboardInterrupt:
        code = _say(INTERRUPTED, STOPPED)
    except SystemExit as error:  # of a network, a data set or a library: never our own
        code = _say(2, f"error: what was run ended the program (SystemExit: {error.code})")
    except Exception as error:
        if "--debug" in words:
            raise
        code = _explain(error)
    return code


def _keep_memory(words: list[str]) -> None:
    """The allocator switch that the command line makes (DESIGN: it is opt-in in the library)."""
    if words and "--help" not in words:
        from conceptlab.activations.allocator import keep_freed_memory

        keep_freed_memory()


def _explain(error: Exception) -> int:
    """Say what went wrong in one sentence; the exit code."""
    text = " ".join(str(error).split())
    interrupted = isinstance(error, typer.Exit) and error.exit_code == INTERRUPTED
    if interrupted or isinstance(error, typer.Abort):
        return _say(INTERRUPTED, STOPPED)
    if isinstance(error, typer.Exit):
        return int(error.exit_code)
    if isinstance(error, ConceptlabError):
        return _say(error.exit_code, f"error: {text}")
    if isinstance(error, OSError):
        place = f": {error.filename}" if error.filename else ""
        return _say(CacheError.exit_code, f"error: {error.strerror or text}{place}")
    if isinstance(error, MemoryError) or any(words in text for words in NO_MEMORY):
        return _say(
            UnfinishedError.exit_code,
            "error: there is not enough memory; take a smaller --batch-size or --size and run the "
            "same command again",
        )
    if type(error).__name__ == "NoArgsIsHelpError":
        return _say(2, str(getattr(error, "format_message", str)()))
    if hasattr(error, "format_message"):  # of the option parser
        return _say(2, f"error: {' '.join(error.format_message().split())}")
    kind = type(error).__name__
    return _say(1, f"error: {kind}: {text} (this is a bug; --debug shows where)")


def _say_unmade() -> int:
    """Say what a command could not make, a line each; the exit code, 0 where that is nothing."""
    for names, reason in options.unmade.items():
        _say(0, f"not made: {' '.join(names)}: {reason}")
    return UnfinishedError.exit_code if options.unmade else 0


def _say(code: int, text: str) -> int:
    typer.echo(text, err=True)
    return code
