"""Trains the tiny flow model of the sandbox: a stock Stable Diffusion 3 pipeline for pictures of 32 x 32 pixels.

    cd tools/sandbox; python train_diffusion.py ../../src/anyscene/sandbox/weights/diffusion --work ../../build/diffusion

Three stages, each kept in the work folder so that the next run goes on from there: a tokenizer with the words of the sandbox, an
autoencoder (32 x 32 x 3 to 8 x 8 x 4), and the denoiser with its two text encoders by rectified flow. At the end the pipeline is written
with its moving-average weights in float16, and clean captions of the training distribution are drawn and judged from their pixels
(``train_diffusion.log`` is what the shipped weights said). About 45 minutes of one core.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import torch.nn.functional as functional
import transformers
from captions import test_records, training_pairs
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

LENGTH = 24
"""Tokens of a caption; what is longer is cut."""
LATENTS = 4
WIDTH, LAYERS, HEADS = 96, 6, 4
TEXT_WIDTH, SECOND_WIDTH = 64, 32
UNCONDITIONAL = 0.1
STEPS, GUIDANCE, SHIFT = 20, 3.0, 1.0


def train_tokenizer() -> Any:
    """A CLIP tokenizer in which every word of the sandbox is one token; other words fall back to the bytes they are made of."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    from anyscene.dataset import SceneSpace
    from anyscene.sandbox import load_sandbox_taxonomy

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    maker = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix="</w>", fuse_unk=False, unk_token="<|endoftext|>"))
    maker.normalizer = normalizers.Lowercase()
    maker.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True),
            pre_tokenizers.ByteLevel(False),
        ]
    )
    maker.decoder = decoders.ByteLevel()
    space = SceneSpace(taxonomy=load_sandbox_taxonomy(), complexity=(1, 8), scene_attributes=(0, 2), counts=True)
    said = [record["caption"] for record in space.records(6_000, seed=1)]
    maker.train_from_iterator(
        said, trainers.BpeTrainer(vocab_size=4000, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False)
    )
    merges = [tuple(merge) for merge in json.loads(maker.to_str())["model"]["merges"]]
    tokens = [
        *alphabet,
        *(letter + "</w>" for letter in alphabet),
        *("".join(merge) for merge in merges),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    vocabulary = {token: place for place, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LENGTH)
    words = sorted({word for caption in said for word in caption.lower().replace(".", " ").replace(",", " ").split()})
    split = [word for word in words if len(tokenizer(word).input_ids) != 3]
    print(f"tokenizer: {len(tokenizer)} tokens, {len(words)} words of the sandbox, not one token: {split}", flush=True)
    return tokenizer


def make_vae() -> Any:
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        block_out_channels=(16, 32, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=LATENTS,
        norm_num_groups=8,
        sample_size=32,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.0,
        scaling_factor=1.0,
    )


def pixels(images: Any) -> torch.Tensor:
    """``(n, 32, 32, 3) uint8`` as ``(n, 3, 32, 32)`` from -1 to 1."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def train_vae(images: Any, steps: int, batch: int = 16) -> Any:
    """The autoencoder. Things cover a twentieth of a picture, so what differs from the background weighs more."""
    torch.manual_seed(1)
    vae = make_vae().to(memory_format=torch.channels_last)
    average = make_vae()
    optimizer = torch.optim.AdamW(vae.parameters(), lr=2e-3, betas=(0.9, 0.99), weight_decay=1e-4)
    start = time.process_time()
    for step in range(1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, step / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        x = pixels(images[torch.randint(len(images), (batch,)).numpy()])
        posterior = vae.encode(x.to(memory_format=torch.channels_last)).latent_dist
        loss, inside, error = picture_loss(vae.decode(posterior.sample()).sample, x)
        loss = loss + 3e-4 * posterior.kl().mean() / 64
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        follow(average, vae, step, 0.995)
        if step % 250 == 0:
            off, things = error.abs().mean().item() * 127.5, (error.abs() * inside).sum().item() / inside.sum().item() / 3 * 127.5
            seconds, kl = time.process_time() - start, posterior.kl().mean().item() / (64 * LATENTS)
            told = f"mean error {off:.2f} of 255, of things {things:.2f}, kl {kl:.2f}, {seconds:.0f} CPU s"
            print(f"vae {step}: loss {loss.item():.4f}, {told}", flush=True)
    return average.eval()


def train_decoder(vae: Any, images: Any, latents: tuple[torch.Tensor, torch.Tensor], steps: int, batch: int = 16) -> Any:
    """The decoder goes on alone, from latents with more noise than the encoder's, as the denoiser's are; the encoder stays as it is."""
    torch.manual_seed(4)
    mean, deviation = latents
    spread = mean.std().item()
    decoder = make_vae().to(memory_format=torch.channels_last)
    decoder.load_state_dict(vae.state_dict())
    optimizer = torch.optim.AdamW(decoder.decoder.parameters(), lr=1.5e-3, betas=(0.9, 0.99), weight_decay=1e-4)
    start = time.process_time()
    for step in range(1, steps + 1):
        optimizer.param_groups[0]["lr"] = 1.5e-3 * min(1, step / 50) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        rows = torch.randint(len(images), (batch,))
        x = pixels(images[rows.numpy()])
        noise = torch.rand(batch, 1, 1, 1) * 0.15 * spread
        noisy = mean[rows] + (deviation[rows] + noise) * torch.randn_like(mean[rows])
        loss, inside, error = picture_loss(decoder.decode(noisy.to(memory_format=torch.channels_last)).sample, x)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.decoder.parameters(), 1.0)
        optimizer.step()
        follow(vae.decoder, decoder.decoder, step, 0.995)
        if step % 250 == 0:
            things = (error.abs() * inside).sum().item() / inside.sum().item() / 3 * 127.5
            told = f"mean error {error.abs().mean().item() * 127.5:.2f} of 255, of things {things:.2f}"
            print(f"decoder {step}: loss {loss.item():.4f}, {told}, {time.process_time() - start:.0f} CPU s", flush=True)
    return vae.eval()


def picture_loss(made: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The error of pictures, where things are, and the difference; what differs from the background weighs more."""
    inside = ((x - x.flatten(2).median(2).values[:, :, None, None]).abs().amax(1, keepdim=True) > 0.12).float()
    weight = 1 + 7 * functional.max_pool2d(inside, 3, 1, 1)
    error = made - x
    return ((error.abs() + 2 * error.square()) * weight).sum() / weight.sum() / 3, inside, error


@torch.no_grad()
def follow(average: torch.nn.Module, module: torch.nn.Module, step: int, keep: float) -> None:
    """The moving average of the weights takes a step."""
    share = 1 - min(keep, (step + 1) / (step + 10))
    for own, other in zip(average.parameters(), module.parameters(), strict=True):
        own.lerp_(other, share)


def make_denoiser(tokenizer: Any) -> tuple[Any, Any, Any]:
    """The transformer and the two text encoders."""

    def text_encoder(width: int, layers: int) -> Any:
        config = CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=width * 4,
            num_hidden_layers=layers,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            projection_dim=width,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        return CLIPTextModelWithProjection(config)

    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=LATENTS,
        out_channels=LATENTS,
        num_layers=LAYERS,
        attention_head_dim=WIDTH // HEADS,
        num_attention_heads=HEADS,
        caption_projection_dim=WIDTH,
        joint_attention_dim=TEXT_WIDTH + SECOND_WIDTH,
        pooled_projection_dim=TEXT_WIDTH + SECOND_WIDTH,
        pos_embed_max_size=4,
    )
    return transformer, text_encoder(TEXT_WIDTH, 2), text_encoder(SECOND_WIDTH, 1)


class Flow(torch.nn.Module):
    """Denoiser and text encoders together, called as the pipeline calls them (without T5: one token of zeros)."""

    def __init__(self, tokenizer: Any) -> None:
        super().__init__()
        self.transformer, self.first, self.second = make_denoiser(tokenizer)

    def forward(self, noisy: torch.Tensor, sigma: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        told, pooled = [], []
        for encoder in (self.first, self.second):
            output = encoder(tokens, output_hidden_states=True)
            told.append(output.hidden_states[-2])
            pooled.append(output[0])
        words = functional.pad(torch.cat(told, -1), (0, 0, 0, 1))
        flow: torch.Tensor = self.transformer(
            noisy, encoder_hidden_states=words, pooled_projections=torch.cat(pooled, -1), timestep=sigma * 1000, return_dict=False
        )[0]
        return flow


def pipeline_of(flow: Flow, vae: Any, tokenizer: Any) -> Any:
    pipe = StableDiffusion3Pipeline(
        transformer=flow.transformer,
        vae=vae,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
        text_encoder=flow.first,
        text_encoder_2=flow.second,
        text_encoder_3=None,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        tokenizer_3=None,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@torch.no_grad()
def encode(vae: Any, images: Any, kept: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Means and standard deviations of all latents, scaled as the denoiser sees them; sets the autoencoder's own scaling."""
    if not kept.exists():
        found = [vae.encode(pixels(images[i : i + 500])).latent_dist for i in range(0, len(images), 500)]
        torch.save((torch.cat([one.mean for one in found]), torch.cat([one.std for one in found])), kept)
    mean, deviation = torch.load(kept)
    shift, scale = mean.mean().item(), 1 / math.sqrt(mean.var().item() + deviation.square().mean().item())
    vae.register_to_config(shift_factor=shift, scaling_factor=scale)
    print(f"latents: shift {shift:.3f}, scale {scale:.3f}, noise of the encoder {deviation.mean().item() * scale:.3f}", flush=True)
    return (mean - shift) * scale, deviation * scale


def make_optimizers(flow: Flow, rate: float) -> list[Any]:
    """Muon for the matrices of attention and feed-forward layers, AdamW for the rest (embeddings, modulation, biases)."""
    inside = [("transformer_blocks" in name or "encoder.layers" in name) and "norm" not in name for name, _ in flow.named_parameters()]
    matrices = [one for one, is_inside in zip(flow.parameters(), inside, strict=True) if is_inside and one.ndim == 2]
    chosen = {id(one) for one in matrices}
    others = [one for one in flow.parameters() if id(one) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=10 * rate, weight_decay=0.01, adjust_lr_fn="original"),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def train_flow(flow: Flow, vae: Any, tokenizer: Any, images: Any, captions: list[str], args: argparse.Namespace) -> Flow:
    """Rectified flow: the velocity from picture to noise is learnt, at levels of noise that are logit-normal, or high.

    Returns the moving average.
    """
    mean, deviation = encode(vae, images, args.work / "latents.pt")
    tokens = tokenizer([*captions, ""], padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt").input_ids
    torch.manual_seed(2)
    average = Flow(tokenizer)
    average.load_state_dict(flow.state_dict())
    average.eval()
    optimizers = make_optimizers(flow, args.rate)
    rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    start, done, lost = time.process_time(), 0, 0.0
    state = args.work / "flow.pt"
    if state.exists():
        saved = torch.load(state)
        flow.load_state_dict(saved["flow"])
        average.load_state_dict(saved["average"])
        for optimizer, kept in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        done, start = saved["done"], start - saved["seconds"]
        torch.manual_seed(2 + done)
    for step in range(done + 1, args.steps + 1):
        share = min(1, step / 100) * (0.02 + 0.98 * min(1, (args.steps - step) / (0.6 * args.steps)))
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * share
            optimizer.zero_grad()
        rows = torch.randint(len(mean), (args.batch,))
        clean = mean[rows] + deviation[rows] * torch.randn_like(mean[rows])
        said = torch.where(torch.rand(args.batch) < UNCONDITIONAL, len(captions), rows)
        sigma = torch.where(
            torch.rand(args.batch) < args.high_noise, 0.7 + 0.3 * torch.rand(args.batch), torch.sigmoid(torch.randn(args.batch))
        )
        noise = torch.randn_like(clean)
        noisy = clean + sigma[:, None, None, None] * (noise - clean)
        loss = functional.mse_loss(flow(noisy, sigma, tokens[said]), noise - clean)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        lost += loss.item()
        follow(average, flow, step, 0.999)
        if step % 250 == 0:
            print(f"flow {step}: loss {lost / 250:.4f}, {time.process_time() - start:.0f} CPU s", flush=True)
            lost = 0.0
            weights = {"flow": flow.state_dict(), "average": average.state_dict()}
            running = {
                "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                "done": step,
                "seconds": time.process_time() - start,
            }
            torch.save({**weights, **running}, state)
        if step % 500 == 0:
            report(pipeline_of(average, vae, tokenizer), 64, args.work / f"flow-{step}.png", f"flow {step}")
    return average


def paint(pipe: Any, captions: list[str], guidance: float = GUIDANCE, steps: int = STEPS) -> list[Any]:
    """A picture of each caption, seeded with its place."""
    made = []
    for first in range(0, len(captions), 64):
        some = captions[first : first + 64]
        seeds = [torch.Generator().manual_seed(first + place) for place in range(len(some))]
        made += pipe(
            some, height=32, width=32, num_inference_steps=steps, guidance_scale=guidance, max_sequence_length=1, generator=seeds
        ).images
    return made


def report(pipe: Any, count: int, grid: Path | None = None, name: str = "", **options: Any) -> float:
    """The share of pictures of clean captions of which every yes/no question is answered rightly from the pixels."""
    from PIL import Image

    records = test_records(1, count)
    made = paint(pipe, [record["caption"] for record in records], **options)
    if grid is not None:
        sheet = Image.new("RGB", (32 * 8, 32 * (min(count, 64) // 8)))
        for place, picture in enumerate(made[:64]):
            sheet.paste(picture, (place % 8 * 32, place // 8 * 32))
        sheet.resize((sheet.width * 3, sheet.height * 3), Image.Resampling.NEAREST).save(grid)
    return judge(made, records, name)


def judge(made: list[Any], records: list[dict[str, Any]], name: str) -> float:
    """Judges pictures, prints the shares and returns that of the pictures that are fully correct."""
    from anyscene.language.question import Question
    from anyscene.media import Media
    from anyscene.sandbox import load_judge

    pixel_judge = load_judge("pixels")
    right: dict[str, list[bool]] = {}
    for picture, record in zip(made, records, strict=True):
        questions = [Question.from_dict(one) for one in record["questions"]]
        answers = pixel_judge.answer(Media.of_image(picture), questions)
        good = [
            one.p_yes is not None and (one.p_yes > 0.5) == (asked.answer == "yes") for one, asked in zip(answers, questions, strict=True)
        ]
        things = len(record["graph"]["objects"])
        right.setdefault("all", []).append(all(good))
        right.setdefault("one thing" if things == 1 else "two things", []).append(all(good))
        for asked, one in zip(questions, good, strict=True):
            right.setdefault(f"{asked.kind} {asked.answer}", []).append(one)
    print(f"{name}: " + ", ".join(f"{key} {np.mean(value):.3f} of {len(value)}" for key, value in sorted(right.items())), flush=True)
    return float(np.mean(right["all"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, help="the pipeline's folder")
    parser.add_argument("--work", type=Path, required=True, help="where stages are kept")
    parser.add_argument("--pairs", type=int, default=60_000)
    parser.add_argument("--vae-steps", type=int, default=3500)
    parser.add_argument("--decoder-steps", type=int, default=3000)
    parser.add_argument("--steps", type=int, default=6500)
    parser.add_argument(
        "--high-noise", type=float, default=0.4, help="share of each batch with 70 to 100 %% noise, where colours are decided"
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=2e-3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    args.work.mkdir(parents=True, exist_ok=True)
    kept = args.work / f"pairs-{args.pairs}.npz"
    if not kept.exists():
        images, captions, _ = training_pairs(0, args.pairs)
        np.savez(kept, images=images, captions=np.array(captions))
    pairs = np.load(kept)
    images, captions = pairs["images"], [str(caption) for caption in pairs["captions"]]
    tokenizer = train_tokenizer()
    if (args.work / "vae").is_dir():
        vae = AutoencoderKL.from_pretrained(args.work / "vae").eval()
    else:
        vae = train_vae(images, args.vae_steps)
        vae.save_pretrained(args.work / "vae")
    torch.manual_seed(3)
    flow = Flow(tokenizer)
    counts = {
        name: sum(one.numel() for one in part.parameters())
        for name, part in (("vae", vae), ("transformer", flow.transformer), ("text", flow.first))
    }
    print("parameters: " + ", ".join(f"{name} {count:,}" for name, count in counts.items()), flush=True)
    flow = train_flow(flow, vae, tokenizer, images, captions, args)
    if (args.work / "vae_final").is_dir():
        decoder = AutoencoderKL.from_pretrained(args.work / "vae_final").decoder
    else:
        decoder = train_decoder(copy.deepcopy(vae), images, torch.load(args.work / "latents.pt"), args.decoder_steps).decoder
    vae.decoder = decoder
    pipe = pipeline_of(flow, vae, tokenizer).to(torch.float16)
    pipe.save_pretrained(args.out)
    for path in args.out.rglob("*.json"):  # where a part was loaded from is nobody's business
        written = json.loads(path.read_text())
        if written.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(written, indent=2) + "\n")
    size = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
    print(f"written: {size / 1e6:.2f} MB", flush=True)
    pipe = StableDiffusion3Pipeline.from_pretrained(args.out, text_encoder_3=None, tokenizer_3=None, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    for guidance in (1.0, 2.0, 3.0, 4.0, 5.0):
        report(pipe, 300, None, f"guidance {guidance}, {STEPS} steps", guidance=guidance)


if __name__ == "__main__":
    main()
