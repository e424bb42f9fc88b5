"""One call of `generate` in a process of its own, so that tests can kill it: `python generate_once.py OUT '{"n": 10, ...}'`."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fake_source import FakeSource

from anyscene.dataset import generate
from anyscene.engines import open_engine
from anyscene.errors import AnySceneError, Interrupted


def main() -> int:
    options = json.loads(sys.argv[2])
    source = FakeSource(**options.pop("source", {}))
    if limit := options.pop("largest_file", None):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    address = options.pop("ray", None)
    try:
        if address is None:
            generate(source, options.pop("n"), sys.argv[1], **options)
        else:
            with open_engine("ray", address=address) as engine:
                generate(source, options.pop("n"), sys.argv[1], engine=engine, **options)
    except Interrupted as error:
        print(error, file=sys.stderr)
        return 130
    except AnySceneError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
