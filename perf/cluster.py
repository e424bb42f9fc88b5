"""Generation on a cluster of several nodes, made on this machine, beside the local run: are the bytes the same, and what does it cost?

    python perf/cluster.py [--rows N] [--nodes N] [--formats NAME ...] [--no-questions] [--lose] [--folder DIR]

With --lose, one node is killed, with all that runs on it, when a third of the shards is there, and the command itself when two thirds are;
it is then given again.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engines import cost_of

NODE = {"num_cpus": 1, "object_store_memory": 150 * 2**20, "include_dashboard": False, "include_log_monitor": False}
ATTEMPTS = 10


def read_arguments() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000, metavar="N", help="rows of each run (default 1,000,000)")
    parser.add_argument("--nodes", type=int, default=3, metavar="N", help="nodes of one core each (default 3)")
    parser.add_argument(
        "--formats", nargs="+", default=["parquet", "jsonl", "webdataset"], metavar="NAME", help="of the files (default all)"
    )
    parser.add_argument("--shards", type=int, default=24, metavar="N", help="files of each run (default 24)")
    parser.add_argument("--no-questions", dest="questions", action="store_false", help="captions and graphs alone")
    parser.add_argument("--lose", action="store_true", help="kill a node and the command on the way")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where the files go; by default a folder that is gone afterwards")
    return parser.parse_args()


def start_cluster(nodes: int, folder: str) -> Any:
    """The nodes; begun anew where this machine is too busy for Ray's patience."""
    import psutil
    from ray.cluster_utils import Cluster

    for attempt in range(ATTEMPTS):
        cluster = Cluster()
        try:
            for _ in range(nodes):
                cluster.add_node(**NODE, temp_dir=f"{folder}/{attempt}")
        except Exception as error:
            print(f"starting again: {error}", flush=True)
            cluster.shutdown()
            for one in psutil.Process().children(recursive=True):
                one.kill()
        else:
            return cluster
    raise SystemExit("no cluster could be started")


def same(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files, byte for byte."""
    names = sorted(path.name for path in one.iterdir())
    return names == sorted(path.name for path in other.iterdir()) and filecmp.cmpfiles(one, other, names, shallow=False)[0] == names


def when(folder: Path, shards: int, do: Callable[[], object]) -> threading.Thread:
    """Does something once so many shards are there."""

    def wait() -> None:
        while len(list(folder.glob("records-*"))) < shards:
            time.sleep(0.05)
        do()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def lose_and_go_on(command: list[str], out: Path, shards: int, cluster: Any) -> None:
    """The command, with a node lost on the way; then killed, and given again."""
    lost = list(cluster.worker_nodes)[-1]
    process = subprocess.Popen(command)
    threads = [
        when(out, shards // 3, lambda: cluster.remove_node(lost, allow_graceful=False)),
        when(out, 2 * shards // 3, process.kill),
    ]
    code = process.wait()
    for thread in threads:
        thread.join()
    print(f"killed with {len(list(out.glob('records-*')))} of {shards} shards there (exit {code}); a node was lost before", flush=True)
    subprocess.run(command, check=True)


def main() -> None:
    """Runs both, compares, prints."""
    arguments = read_arguments()
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray spells it so; workers are to compete as those of the local run do
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as temporary:
        folder = arguments.folder or Path(temporary)
        generate = [sys.executable, "-m", "anyscene.cli.main", "generate", "-n", str(arguments.rows), "--shards", str(arguments.shards)]
        generate += [] if arguments.questions else ["--no-questions"]
        workers = ["--workers", str(arguments.nodes)]
        for format in arguments.formats:
            local, ray = folder / f"{format}-local", folder / f"{format}-ray"
            command = [*generate, "--format", format]
            print(f"{format}, local: {cost_of([*command, *workers, '--out', str(local)])}", flush=True)
            cluster = start_cluster(arguments.nodes, temporary)
            there = [*command, "--engine", "ray", "--address", cluster.address, "--out", str(ray)]
            if arguments.lose:
                lose_and_go_on(there, ray, arguments.shards, cluster)
            else:
                nodes = [info.process.pid for node in cluster.list_all_nodes() for one in node.all_processes.values() for info in one]
                print(f"{format}, Ray with {arguments.nodes} nodes: {cost_of(there, beside=nodes)}", flush=True)
            cluster.shutdown()
            print(f"{format}: {arguments.rows:,} rows, {'the same bytes' if same(local, ray) else 'OTHER BYTES'}", flush=True)


if __name__ == "__main__":
    main()
