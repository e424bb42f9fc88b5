"""The command ``anyscene``: sends each command to its file and turns errors into one line."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Annotated, NoReturn

import typer

from anyscene.cli import (
    bench,
    calibrate,
    compare,
    cost,
    describe,
    distill,
    doctor,
    eval,
    export,
    generate,
    grpo,
    improve,
    judge,
    label,
    moderate,
    paint,
    report,
    reward,
    score,
    show,
    space,
    split,
    taxonomy,
)
from anyscene.cli.printing import printable
from anyscene.errors import AnySceneError, Interrupted

STOPPED = 130  # what a shell reports of a command that Ctrl-C ended
MAX_MESSAGE_CHARS = 1000

app = typer.Typer(
    name="anyscene",
    help="Every scene is a number: scene graphs, captions and questions for text-to-vision models.\n\n"
    "Example: anyscene generate -n 1000 --complexity 4-8 --out scenes && anyscene show scenes",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from anyscene import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def _root(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False) -> None:
    """Options before the command."""


app.command("generate", help=generate.HELP)(generate.run)
app.command("show", help=show.HELP)(show.run)
app.command("space", help=space.HELP)(space.run)
app.command("describe", help=describe.HELP)(describe.run)
app.command("split", help=split.HELP)(split.run)
app.command("eval", help=eval.HELP)(eval.run)
app.command("paint", help=paint.HELP)(paint.run)
app.command("judge", help=judge.HELP)(judge.run)
app.command("label", help=label.HELP)(label.run)
app.command("score", help=score.HELP)(score.run)
app.command("report", help=report.HELP)(report.run)
app.command("compare", help=compare.HELP)(compare.run)
app.command("calibrate", help=calibrate.HELP)(calibrate.run)
app.command("cost", help=cost.HELP)(cost.run)
app.command("doctor", help=doctor.HELP)(doctor.run)
app.command("export", help=export.HELP)(export.run)
app.command("distill", help=distill.HELP)(distill.run)
app.command("grpo", help=grpo.HELP)(grpo.run)
app.command("improve", help=improve.HELP)(improve.run)
app.add_typer(moderate.app, name="moderate", help="Detectors of generated pictures: their data, their training, their use.")
app.add_typer(reward.app, name="reward", help="A reward for trainers that run elsewhere.")
app.add_typer(bench.app, name="bench", help="Official scores of other benchmarks, from stored answers.")
app.add_typer(taxonomy.app, name="taxonomy", help="Look into a vocabulary, or check one of your own.")


def fail(message: str, code: int) -> NoReturn:
    """Print one line and leave."""
    line = printable(" ".join(message.split()))
    line = line if len(line) <= MAX_MESSAGE_CHARS else f"{line[:MAX_MESSAGE_CHARS]}..."
    print(f"anyscene: {line}", file=sys.stderr)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    sys.exit(code)


def _fail_usage(error: Exception) -> NoReturn:
    """One line for a wrong command line. Typer brings the class of these errors along under names that change with its version."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError" and context is not None:
        print(context.get_help(), file=sys.stderr)
        sys.exit(2)
    where = context.command_path if context is not None else "anyscene"
    fail(f"{error.format_message().rstrip('.')}. See: {where} --help", 2)  # type: ignore[attr-defined]


def _let_go_of_standard_output() -> None:
    """What is still in the buffer goes nowhere, or Python would complain at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """Run the command line; every error is one line and a non-zero exit."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the shell closed it
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # for as long as the process lives
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a letter that the terminal lacks is no reason to stop
    try:
        code = app(prog_name="anyscene", standalone_mode=False)
        sys.stdout.flush()
    except Interrupted as stopped:
        fail(str(stopped), STOPPED)
    except (KeyboardInterrupt, typer.Abort):
        fail("stopped", STOPPED)
    except AnySceneError as error:
        fail(str(error), 1)
    except BrokenPipeError:
        _let_go_of_standard_output()
        sys.exit(1)
    except OSError as error:
        _let_go_of_standard_output()
        fail(f"{error.filename or 'standard output'}: {error.strerror or error}", 1)
    except MemoryError:
        fail("out of memory; ask for fewer rows or a smaller complexity", 1)
    except Exception as error:
        if hasattr(error, "format_message"):
            _fail_usage(error)
        if os.environ.get("ANYSCENE_TRACEBACK"):
            raise
        fail(f"internal error, {type(error).__name__}: {error} (ANYSCENE_TRACEBACK=1 shows where; please report it)", 70)
    if code == STOPPED:
        fail("stopped", STOPPED)
    sys.exit(code)


if __name__ == "__main__":
    main()
