"""Trains the sandbox's contrastive model: a stock ``CLIPModel`` of 1.2 million weights for pictures of 32 x 32 pixels.

    python tools/sandbox/captions.py pairs.npz 40000
    python tools/sandbox/train_contrastive.py pairs.npz OUT            (one core; see the log for times)
    python tools/sandbox/train_contrastive.py --measure-only OUT       (the log's last lines, measured again)

It learns as CLIP did (Radford et al. 2021, section 2.3): which picture of a batch goes with which caption, and nothing else. No negatives
are made to be hard, and captions are wrong on purpose (``captions.py``). Many captions are alike ("There is a ring."): all pictures of a
batch that have one go with it, and none of them is a negative. OUT is what ``load_metric("clipscore:OUT")`` loads: weights in float16, one
folder.

With one thread and the same versions the weights come out the same; ``train_contrastive.log`` beside this file tells how the shipped ones
were made.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from captions import VALUES, captions_of, draw_scene
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy, normalize
from train_diffusion import train_tokenizer
from transformers import CLIPConfig, CLIPModel, CLIPProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from anyscene.sandbox import looks
from anyscene.sandbox.renderer import render
from anyscene.scene.graph import Attribute, SceneGraph

SIZE, LENGTH = 32, 48
HELD_OUT = 256
AMONG = 64
NO_DIRECTION = "next to"
STARTED = time.time()

Draw = np.random.Generator


def say(**values: object) -> None:
    """One line of the log."""
    times = {"wall_s": round(time.time() - STARTED), "cpu_s": round(time.process_time())}
    print(json.dumps({**{key: round(one, 4) if isinstance(one, float) else one for key, one in values.items()}, **times}), flush=True)


# ---- the model ------------------------------------------------------------------------------------------------------------------


def make_processor() -> CLIPProcessor:
    """A tokenizer with the words of the sandbox, and pictures as numbers in -1..1."""
    tokenizer = train_tokenizer()
    tokenizer.model_max_length = LENGTH
    half = [0.5, 0.5, 0.5]
    pictures = CLIPImageProcessorPil(
        size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}, image_mean=half, image_std=half
    )
    return CLIPProcessor(pictures, tokenizer)


def make_model(tokenizer: Any, patch: int) -> CLIPModel:
    special = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    text = {"hidden_size": 96, "intermediate_size": 384, "num_hidden_layers": 3, "num_attention_heads": 4}
    vision = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4}
    return CLIPModel(
        CLIPConfig(
            text_config={**text, **special, "vocab_size": len(tokenizer), "max_position_embeddings": LENGTH},
            vision_config={**vision, "image_size": SIZE, "patch_size": patch},
            projection_dim=64,
        )
    )


def train(model: CLIPModel, images: torch.Tensor, tokens: torch.Tensor, steps: int, batch: int) -> CLIPModel:
    """Contrastive training on pictures ``(n, 3, 32, 32)`` in -1..1 and captions ``(n, length)``, padded with their end.

    Every pair comes once before any comes again.
    """
    end = model.config.text_config.eos_token_id
    said, caption_of = tokens.unique(dim=0, return_inverse=True)
    lengths = (said != end).sum(1) + 1
    say(parameters=sum(one.numel() for one in model.parameters()), pairs=len(images) - HELD_OUT, captions=len(said))
    inside = {id(one) for name, one in model.named_parameters() if "encoder.layers" in name and one.ndim == 2}
    optimizers = [
        torch.optim.Muon([one for one in model.parameters() if id(one) in inside], lr=0.02, weight_decay=0.02, adjust_lr_fn="original"),
        torch.optim.AdamW([one for one in model.parameters() if id(one) not in inside], lr=2e-3, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    starts = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    order, running = torch.empty(0, dtype=torch.long), None
    for step in range(steps):
        share = min(1.0, (step + 1) / 40) * min(1.0, 0.01 + 0.99 * (steps - step) / (0.8 * steps))
        for optimizer, start in zip(optimizers, starts, strict=True):
            optimizer.param_groups[0]["lr"] = start * share
            optimizer.zero_grad()
        if len(order) < batch:
            order = torch.cat([order, HELD_OUT + torch.randperm(len(images) - HELD_OUT)])
        rows, order = order[:batch], order[batch:]
        captions, goes_with = caption_of[rows].unique(return_inverse=True)
        words = said[captions, : int(lengths[captions].max())]
        loss = contrastive_loss(*embed(model, images[rows], words), goes_with, model.logit_scale.exp())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=float(np.log(100)))
        running = float(loss.detach()) if running is None else 0.95 * running + 0.05 * float(loss.detach())
        if (step + 1) % 100 == 0:
            with torch.no_grad():
                pictures, texts = embed(model, images[:HELD_OUT], tokens[:HELD_OUT])
            say(step=step + 1, loss=running, held_out=retrieval(pictures @ texts.T), scale=float(model.logit_scale.detach().exp()))
    return model.eval()


def embed(model: CLIPModel, pictures: torch.Tensor, words: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings of length 1: of pictures, and of captions."""
    seen = model.visual_projection(model.vision_model(pixel_values=pictures).pooler_output)
    read = model.text_projection(model.text_model(input_ids=words).pooler_output)
    return normalize(seen, dim=-1), normalize(read, dim=-1)


def contrastive_loss(pictures: torch.Tensor, texts: torch.Tensor, goes_with: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """CLIP's loss for pictures ``(n, width)`` and the *different* captions ``(m, width)`` that they have.

    Captions weigh as often as they were given: in the softmax over captions by their count, in that over pictures by one row for each.
    Where no caption comes twice it is CLIP's own loss.

    Args:
        goes_with: ``(n,)``: which caption each picture has.
        scale: by which cosines are multiplied.
    """
    logits = scale * pictures @ texts.T
    counts = torch.bincount(goes_with, minlength=len(texts)).float()
    of_pictures = cross_entropy(logits + counts.log(), goes_with)
    shares = torch.nn.functional.one_hot(goes_with, len(texts)).T / counts[:, None]
    of_captions = -(shares * logits.T.log_softmax(1)).sum(1) @ counts / counts.sum()
    return (of_pictures + of_captions) / 2


# ---- what it can tell -----------------------------------------------------------------------------------------------------------


def retrieval(cosines: torch.Tensor) -> float:
    """How often a picture's own caption is the likest of `AMONG`, for cosines of pictures and captions, ``(n, n)``."""
    right = [cosines[first : first + AMONG, first : first + AMONG].argmax(1) for first in range(0, len(cosines), AMONG)]
    return float(torch.stack([one == torch.arange(AMONG) for one in right]).float().mean())


def measure(folder: Path, n: int) -> dict[str, Any]:
    """What a written model can tell on clean scenes that were not trained on.

    Args:
        folder: what is loaded.
        n: pictures for retrieval, and for each kind of foil.

    Returns:
        ``retrieved``: see `retrieval`, of captions that all differ; for each kind of foil how often a picture is liker to its true caption.
    """
    model = CLIPModel.from_pretrained(folder).float().eval()
    tokenizer = CLIPProcessor.from_pretrained(folder).tokenizer
    scenes: dict[str, SceneGraph] = {}
    index = 0
    while len(scenes) < n // AMONG * AMONG:
        scene = draw_scene(np.random.default_rng([1, index]))
        scenes.setdefault(captions_of([scene])[0], scene)
        index += 1
    with torch.inference_mode():
        pictures, texts = embed(model, paint(list(scenes.values())), tokens_of(tokenizer, list(scenes)))
        found = {"retrieved": retrieval(pictures @ texts.T)}
        for kind, foil in FOILS.items():
            true, false = with_foils(foil, n)
            pictures, texts = embed(model, paint(true), tokens_of(tokenizer, captions_of([*true, *false])))
            cosines = (pictures * texts.view(2, n, -1)).sum(2)
            found[kind] = float((cosines[0] > cosines[1]).float().mean())
    return found


def with_foils(foil: Callable[[SceneGraph, Draw], SceneGraph | None], n: int) -> tuple[list[SceneGraph], list[SceneGraph]]:
    """So many scenes for which there is a foil, and their foils."""
    true, false = [], []
    index = 0
    while len(true) < n:
        draw = np.random.default_rng([2, index])
        scene = draw_scene(draw)
        other = foil(scene, draw)
        if other is not None:
            true.append(scene)
            false.append(other)
        index += 1
    return true, false


def paint(scenes: Sequence[SceneGraph]) -> torch.Tensor:
    return to_tensor(np.stack([render(scene, seed=place, size=SIZE).image for place, scene in enumerate(scenes)]))


def other_noun(scene: SceneGraph, draw: Draw) -> SceneGraph | None:
    """The first thing becomes one that the scene does not have, of the same sort, so that all that is said of it can be said."""
    sort = looks.FIGURES if scene.objects[0].name in looks.FIGURES else looks.SIGNS
    there = {thing.name for thing in scene.objects}
    return _with_first(scene, name=_one_of([name for name in sort if name not in there], draw))


def other_color(scene: SceneGraph, draw: Draw) -> SceneGraph | None:
    """The first thing gets another colour, which no other thing has."""
    colors = [_color(thing.attributes) for thing in scene.objects]
    if colors[0] is None:
        return None
    return _colored(scene, [_one_of([value for value in VALUES["color"] if value not in colors], draw), *colors[1:]])


def exchanged_colors(scene: SceneGraph, draw: Draw) -> SceneGraph | None:
    """Two things of different colours get each other's."""
    colors = [_color(thing.attributes) for thing in scene.objects]
    return _colored(scene, colors[::-1]) if len(colors) == 2 and None not in colors and colors[0] != colors[1] else None


def reversed_relation(scene: SceneGraph, draw: Draw) -> SceneGraph | None:
    """Subject and object change places, where the relation has a direction."""
    if not scene.relations or scene.relations[0].predicate == NO_DIRECTION:
        return None
    (relation,) = scene.relations
    return replace(scene, relations=(replace(relation, subject=relation.object, object=relation.subject),))


def wrong_count(scene: SceneGraph, draw: Draw) -> SceneGraph | None:
    """Two become three, three two."""
    own = scene.objects[0].attributes
    if not any(one.type == "count" for one in own):
        return None
    other = {"two": "three", "three": "two"}
    return _with_first(scene, attributes=tuple(replace(one, value=other[one.value]) if one.type == "count" else one for one in own))


FOILS = {
    "noun": other_noun,
    "color": other_color,
    "exchanged_colors": exchanged_colors,
    "reversed_relation": reversed_relation,
    "count": wrong_count,
}


def _with_first(scene: SceneGraph, **changes: Any) -> SceneGraph:
    return replace(scene, objects=(replace(scene.objects[0], **changes), *scene.objects[1:]))


def _color(attributes: Sequence[Attribute]) -> str | None:
    return next((one.value for one in attributes if one.type == "color"), None)


def _colored(scene: SceneGraph, colors: Sequence[str | None]) -> SceneGraph:
    things = tuple(
        replace(thing, attributes=tuple(replace(one, value=color) if one.type == "color" and color else one for one in thing.attributes))
        for thing, color in zip(scene.objects, colors, strict=True)
    )
    return replace(scene, objects=things)


def _one_of(values: Sequence[str], draw: Draw) -> str:
    return values[int(draw.integers(len(values)))]


# ---- all of it ------------------------------------------------------------------------------------------------------------------


def to_tensor(images: NDArray[np.uint8]) -> torch.Tensor:
    """``(n, 32, 32, 3) uint8`` to ``(n, 3, 32, 32)`` in -1..1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def tokens_of(tokenizer: Any, captions: Sequence[str]) -> torch.Tensor:
    """``(n, length)``, padded to the longest."""
    tokens: torch.Tensor = tokenizer(list(captions), padding=True, truncation=True, return_tensors="pt").input_ids
    return tokens


def main() -> None:
    """Train, write, measure."""
    options = argparse.ArgumentParser(description="Train the sandbox's contrastive model.")
    options.add_argument("pairs", type=Path, nargs="?", help="what captions.py wrote")
    options.add_argument("out", type=Path, help="the folder to write")
    options.add_argument("--steps", type=int, default=2400)
    options.add_argument("--batch", type=int, default=128)
    options.add_argument("--patch", type=int, default=8, help="pixels of a patch's side")
    options.add_argument("--measure", type=int, default=512, metavar="N", help="scenes to measure with, of each kind")
    options.add_argument("--measure-only", action="store_true")
    chosen = options.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    if not chosen.measure_only:
        pairs = np.load(chosen.pairs)
        processor = make_processor()
        processor.save_pretrained(chosen.out)  # before it is used: it would keep how it last cut and padded
        told = tokens_of(processor.tokenizer, [str(one) for one in pairs["captions"]])
        model = make_model(processor.tokenizer, chosen.patch)
        train(model, to_tensor(pairs["images"]), told, chosen.steps, chosen.batch).half().save_pretrained(chosen.out)
    say(measured=measure(chosen.out, chosen.measure))


if __name__ == "__main__":
    main()
