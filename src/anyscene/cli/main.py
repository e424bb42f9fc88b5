"""The command ``anyscene``: sends each command to its file and turns errors into one line."""

from __future__ import annotations

import os
import sys
from typing import Annotated, NoReturn

import typer

from anyscene.cli import describe, generate, show, space, split, taxonomy
from anyscene.errors import AnySceneError, Interrupted

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
app.add_typer(taxonomy.app, name="taxonomy", help="Look into a vocabulary, or check one of your own.")


def fail(message: str, code: int) -> NoReturn:
    """Print one line and leave."""
    line = " ".join(str(message).split())
    print(f"anyscene: {line}", file=sys.stderr)
    sys.stdout.flush()
    sys.exit(code)


def main() -> None:
    """Run the command line; every error is one line and a non-zero exit."""
    try:
        app(standalone_mode=True)
    except Interrupted as stopped:
        fail(str(stopped), 130)
    except KeyboardInterrupt:
        fail("stopped", 130)
    except AnySceneError as error:
        fail(str(error), 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except MemoryError:
        fail("out of memory; ask for fewer rows or a smaller complexity", 1)
    except Exception as error:
        if os.environ.get("ANYSCENE_TRACEBACK"):
            raise
        fail(f"internal error, {type(error).__name__}: {error} (ANYSCENE_TRACEBACK=1 shows where; please report it)", 70)


if __name__ == "__main__":
    main()
