"""Tiny vision-language models with random weights, saved so that they are loaded through the classes of real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

CHAT = """{% for m in messages %}<|im_start|>{{ m['role'] }}
{% for c in m['content'] %}{% if c['type'] == 'image' %}IMAGE{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def tokenizer(marks: tuple[str, ...], whole: tuple[str, ...] = ("Yes", "No"), **named: str) -> Any:
    """A byte-level tokenizer in which the words given are one token each, and nothing else is."""
    from transformers import Qwen2Tokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    vocabulary = {symbol: place for place, symbol in enumerate(bytes_to_unicode().values())}
    merges = []
    for word in whole:
        made = word[0]
        for symbol in word[1:]:
            merges.append((made, symbol))
            made += symbol
            vocabulary.setdefault(made, len(vocabulary))
    for mark in (*MARKS, *marks):
        vocabulary[mark] = len(vocabulary)
    made_of = Qwen2Tokenizer(vocab=vocabulary, merges=merges, model_max_length=4096, **({"extra_special_tokens": named} if named else {}))
    made_of.add_special_tokens({"additional_special_tokens": [*MARKS[1:], *marks]})
    return made_of


def llama(tokens: Any, **more: Any) -> dict[str, Any]:
    """The text side that all of them share."""
    return dict(
        vocab_size=len(tokens),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        pad_token_id=tokens.pad_token_id,
        eos_token_id=tokens.convert_tokens_to_ids("<|im_end|>"),
        bos_token_id=None,
        **more,
    )


def save_llava(folder: Path, whole: tuple[str, ...] = ("Yes", "No"), seed: int = 0, template: str | None = None) -> Path:
    """LLaVA: CLIP vision, Llama text; needs no torchvision."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokens = tokenizer(("<image>",), whole)
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
        tokenizer=tokens,
        patch_size=14,
        vision_feature_select_strategy="default",
        chat_template=(template or CHAT).replace("IMAGE", "<image>\n"),
        image_token="<image>",
        num_additional_image_tokens=1,
    )
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=14, projection_dim=32
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=LlamaConfig(**llama(tokens)),
        image_token_index=tokens.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
    )
    return save(folder, LlavaForConditionalGeneration, config, processor, seed)


def save_qwen(folder: Path) -> Path:
    """Qwen2.5-VL: positions in three dimensions, pictures of any size; its processor needs torchvision."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor, Qwen2VLVideoProcessor
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    marks = ("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")
    tokens = tokenizer(marks)
    patches = dict(patch_size=14, merge_size=2, temporal_patch_size=2)
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessorPil(**patches, size={"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 16}),
        tokenizer=tokens,
        video_processor=Qwen2VLVideoProcessor(**patches),
        chat_template=CHAT.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"),
    )
    text = llama(tokens, rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]})
    vision = dict(
        depth=2, hidden_size=32, intermediate_size=64, num_heads=4, patch_size=14, spatial_merge_size=2, temporal_patch_size=2,
        window_size=56, out_hidden_size=32, fullatt_block_indexes=[1],
    )  # fmt: skip
    ids = {f"{name}_token_id": tokens.convert_tokens_to_ids(f"<|{mark}|>") for name, mark in
           (("image", "image_pad"), ("video", "video_pad"), ("vision_start", "vision_start"), ("vision_end", "vision_end"))}  # fmt: skip
    return save(folder, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids), processor)


def save_idefics(folder: Path) -> Path:
    """Idefics3, which SmolVLM is built like: one placeholder becomes rows and columns of tiles."""
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    tiles = tuple(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7))
    tokens = tokenizer(("<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *tiles))
    processor = Idefics3Processor(
        image_processor=Idefics3ImageProcessorPil(size={"longest_edge": 56}, max_image_size={"longest_edge": 28}),
        tokenizer=tokens,
        image_seq_len=1,
        chat_template=CHAT.replace("IMAGE", "<image>"),
    )
    config = Idefics3Config(
        vision_config=dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=14),
        text_config=dict(model_type="llama", **llama(tokens)),
        image_token_id=tokens.convert_tokens_to_ids("<image>"),
        pad_token_id=tokens.pad_token_id,
        scale_factor=2,
    )
    return save(folder, Idefics3ForConditionalGeneration, config, processor)


def save_gemma(folder: Path, window: int = 512) -> Path:
    """Gemma 3: pictures are read in both directions, every other layer looks back through a window."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3Processor
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    named = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    tokens = tokenizer(tuple(named.values()), **named)
    processor = Gemma3Processor(
        image_processor=Gemma3ImageProcessorPil(size={"height": 28, "width": 28}),
        tokenizer=tokens,
        chat_template=CHAT.replace("IMAGE", "<start_of_image>"),
        image_seq_length=4,
    )
    text = llama(tokens, head_dim=8, sliding_window=window, layer_types=["sliding_attention", "full_attention"])
    ids = {name.replace("_token", "_token_index"): tokens.convert_tokens_to_ids(mark) for name, mark in named.items()}
    config = Gemma3Config(
        text_config=text,
        vision_config=dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=7),
        mm_tokens_per_image=4,
        **{"image_token_index" if name.startswith("image") else name: one for name, one in ids.items()},
    )
    return save(folder, Gemma3ForConditionalGeneration, config, processor)


def save(folder: Path, kind: Callable[[Any], Any], config: Any, processor: Any, seed: int = 0) -> Path:
    """Random weights, large enough that pictures and words matter to the reply."""
    import torch

    torch.manual_seed(seed)
    model = kind(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.mul_(6 if "embed" in name or "lm_head" in name else 4)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
