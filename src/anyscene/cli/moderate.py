"""``anyscene moderate``: detectors of generated pictures."""

from __future__ import annotations

import typer

from anyscene.cli import moderate_build, moderate_harden, moderate_scan, moderate_train

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})


@app.callback()
def _root() -> None:
    """Groups what is below."""


app.command("build", help=moderate_build.BUILD)(moderate_build.build)
app.command("audit", help=moderate_build.AUDIT)(moderate_build.audit)
app.command("scan", help=moderate_scan.SCAN)(moderate_scan.scan)
app.command("serve", help=moderate_scan.SERVE)(moderate_scan.serve)
app.command("train", help=moderate_train.TRAIN)(moderate_train.train)
app.command("eval", help=moderate_train.EVAL)(moderate_train.evaluate)
app.command("hard-cases", help=moderate_harden.HARD_CASES)(moderate_harden.hard_cases)
app.command("harden", help=moderate_harden.HARDEN)(moderate_harden.harden)
