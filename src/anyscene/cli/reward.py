"""``anyscene reward``: a reward for trainers that run elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anyscene.cli import backends as b
from anyscene.cli.options import parse_names
from anyscene.errors import SpecError

if TYPE_CHECKING:
    from anyscene.rewards import Reward

SERVE = """Serve a reward over HTTP: JSON and PNG in, scores with every question's probability out.

Pictures of all requests are scored in common batches. Beyond this machine a token is needed. Ctrl-C or SIGTERM finishes what is in flight.

Example: anyscene reward serve --judge sandbox:pixels --port 8765
"""

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})


@app.callback()
def _root() -> None:
    """Groups what is below."""


@app.command("serve", help=SERVE)
def serve(
    judge: Annotated[str | None, typer.Option(help="Who answers the questions of --reward scene, as for anyscene judge.")] = None,
    judge_option: b.JudgeOptions = None,
    reward: Annotated[str, typer.Option(help="scene, or a metric with its weights: clipscore:openai/clip-vit-base-patch32.")] = "scene",
    reward_option: Annotated[
        list[str] | None,
        typer.Option("--reward-option", "-r", metavar="KEY=VALUE", help="An option of the reward: foil_weight=0.5. Several may be given."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at; 0 takes a free one.")] = 8765,
    token_env: Annotated[str, typer.Option(help="Environment variable that holds the token; needed beyond this machine.")] = "",
    max_batch: Annotated[int, typer.Option(help="Pictures in a batch.")] = 32,
    max_wait_ms: Annotated[float, typer.Option(help="How long a picture waits for others while the reward is free.")] = 10.0,
    max_queue: Annotated[int, typer.Option(help="Pictures that may wait; more are told to come back (503).")] = 1024,
    max_body_mb: Annotated[float, typer.Option(help="Most megabytes of one request.")] = 64.0,
    max_memory_mb: Annotated[float, typer.Option(help="Most megabytes of all requests that are being served.")] = 512.0,
    max_images: Annotated[int, typer.Option(help="Most pictures of one request.")] = 64,
    max_pixels: Annotated[int, typer.Option(help="Most pixels of one picture.")] = 4096 * 4096,
    max_questions: Annotated[int, typer.Option(help="Most questions of one record.")] = 128,
    timeout: Annotated[float, typer.Option(help="Seconds that a request may take.")] = 120.0,
    pickles: Annotated[bool, typer.Option("--allow-pickle", help="Take the pickles of flow_grpo at / too; on loopback only.")] = False,
    scenes: Annotated[Path | None, typer.Option(help="A dataset, whose records pickles may name by id or caption.")] = None,
    doctor: Annotated[bool, typer.Option("--doctor/--no-doctor", help="Put canaries to the judge first; refuse one that fails.")] = True,
    quiet: b.Quiet = False,
) -> None:
    """Load, examine, listen."""
    from anyscene.dataset import read_records
    from anyscene.rewards.server import RewardServer, ServerConfig
    from anyscene.rewards.wire import Limits
    from anyscene.runs import say

    if scenes is not None and not pickles:
        raise SpecError("--scenes is for pickles only (--allow-pickle): a JSON request brings its records")
    config = ServerConfig(
        host=host,
        port=port,
        token_env=token_env,
        limits=Limits(body_bytes=int(max_body_mb * 1e6), images=max_images, pixels=max_pixels, questions=max_questions),
        max_batch=max_batch,
        max_wait_s=max_wait_ms / 1000,
        max_queue=max_queue,
        max_bytes=int(max_memory_mb * 1e6),
        timeout_s=timeout,
        pickles=pickles,
    )
    config.token()  # before the judge is loaded, which may take minutes
    chosen = make_reward(reward, reward_option, judge, judge_option, doctor=doctor, quiet=quiet)
    server = RewardServer(chosen, config, scenes=list(read_records(scenes)) if scenes is not None else ())
    server.run(lambda url: say(f"{chosen.name} is served at {url}/score; Ctrl-C stops it", quiet=quiet))


def make_reward(
    name: str, options: list[str] | None, judge: str | None, judge_option: list[str] | None, *, doctor: bool, quiet: bool
) -> Reward:
    """The reward that a command names.

    Raises:
        SpecError: there is no such reward or option, or it needs a judge, or none.
        JudgeError: the judge fails its canaries.
    """
    from anyscene.plugins import checked_options
    from anyscene.rewards import MetricReward, SceneReward
    from anyscene.scoring.metrics import load_metric, metric_names

    given: dict[str, Any] = dict(b.parse_options(options))
    if name != "scene":
        if judge is not None or judge_option:
            raise SpecError(f"--reward {name} asks no judge; leave out --judge")
        if name.partition(":")[0] not in metric_names():
            raise SpecError(f"--reward {name}: it must be scene, or one of {', '.join(metric_names())} with weights after a colon")
        return MetricReward(load_metric(name, **given))
    if judge is None:
        raise SpecError("--reward scene asks a judge; name one: --judge sandbox:pixels")
    if "forms" in given:
        given["forms"] = parse_names(given["forms"], "forms")
    if "kind_weights" in given:
        given["kind_weights"] = _json(given["kind_weights"])
    checked = checked_options(SceneReward, "--reward scene", given)
    loaded = b.make_judge(judge, judge_option)
    if doctor:
        b.insist(loaded, quiet)
    return SceneReward(loaded, **checked)  # type: ignore[arg-type]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise SpecError(f'kind_weights={text}: it must be JSON, like {{"relation": 2}}') from None
