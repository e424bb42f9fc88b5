"""Trains the sandbox's autoregressive model: a picture tokenizer (diffusers ``VQModel``) and a ``Qwen2ForCausalLM`` over its tokens.

    python tools/sandbox/captions.py pairs.npz 40000
    python tools/sandbox/train_autoregressive.py pairs.npz OUT            (one core; see the log for times)
    python tools/sandbox/captions.py more.npz 120000
    python tools/sandbox/train_autoregressive.py more.npz MORE --start-from OUT --seed 3 --steps 2600      (with OUT/vqmodel in MORE)
    python tools/sandbox/train_autoregressive.py --judge-only OUT         (the shares in the log's last lines, measured again)

The pictures have 32 x 32 pixels and become 8 x 8 tokens of a codebook of 1024. The text tokenizer is a byte-level ``Qwen2Tokenizer``
whose merges make each word of the captions one token; other words are spelled in bytes. Captions are wrong on purpose (``captions.py``),
and one in ten is left out, for guidance. OUT is what ``load_model("autoregressive:OUT")`` loads: weights in float16, one folder.

With one thread and the same versions the weights come out the same; ``train_autoregressive.log`` beside this file tells how the shipped
ones were made.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from captions import draw_scene, test_records
from diffusers import AutoencoderKL, VQModel
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy, linear
from train_diffusion import train_vae
from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

from anyscene.models.image_tokens import IMAGE_START, TEXT_TO_IMAGE, encode_prompt
from anyscene.sandbox.renderer import render
from anyscene.scene.graph import Object, SceneGraph

SIZE, SIDE, CODES = 32, 8, 1024
HELD_OUT = 256
NULL_SHARE = 0.1
CHUNKS = 4
STARTED = time.time()


def say(**values: object) -> None:
    """One line of the log."""
    times = {"wall_s": round(time.time() - STARTED), "cpu_s": round(time.process_time())}
    print(json.dumps({**{key: round(one, 4) if isinstance(one, float) else one for key, one in values.items()}, **times}), flush=True)


# ---- the picture tokenizer ------------------------------------------------------------------------------------------------------


def train_picture_tokenizer(vae: AutoencoderKL, images: torch.Tensor, crowds: torch.Tensor, steps: int, batch: int = 32) -> VQModel:
    """A VQModel that starts as an autoencoder of the same pictures, ``(n, 3, 32, 32)`` in -1..1, with a codebook by k-means.

    The codebook's vectors are then moving averages of what falls to them, and those that nothing falls to start anew where the error is
    largest. Half of each batch are crowds, from which more is learnt; not at the end, for they are rare in what is asked for.
    """
    model = quantized(vae)
    held_out, images = images[:HELD_OUT], images[HELD_OUT:]
    say(autoencoder=error_of(held_out, vae.decode(vae.encode(held_out).latent_dist.mean).sample.detach()))
    width = vae.config.latent_channels
    book = model.quantize.embedding.weight.requires_grad_(False)
    with torch.no_grad():
        some = torch.cat([model.encode(part[start : start + 64]).latents for part in (images, crowds) for start in range(0, 512, 64)])
        book.copy_(k_means(some.permute(0, 2, 3, 1).reshape(-1, width), CODES))
    counts, sums = torch.ones(CODES), book.clone()
    say(tokenizer_step=0, **error_of(held_out, decode(model, encode(model, held_out))))
    inner = [one for name, one in model.named_parameters() if one.ndim == 4 and one.shape[0] > 4 and "conv_in" not in name]
    chosen = {id(one) for one in inner}
    outer = [one for one in model.parameters() if one.requires_grad and id(one) not in chosen]
    optimizer, momenta = torch.optim.AdamW(outer, lr=1.0, betas=(0.9, 0.99), weight_decay=0.0), [torch.zeros_like(one) for one in inner]
    for step in range(steps):
        rate = min(1, (step + 1) / 30) * (0.01 + 0.495 * (1 + math.cos(math.pi * step / steps)))
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * rate
        crowded = batch // 2 if step < 0.8 * steps else 0
        pictures = torch.cat([images[torch.randint(len(images), (batch - crowded,))], crowds[torch.randint(len(crowds), (crowded,))]])
        vectors = model.encode(pictures).latents
        flat = vectors.permute(0, 2, 3, 1).reshape(-1, width)
        codes = torch.cdist(flat.detach(), book).argmin(1)
        nearest = book[codes]
        commitment = (flat - nearest).square().mean()
        passed = (flat + (nearest - flat).detach()).view(batch, SIDE, SIDE, width).permute(0, 3, 1, 2)
        with torch.no_grad():
            counts = 0.98 * counts + 0.02 * torch.bincount(codes, minlength=CODES)
            sums = 0.98 * sums + 0.02 * torch.zeros_like(sums).index_add_(0, codes, flat)
            book.copy_(sums / counts.clamp_min(1e-5)[:, None])
            unused = (counts < 0.01).nonzero()[:, 0]
            if step % 20 == 0 and step < 0.8 * steps and len(unused):
                worst = torch.multinomial((flat - nearest).square().sum(1) + 1e-9, len(unused))
                book[unused] = flat[worst]
                counts[unused], sums[unused] = 0.2, 0.2 * flat[worst]
        painted = model.decode(passed, force_not_quantize=True).sample
        error = (pictures - painted).abs() + (pictures - painted).square()
        loss = (error * foreground_weight(pictures)).mean() + 0.1 * commitment
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(outer, 1.0)
        optimizer.step()
        orthogonal_step(inner, momenta, 0.012 * rate)
        if (step + 1) % 100 == 0:
            say(tokenizer_step=step + 1, loss=float(loss.detach()), **error_of(held_out, decode(model, encode(model, held_out))))
    return model.eval()


def refine_decoder(model: VQModel, images: torch.Tensor, crowds: torch.Tensor, steps: int, batch: int = 32) -> VQModel:
    """Trains the decoder alone; encoder and codebook, and so all tokens, stay as they are."""
    held_out, images = images[:HELD_OUT], images[HELD_OUT:]
    codes, crowded_codes = encode(model, images), encode(model, crowds)
    trained = [*model.decoder.named_parameters(), *model.post_quant_conv.named_parameters()]
    inner = [one for name, one in trained if one.ndim == 4 and one.shape[0] > 4 and "conv_in" not in name]
    chosen = {id(one) for one in inner}
    outer = [one for _, one in trained if id(one) not in chosen]
    optimizer, momenta = torch.optim.AdamW(outer, lr=1.0, betas=(0.9, 0.99), weight_decay=0.0), [torch.zeros_like(one) for one in inner]
    for step in range(steps):
        rate = min(1, (step + 1) / 30) * (0.01 + 0.495 * (1 + math.cos(math.pi * step / steps)))
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * rate
        crowded = batch // 4 if step < 0.7 * steps else 0
        some, others = torch.randint(len(images), (batch - crowded,)), torch.randint(len(crowds), (crowded,))
        pictures = torch.cat([images[some], crowds[others]])
        vectors = book_vectors(model, torch.cat([codes[some], crowded_codes[others]]))
        error = pictures - model.decode(vectors, force_not_quantize=True).sample
        loss = ((error.abs() + error.square()) * foreground_weight(pictures)).mean()
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(outer, 1.0)
        optimizer.step()
        orthogonal_step(inner, momenta, 0.012 * rate)
        if (step + 1) % 200 == 0:
            say(decoder_step=step + 1, loss=float(loss.detach()), **error_of(held_out, decode(model, encode(model, held_out))))
    return model.eval()


def book_vectors(model: VQModel, codes: torch.Tensor) -> torch.Tensor:
    """``(n, 64)`` codes to their codebook vectors, ``(n, width, 8, 8)``."""
    vectors: torch.Tensor = model.quantize.get_codebook_entry(codes.reshape(-1), (len(codes), SIDE, SIDE, model.config.vq_embed_dim))
    return vectors.detach()


@torch.no_grad()
def orthogonal_step(weights: Sequence[torch.Tensor], momenta: Sequence[torch.Tensor], rate: float) -> None:
    """One step of Muon for convolutions: the momentum with its singular values made equal (torch's own takes matrices only)."""
    for weight, momentum in zip(weights, momenta, strict=True):
        momentum.mul_(0.95).add_(weight.grad)
        update = (weight.grad + 0.95 * momentum).flatten(1)
        tall = update.shape[0] > update.shape[1]
        update = update.T if tall else update
        update = update / (update.norm() + 1e-7)
        for _ in range(5):
            square = update @ update.T
            update = 3.4445 * update + (-4.775 * square + 2.0315 * square @ square) @ update
        weight.add_((update.T if tall else update).view_as(weight), alpha=-rate)


def quantized(vae: AutoencoderKL) -> VQModel:
    """A VQModel that computes what an autoencoder without attention computes, but for its codebook."""
    config = {
        key: vae.config[key] for key in ("block_out_channels", "down_block_types", "up_block_types", "layers_per_block", "norm_num_groups")
    }
    width = vae.config.latent_channels
    model = VQModel(
        **config, latent_channels=width, vq_embed_dim=width, num_vq_embeddings=CODES, sample_size=SIZE, mid_block_add_attention=False
    )
    encoder = vae.encoder.state_dict()
    for key in ("conv_out.weight", "conv_out.bias"):
        encoder[key] = encoder[key][:width]  # the rest are the logarithms of variances
    model.encoder.load_state_dict(encoder)
    model.decoder.load_state_dict(vae.decoder.state_dict())
    for convolution in (model.quant_conv, model.post_quant_conv):
        torch.nn.init.dirac_(convolution.weight)
        torch.nn.init.zeros_(convolution.bias)
    return model


def error_of(pictures: torch.Tensor, again: torch.Tensor) -> dict[str, float]:
    """Mean difference of colour values in -1..1: of all pixels, and of those of things."""
    difference = (pictures - again).abs().mean(1, keepdim=True)
    things = (foreground_weight(pictures) > 1).float()
    return {"error": float(difference.mean()), "error_in_things": float((difference * things).sum() / things.sum())}


def draw_crowds(n: int) -> torch.Tensor:
    """Pictures of four to eight things, ``(n, 3, 32, 32)``."""
    images = np.zeros((n, SIZE, SIZE, 3), dtype=np.uint8)
    for index in range(n):
        draw = np.random.default_rng([77, index])
        images[index] = render(draw_crowd(draw, int(draw.integers(4, 9))), seed=index, size=SIZE).image
    return to_tensor(images)


def draw_crowd(draw: np.random.Generator, things: int) -> SceneGraph:
    """One thing from each of so many scenes of the training distribution, before the background of the last."""
    scenes = [draw_scene(draw) for _ in range(things)]
    alone = [[one for one in scene.objects[0].attributes if one.type != "count"] for scene in scenes]
    objects = tuple(
        Object(f"o{place}", scene.objects[0].name, tuple(own)) for place, (scene, own) in enumerate(zip(scenes, alone, strict=True))
    )
    return SceneGraph(objects, (), scenes[-1].scene_attributes)


def foreground_weight(pictures: torch.Tensor) -> torch.Tensor:
    """6 where a picture is not of its commonest colour, else 1."""
    ground = pictures.flatten(2).median(-1).values[:, :, None, None]
    return 1 + 5 * ((pictures - ground).abs().amax(1, keepdim=True) > 0.15).float()


def k_means(points: torch.Tensor, k: int, rounds: int = 5) -> torch.Tensor:
    """Centres of clusters: the first ones drawn far from each other, then moved to the middle of what is nearest."""
    centres = points[torch.randint(len(points), (1,))]
    distance = torch.cdist(points, centres).square()[:, 0]
    for _ in range(k - 1):
        chosen = points[torch.multinomial(distance.clamp_min(1e-12), 1)]
        centres = torch.cat([centres, chosen])
        distance = torch.minimum(distance, torch.cdist(points, chosen).square()[:, 0])
    for _ in range(rounds):
        nearest = torch.cdist(points, centres).argmin(1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        count = torch.bincount(nearest, minlength=k)[:, None]
        centres = torch.where(count > 0, sums / count.clamp_min(1), centres)
    return centres


@torch.no_grad()
def encode(model: VQModel, pictures: torch.Tensor) -> torch.Tensor:
    """``(n, 3, 32, 32)`` pictures to ``(n, 64)`` codes."""
    parts = [model.quantize(model.encode(part).latents)[2][2].view(-1, SIDE * SIDE) for part in pictures.split(256)]
    return torch.cat(parts)


@torch.no_grad()
def decode(model: VQModel, codes: torch.Tensor) -> torch.Tensor:
    """``(n, 64)`` codes to ``(n, 3, 32, 32)`` pictures."""
    return model.decode(book_vectors(model, codes), force_not_quantize=True).sample


# ---- the text tokenizer ---------------------------------------------------------------------------------------------------------


def text_tokenizer(captions: Sequence[str]) -> Qwen2Tokenizer:
    """A byte-level tokenizer in which every word of the captions is one token, as it stands there, with or without a space before it."""
    letters = bytes_to_unicode()
    vocabulary = {letter: place for place, letter in enumerate(letters.values())}
    merges = []
    words = sorted({word for caption in captions for word in _words(caption)})
    for word in words:
        spelled = [letters[byte] for byte in word.encode()]
        whole = spelled[0]
        for letter in spelled[1:]:
            if whole + letter not in vocabulary:
                vocabulary[whole + letter] = len(vocabulary)
                merges.append((whole, letter))
            whole += letter
    end = "<|endoftext|>"
    vocabulary[end] = len(vocabulary)
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=merges, pad_token=end, eos_token=end, model_max_length=256)
    tokenizer.add_special_tokens({"additional_special_tokens": [TEXT_TO_IMAGE, IMAGE_START]})
    return tokenizer


def _words(caption: str) -> Iterator[str]:
    for place, word in enumerate(caption.split(" ")):
        bare = word.rstrip(".,")
        yield f" {bare}" if place else bare


# ---- the language model ---------------------------------------------------------------------------------------------------------


def train_language_model(
    prompts: list[list[int]],
    codes: torch.Tensor,
    text: int,
    null: list[int],
    steps: int,
    batch: int,
    sizes: dict[str, int],
    start_from: Path | None = None,
) -> Any:
    """A Qwen2 over prompt and picture tokens; only picture tokens are learnt. A batch is a few chunks, each with prompts of one length.

    Going on with a model that is trained, the rates start at half.
    """
    if start_from is None:
        model = Qwen2ForCausalLM(Qwen2Config(vocab_size=text + CODES, tie_word_embeddings=True, max_position_embeddings=256, **sizes))
    else:
        model = Qwen2ForCausalLM.from_pretrained(start_from, dtype=torch.float32).train()
    peak = 1.0 if start_from is None else 0.5
    say(parameters=sum(one.numel() for one in model.parameters()), text_tokens=text)
    hidden = [one for name, one in model.named_parameters() if one.ndim == 2 and "embed" not in name]
    others = [one for name, one in model.named_parameters() if one.ndim != 2 or "embed" in name]
    optimizers = [
        torch.optim.Muon(hidden, lr=0.02, weight_decay=0.02, adjust_lr_fn="original"),
        torch.optim.AdamW(others, lr=3e-3, betas=(0.9, 0.95), weight_decay=0.0),
    ]
    starts = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    held_out = range(HELD_OUT)
    by_length: dict[int, list[int]] = {}
    for place in range(HELD_OUT, len(prompts)):
        by_length.setdefault(len(prompts[place]), []).append(place)
    lengths = sorted(by_length)
    pools = {length: torch.tensor(by_length[length]) for length in lengths}
    weights = torch.tensor([float(len(by_length[length])) for length in lengths])
    weights = torch.cat([weights * (1 - NULL_SHARE), weights.sum()[None] * NULL_SHARE])
    everything = torch.tensor([place for length in lengths for place in by_length[length]])
    running = None
    for step in range(steps):
        share = peak * min(1.0, (step + 1) / 40) * min(1.0, 0.03 + 0.97 * (steps - step) / (0.7 * steps))
        for optimizer, start in zip(optimizers, starts, strict=True):
            for group, rate in zip(optimizer.param_groups, start, strict=True):
                group["lr"] = rate * share
        for optimizer in optimizers:
            optimizer.zero_grad()
        total = 0.0
        for _ in range(CHUNKS):
            drawn = int(torch.multinomial(weights, 1))
            pool = everything if drawn == len(lengths) else pools[lengths[drawn]]
            rows = pool[torch.randint(len(pool), (batch // CHUNKS,))]
            start_ids = torch.tensor([null] * len(rows) if drawn == len(lengths) else [prompts[row] for row in rows])
            loss = picture_loss(model, start_ids, codes[rows], text) / CHUNKS
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        running = total if running is None else 0.95 * running + 0.05 * total
        if (step + 1) % 100 == 0:
            with torch.no_grad():
                held = [picture_loss(model, torch.tensor([prompts[row]]), codes[row][None], text) for row in held_out[:64]]
            say(step=step + 1, loss=running, held_out=float(torch.stack(held).mean()))
    return model.eval()


def picture_loss(model: Any, start_ids: torch.Tensor, codes: torch.Tensor, text: int) -> torch.Tensor:
    """Mean cross-entropy of the codes, ``(rows, 64)``, after the prompts."""
    ids = torch.cat([start_ids, codes[:, :-1] + text], 1)
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(input_ids=ids).last_hidden_state[:, start_ids.shape[1] - 1 :]
        scores = linear(hidden, model.lm_head.weight[text:])
    return cross_entropy(scores.float().reshape(-1, CODES), codes.reshape(-1))


# ---- all of it ------------------------------------------------------------------------------------------------------------------


def judged(pictures: Sequence[NDArray[np.uint8]], records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Shares of pictures with every yes/no question answered rightly by the pixel judge, and of questions."""
    from anyscene.language.question import Question
    from anyscene.media import Media
    from anyscene.sandbox import load_judge

    judge = load_judge("pixels")
    right, kinds = [], {}
    for picture, record in zip(pictures, records, strict=True):
        questions = [Question.from_dict(one) for one in record["questions"]]
        answers = judge.answer(Media.of_image(picture), questions)
        good = [
            one.p_yes is not None and (one.p_yes > 0.5) == (question.answer == "yes")
            for one, question in zip(answers, questions, strict=True)
        ]
        right.append(all(good))
        for question, one in zip(questions, good, strict=True):
            kinds.setdefault(question.kind, []).append(one)
    return {
        "pictures": len(right),
        "all_right": float(np.mean(right)),
        "questions_right": float(np.mean([one for each in kinds.values() for one in each])),
        "by_kind": {kind: round(float(np.mean(each)), 3) for kind, each in sorted(kinds.items())},
    }


def judge_model(folder: Path, n: int, **options: object) -> dict[str, Any]:
    """Shares for pictures of clean captions of scenes that were not trained on."""
    from anyscene.models import load_model

    records = test_records(seed=1, n=n)
    model = load_model(f"autoregressive:{folder}", **{"prefix": "", "batch_size": 64, "device": "cpu", **options})
    made = model.generate([record["caption"] for record in records], [7919 * place + 1 for place in range(n)])
    return judged([one.array() for one in made], records)


def judge_reconstructions(model: VQModel, n: int) -> dict[str, Any]:
    """Shares for pictures that only went through the tokenizer."""
    records = test_records(seed=1, n=n)
    pictures = [render(SceneGraph.from_dict(record["graph"]), seed=place, size=SIZE).image for place, record in enumerate(records)]
    again = decode(model, encode(model, to_tensor(np.stack(pictures))))
    made = ((again / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return {"rendered": judged(pictures, records)["all_right"], **judged(list(made), records)}


def to_tensor(images: NDArray[np.uint8]) -> torch.Tensor:
    """``(n, 32, 32, 3) uint8`` to ``(n, 3, 32, 32)`` in -1..1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def main() -> None:
    """Train what is not there yet, then measure."""
    options = argparse.ArgumentParser(description="Train the sandbox's autoregressive model.")
    options.add_argument("pairs", type=Path, nargs="?", help="what captions.py wrote")
    options.add_argument("out", type=Path, help="the folder to write; a vqmodel in it is used as it is")
    options.add_argument(
        "--vae", type=Path, help="the autoencoder that the tokenizer starts as; else one is trained as train_diffusion.py does"
    )
    options.add_argument("--tokenizer-steps", type=int, default=1000)
    options.add_argument("--decoder-steps", type=int, default=2000)
    options.add_argument("--steps", type=int, default=2200)
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--hidden", type=int, default=192)
    options.add_argument("--layers", type=int, default=4)
    options.add_argument("--start-from", type=Path, help="a trained model to go on with")
    options.add_argument("--seed", type=int, default=1, help="of the order of the pairs")
    options.add_argument("--guidance", type=float, default=2.0)
    options.add_argument("--judge", type=int, default=400, metavar="N", help="pictures to judge at the end")
    options.add_argument("--judge-only", action="store_true")
    chosen = options.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    if not chosen.judge_only:
        train(chosen)
    say(tokenizer=judge_reconstructions(VQModel.from_pretrained(chosen.out / "vqmodel").float().eval(), chosen.judge))
    for guidance in (1.0, chosen.guidance):
        say(guidance=guidance, model=judge_model(chosen.out, chosen.judge, guidance=guidance))


def train(chosen: argparse.Namespace) -> None:
    """Write OUT."""
    pairs = np.load(chosen.pairs)
    captions = [str(one) for one in pairs["captions"]]
    images = to_tensor(pairs["images"])
    if not (chosen.out / "vqmodel").is_dir():
        vae = AutoencoderKL.from_pretrained(chosen.vae) if chosen.vae else train_vae(pairs["images"], 3500)
        torch.manual_seed(0)
        crowds = draw_crowds(8000)
        made = train_picture_tokenizer(vae.half().float().eval(), images, crowds, chosen.tokenizer_steps).half().float()
        torch.manual_seed(2)
        refine_decoder(made, images, crowds, chosen.decoder_steps).half().save_pretrained(chosen.out / "vqmodel")
    pictures = VQModel.from_pretrained(chosen.out / "vqmodel").float().eval()
    codes = encode(pictures, images)
    say(codes_used=len(codes.unique()))
    tokenizer = text_tokenizer(captions)
    torch.manual_seed(chosen.seed)
    prompts = [encode_prompt(tokenizer, caption) for caption in captions]
    sizes = {
        "hidden_size": chosen.hidden,
        "intermediate_size": round(chosen.hidden * 8 / 3 / 32) * 32,
        "num_hidden_layers": chosen.layers,
        "num_attention_heads": chosen.hidden // 32,
        "num_key_value_heads": chosen.hidden // 64,
    }
    model = train_language_model(
        prompts, codes, len(tokenizer), encode_prompt(tokenizer, None), chosen.steps, chosen.batch, sizes, chosen.start_from
    )
    model.generation_config = GenerationConfig(pad_token_id=tokenizer.pad_token_id)
    model.half().save_pretrained(chosen.out)
    tokenizer.save_pretrained(chosen.out)


if __name__ == "__main__":
    main()
