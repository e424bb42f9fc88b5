"""``anyscene doctor``: can this judge be trusted?"""

from __future__ import annotations

import json
import sys

from anyscene.cli import backends as b
from anyscene.cli.score import AsJson

HELP = """Put pictures with known answers to a judge, and say whether it can be trusted.

A judge that always says yes, guesses, or gives other answers when asked again is refused (exit code 1).

Example: anyscene doctor --judge sandbox:pixels
"""


def run(judge: b.JudgeName, judge_option: b.JudgeOptions = None, as_json: AsJson = False) -> None:
    """Examine, print, leave with 1 where the judge is refused."""
    report = b.examine(b.make_judge(judge, judge_option))
    if as_json:
        print(json.dumps(report.to_dict(), ensure_ascii=False, indent=1))
    else:
        for line in report.lines():
            print(line)
    if report.refused:
        sys.exit(1)
