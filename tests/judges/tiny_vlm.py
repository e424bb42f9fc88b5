"""Tiny vision-language models with random weights, saved so that they are loaded through the classes of real ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHAT = """{% for m in messages %}<|im_start|>{{ m['role'] }}
{% for c in m['content'] %}{% if c['type'] == 'image' %}IMAGE{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
LIBRARIES: list[Any] = []
"""Operators that are declared stay so only as long as their library is kept."""
SPACE = "Ġ"
"""How a byte-level tokenizer writes the space before a word."""
MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def tokenizer(marks: tuple[str, ...], whole: tuple[str, ...] = ("Yes", "No"), **named: str) -> Any:
    """A byte-level tokenizer in which the words given are one token each, and nothing else is."""
    from transformers import Qwen2Tokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    vocabulary = {symbol: place for place, symbol in enumerate(bytes_to_unicode().values())}
    merges = []
    for word in whole:
        made = word.removeprefix(SPACE)[0]
        for symbol in word.removeprefix(SPACE)[1:]:
            merges.append((made, symbol))
            made += symbol
            vocabulary.setdefault(made, len(vocabulary))
        if word.startswith(SPACE):
            merges.append((SPACE, made))
            vocabulary.setdefault(word, len(vocabulary))
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


def save_qwen(
    folder: Path, generation: str = "2.5", text: dict[str, Any] | None = None, vision: dict[str, Any] | None = None, longest: int = 16
) -> Path:
    """Qwen-VL: positions in three dimensions, pictures of any size; 3.5 also mixes in linear attention. Its processor needs torchvision.

    ``text`` and ``vision`` change the configs; ``longest`` is the most picture tokens.
    """
    import transformers
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    marks = ("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")
    tokens = tokenizer(marks)
    kind = {"2.5": "Qwen2_5_VL", "3": "Qwen3VL", "3.5": "Qwen3_5"}[generation]
    helpers = {"2.5": ("Qwen2_5_VLProcessor", "Qwen2VLVideoProcessor")}.get(generation, ("Qwen3VLProcessor", "Qwen3VLVideoProcessor"))
    patches = {"patch_size": 14, "merge_size": 2, "temporal_patch_size": 2}
    processor = getattr(transformers, helpers[0])(
        image_processor=Qwen2VLImageProcessorPil(**patches, size={"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * longest}),
        tokenizer=tokens,
        video_processor=getattr(transformers, helpers[1])(**patches),
        chat_template=CHAT.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"),
    )
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1], "partial_rotary_factor": 1.0}
    linear = {
        f"linear_{name}": 2 if "num" in name else 8 for name in ("num_key_heads", "num_value_heads", "key_head_dim", "value_head_dim")
    }
    own = {"2.5": {}, "3": {"head_dim": 8}, "3.5": {"head_dim": 8, "layer_types": ["linear_attention", "full_attention"], **linear}}
    tower = {
        "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "patch_size": 14, "spatial_merge_size": 2,
        "temporal_patch_size": 2, "out_hidden_size": 32,
    }  # fmt: skip
    tower |= {"window_size": 56, "fullatt_block_indexes": [1]} if generation == "2.5" else {"num_position_embeddings": 64}
    tower |= {"deepstack_visual_indexes": [0]} if generation == "3" else {}
    placeholders = {"image": "image_pad", "video": "video_pad", "vision_start": "vision_start", "vision_end": "vision_end"}
    config = getattr(transformers, f"{kind}Config")(
        text_config=llama(tokens, rope_parameters=rope, **own[generation]) | (text or {}),
        vision_config=tower | (vision or {}),
        **{f"{name}_token_id": tokens.convert_tokens_to_ids(f"<|{mark}|>") for name, mark in placeholders.items()},
    )
    return save(folder, getattr(transformers, f"{kind}ForConditionalGeneration"), config, processor)


def save_intern(folder: Path) -> Path:
    """InternVL: a picture is cut into tiles by its proportions."""
    from transformers import InternVLConfig, InternVLForConditionalGeneration, InternVLProcessor, InternVLVideoProcessor
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    named = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>", "video_token": "<video>"}
    tokens = tokenizer(tuple(named.values()), **named)
    processor = InternVLProcessor(
        image_processor=GotOcr2ImageProcessorPil(size={"height": 28, "width": 28}, min_patches=1, max_patches=4),
        tokenizer=tokens,
        video_processor=InternVLVideoProcessor(size={"height": 28, "width": 28}),
        image_seq_length=1,
        chat_template=CHAT.replace("IMAGE", "<IMG_CONTEXT>\n"),
    )
    config = InternVLConfig(
        vision_config={
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
            "image_size": [28, 28], "patch_size": [14, 14],
        },
        text_config={"model_type": "qwen2", **llama(tokens)},
        image_token_id=tokens.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=1,
        downsample_ratio=0.5,
    )  # fmt: skip
    return save(folder, InternVLForConditionalGeneration, config, processor)


def make_torchvision_importable() -> None:
    """A torchvision built for another torch fails at import for want of two operators that are not used here; this declares them."""
    import torch

    try:
        import torchvision  # noqa: F401
    except ImportError:
        return
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor a, Tensor b, float c) -> Tensor")
        LIBRARIES.append(library)


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
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 28,
            "patch_size": 14,
        },
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
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 28,
            "patch_size": 7,
        },
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
            if weight.ndim > 1 and not weight.any():
                weight.normal_(0, 0.1)
            elif weight.ndim > 1:
                weight.mul_(6 if "embed" in name or "lm_head" in name else 4)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
