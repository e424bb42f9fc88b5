"""Many prompts about one media, with the media read only once.

A vision-language model spends nearly all its time on the picture. Prompts about one media begin alike: the picture, the lead-in, often
the first words of the question. That beginning runs through the model once; its key-value cache is then repeated for all prompts, and
only their different ends run, side by side. The numbers equal those of one call a prompt, which `check_modes` makes sure of before a
model is used, on a picture of its own; where they do not, prompts go through in plain batches, or one by one.

Torch is imported where it is used.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from anyscene.weights import empty_cache, is_out_of_memory, load_errors, one_line

__all__ = ["MODES", "Beginning", "OutOfMemoryError", "VisionReader", "check_modes"]

MODES = ("prefix", "plain", "single")
TOLERANCE = {"float32": 1e-4, "float64": 1e-4, "float16": 0.03, "bfloat16": 0.15}
"""Root mean square difference of the logits of two ways of calling a model, in standard deviations of its logits."""

Result = TypeVar("Result")


class OutOfMemoryError(Exception):
    """A single prompt does not fit the device's memory. Callers give the media up, not the run."""


@dataclass(frozen=True)
class Beginning:
    """The prompts of one media, and what they have in common, read already.

    Attributes:
        images: the pictures of the media.
        prompts: rendered chat prompts, a placeholder for each picture in them.
        ends: token ids of each prompt behind what all have in common; empty where nothing was read ahead.
        cache: keys and values of the common beginning (batch of one); None where nothing was read ahead.
        length: tokens of the beginning.
        shift: what rotary positions lag behind the count of tokens (M-RoPE of the Qwen family); None for models without.
    """

    images: tuple[Image.Image, ...]
    prompts: tuple[str, ...]
    ends: tuple[tuple[int, ...], ...] = ()
    cache: Any = None
    length: int = 0
    shift: int | None = None


class VisionReader:
    """Next-token probabilities and short greedy replies of an image-text-to-text model of transformers.

    Args:
        model: loaded, in evaluation mode, on its device.
        processor: its processor; must hold a chat template.
        mode: ``prefix`` reads the common beginning once, ``plain`` gives every prompt its own copy of the picture, ``single`` is
            ``plain`` one prompt at a time.
        batch: most prompts side by side; halved for good whenever the memory does not suffice.
    """

    def __init__(self, model: Any, processor: Any, mode: str = "prefix", batch: int = 32) -> None:
        import inspect

        self.model, self.processor, self.mode, self.batch = model, processor, mode, batch
        self.tokenizer = processor.tokenizer
        self.tokenizer.padding_side = "left"  # of plain batches: replies start where all prompts end
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self._keeps = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._shifted = next((module for module in model.modules() if hasattr(module, "rope_deltas")), None)
        self._ends_with = _end_tokens(model, self.tokenizer)
        template = processor.chat_template
        texts = list(template.values()) if isinstance(template, dict) else [template]
        self._options = {"enable_thinking": False} if any("enable_thinking" in str(text) for text in texts) else {}
        self._control = sorted({*self.tokenizer.all_special_tokens, *_placeholders(processor)}, key=len, reverse=True)

    @property
    def device(self) -> Any:
        """The torch device that inputs go to."""
        return self.model.device

    def prompt(self, pictures: int, text: str) -> str:
        """The chat prompt for so many pictures and a text behind them, up to where the reply starts.

        Control tokens in the text are cut. A thought that the template opens whatever it is told is closed at once.
        """
        for token in self._control:
            text = text.replace(token, "") if token.strip() else text
        content = [*({"type": "image"} for _ in range(pictures)), {"type": "text", "text": text}]
        rendered: str = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True, **self._options
        )
        open_thought = rendered.rstrip()
        return f"{open_thought}\n\n</think>\n\n" if open_thought.endswith("<think>") else rendered

    def token_ids(self, text: str) -> tuple[int, ...]:
        """Tokens of a rendered prompt; pictures are still one placeholder each."""
        return tuple(self.tokenizer(text, add_special_tokens=self._adds_special(text)).input_ids)

    def begin(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Beginning:
        """Reads what the prompts have in common, where the mode is ``prefix`` and more than one prompt gains by it.

        Raises:
            OutOfMemoryError: the beginning alone is too large.
        """
        beginning = Beginning(tuple(images), tuple(prompts))
        if self.mode != "prefix":
            return beginning
        ids = [self.token_ids(prompt) for prompt in prompts]
        common = _common_length(ids)
        ends = tuple(tokens[common:] for tokens in ids)
        inputs = self._inputs(beginning.images, prompts[:1])
        total = int(inputs["input_ids"].shape[1])
        length = total - len(ends[0])
        if length <= 0 or tuple(inputs["input_ids"][0, length:].tolist()) != ends[0]:
            return beginning  # the processor writes more behind the picture than the tokenizer alone does: plain calls are right
        head = {name: value[:, :length] if tuple(value.shape) == (1, total) else value for name, value in inputs.items()}
        output = self._guarded(lambda: self._forward(use_cache=True, **head, **({"logits_to_keep": 1} if self._keeps else {})))
        shift = None if self._shifted is None or self._shifted.rope_deltas is None else int(self._shifted.rope_deltas.reshape(-1)[0])
        return Beginning(tuple(images), tuple(prompts), ends, output.past_key_values, length, shift)

    def next_log_probs(self, beginning: Beginning, places: Sequence[int]) -> Any:
        """Log-probabilities of the first reply token: ``(places, vocabulary) float32`` on the model's device.

        Raises:
            OutOfMemoryError: one prompt alone is too large.
        """
        import torch

        def call(some: Sequence[int]) -> list[Any]:
            logits = self._ends(beginning, some)[0] if beginning.cache is not None else self._plain(beginning, some)
            return list(logits.float().log_softmax(-1))

        return torch.stack(self._in_batches(places, call))

    def reply(self, beginning: Beginning, places: Sequence[int], most: int) -> list[str]:
        """Greedy replies of at most so many tokens, without special tokens.

        Raises:
            OutOfMemoryError: one prompt alone is too large.
        """
        call = self._continue if beginning.cache is not None else self._generate
        if beginning.cache is None or not _forgets(beginning.cache):
            return self._in_batches(places, lambda some: call(beginning, some, most))
        replies: dict[int, str] = {}
        for size in sorted({len(beginning.ends[place]) for place in places}):  # padding would take room in the model's window
            same = [place for place in places if len(beginning.ends[place]) == size]
            replies.update(zip(same, self._in_batches(same, lambda some: call(beginning, some, most)), strict=True))
        return [replies[place] for place in places]

    def _in_batches(self, places: Sequence[int], call: Callable[[Sequence[int]], list[Result]]) -> list[Result]:
        """The results of all places, in order; a batch that does not fit the memory is halved, and so are those after it."""
        done: list[Result] = []
        while len(done) < len(places):
            size = 1 if self.mode == "single" else self.batch
            some = places[len(done) : len(done) + size]
            try:
                done += self._guarded(lambda some=some: call(some))  # type: ignore[misc]
            except OutOfMemoryError:
                if len(some) == 1:
                    raise
                self.batch = len(some) // 2
        return done

    def _guarded(self, call: Callable[[], Result]) -> Result:
        """The call without gradients; out of memory is told as `OutOfMemoryError`, after the memory was freed."""
        import torch

        try:
            with torch.inference_mode():
                return call()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            reason = one_line(error)
        empty_cache(str(self.device))
        raise OutOfMemoryError(reason)

    def _adds_special(self, text: str) -> bool:
        bos = self.tokenizer.bos_token
        return not (bos and text.startswith(bos))

    def _inputs(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> dict[str, Any]:
        """Tensors of the processor for these prompts, each about all the images, padded on the left."""
        made = self.processor(
            text=list(prompts),
            images=[list(images) for _ in prompts],
            return_tensors="pt",
            padding=True,
            add_special_tokens=self._adds_special(prompts[0]),
        )
        return {
            name: value.to(self.device, self.model.dtype) if value.is_floating_point() else value.to(self.device)
            for name, value in made.items()
        }

    def _forward(self, **inputs: Any) -> Any:
        return self.model(**inputs, return_dict=True)

    def _plain(self, beginning: Beginning, places: Sequence[int]) -> Any:
        """Last logits of whole prompts: ``(places, vocabulary)``."""
        inputs = self._inputs(beginning.images, [beginning.prompts[place] for place in places])
        output = self._forward(use_cache=False, **inputs, **({"logits_to_keep": 1} if self._keeps else {}))
        return output.logits[:, -1]

    def _ends(self, beginning: Beginning, places: Sequence[int]) -> tuple[Any, Any, Any]:
        """The ends of prompts behind copies of the beginning's cache, padded on the right.

        Returns:
            The logits behind each end, ``(places, vocabulary)``; the cache, grown by the ends; the mask of what in it is real.
        """
        import torch

        ends = [torch.tensor(beginning.ends[place]) for place in places]
        ids = torch.nn.utils.rnn.pad_sequence(ends, batch_first=True, padding_value=self.tokenizer.pad_token_id).to(self.device)
        last = torch.tensor([len(end) - 1 for end in ends], device=self.device)
        count, width = ids.shape
        real = torch.arange(width, device=self.device) <= last[:, None]
        mask = torch.cat([real.new_ones(count, beginning.length), real], 1).long()
        cache = copy.deepcopy(beginning.cache)
        cache.reorder_cache(torch.zeros(count, dtype=torch.long, device=self.device))
        wanted, where = last.unique(return_inverse=True)
        output = self._forward(
            input_ids=ids,
            attention_mask=mask,
            position_ids=self._positions(beginning, torch.arange(width, device=self.device).expand(count, -1)),
            past_key_values=cache,
            use_cache=True,
            **({"logits_to_keep": wanted} if self._keeps else {}),
        )
        rows = torch.arange(count, device=self.device)
        return output.logits[rows, where if self._keeps else last], output.past_key_values, mask

    def _positions(self, beginning: Beginning, behind: Any) -> Any:
        """Rotary positions of tokens that are so far behind the beginning: ``(rows, tokens)``, three times that for M-RoPE."""
        if beginning.shift is None:
            return behind + beginning.length
        return (behind + beginning.length + beginning.shift).expand(3, *behind.shape)

    def _continue(self, beginning: Beginning, places: Sequence[int], most: int) -> list[str]:
        """Greedy replies behind the beginning's cache."""
        import torch

        logits, cache, mask = self._ends(beginning, places)
        behind = torch.tensor([len(beginning.ends[place]) for place in places], device=self.device)[:, None]
        stops = torch.tensor(self._ends_with, device=self.device)
        tokens, running = logits.argmax(-1), torch.ones(len(places), dtype=torch.bool, device=self.device)
        replies: list[list[int]] = [[] for _ in places]
        for step in range(most):
            running &= ~torch.isin(tokens, stops)
            for reply, token, runs in zip(replies, tokens.tolist(), running.tolist(), strict=True):
                reply.extend([token] if runs else [])
            if step == most - 1 or not bool(running.any()):
                break
            mask = torch.cat([mask, mask.new_ones(len(places), 1)], 1)
            output = self._forward(
                input_ids=tokens[:, None],
                attention_mask=mask,
                position_ids=self._positions(beginning, behind + step),
                past_key_values=cache,
                use_cache=True,
            )
            cache, tokens = output.past_key_values, output.logits[:, -1].argmax(-1)
        return [self.tokenizer.decode(reply, skip_special_tokens=True) for reply in replies]

    def _generate(self, beginning: Beginning, places: Sequence[int], most: int) -> list[str]:
        """Greedy replies to whole prompts, by the library's own generation."""
        from transformers import GenerationConfig

        inputs = self._inputs(beginning.images, [beginning.prompts[place] for place in places])
        config = GenerationConfig(
            max_new_tokens=most, do_sample=False, eos_token_id=list(self._ends_with), pad_token_id=self.tokenizer.pad_token_id
        )
        made = self.model.generate(**inputs, generation_config=config)[:, inputs["input_ids"].shape[1] :]
        replies = []
        for row in made.tolist():
            stop = next((place for place, token in enumerate(row) if token in self._ends_with), len(row))
            replies.append(self.tokenizer.decode(row[:stop], skip_special_tokens=True))
        return replies


def check_modes(reader: VisionReader, wanted: str) -> tuple[str, str]:
    """The first of the modes, from ``wanted`` on, whose numbers equal one call a prompt on a picture made for this check.

    Returns:
        The mode, and why those before it were passed over (empty where the wanted one will do).
    """
    ramp = np.linspace(0, 255, 96, dtype=np.uint8)
    picture = Image.fromarray(np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], ramp[::-1, None]), -1))
    asked = ("Is it dark?", "Is there a round thing to the left of a square one? Answer Yes or No.", "Is it light in the picture?")
    prompts = [reader.prompt(1, text) for text in asked]

    def read(mode: str) -> Any:
        reader.mode = mode
        return reader.next_log_probs(reader.begin([picture], prompts), range(len(prompts)))

    right = read("single")
    allowed = TOLERANCE.get(str(reader.model.dtype).removeprefix("torch."), 1e-4)
    reasons: list[str] = []
    for mode in MODES[MODES.index(wanted) : -1]:
        try:
            found = read(mode)
        except load_errors() as error:
            reasons.append(f"{mode} raises an error: {one_line(error, 120)}")
            continue
        far = float(((found - right).square().mean(-1).sqrt() / right.std(-1).clamp_min(1e-12)).max())
        if far <= allowed:
            return mode, "; ".join(reasons)
        reasons.append(f"{mode} is off by {far:.2g} standard deviations of the logits")
    reader.mode = "single"
    return "single", "; ".join(reasons)


def _common_length(rows: Sequence[Sequence[int]]) -> int:
    """How many first tokens are the same in all rows; at least one token of each row is left over."""
    most = min(map(len, rows)) - 1
    return next((place for place in range(most) if len({row[place] for row in rows}) > 1), most)


def _forgets(cache: Any) -> bool:
    """Whether a cache holds anything but all keys and values: windows and running states feel the padding of their neighbours."""
    return any(type(layer).__name__ != "DynamicLayer" for layer in getattr(cache, "layers", ()))


def _end_tokens(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Every token that ends a reply."""
    config = getattr(model, "generation_config", None)
    found = [tokenizer.eos_token_id, getattr(config, "eos_token_id", None)]
    flat = [one for some in found for one in (some if isinstance(some, (list, tuple)) else [some])]
    return tuple(sorted({int(one) for one in flat if one is not None}))


def _placeholders(processor: Any) -> list[str]:
    """The texts that a processor replaces by pictures."""
    found = [getattr(processor, name, None) for name in ("image_token", "video_token", "boi_token", "fake_image_token")]
    return [text for text in (getattr(one, "content", one) for one in found) if isinstance(text, str)]
