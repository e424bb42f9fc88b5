"""Vision-language models of Hugging Face transformers as judges: Qwen-VL, SmolVLM, LLaVA, Gemma, InternVL and their kin.

A yes/no question is answered by the probabilities of the first reply token, over all spellings of yes and no; a choice by those of its
letters; an open question by a few words. All questions about one media share one reading of it (`anyscene.judges.prefix`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from anyscene.errors import JudgeError, MissingExtraError, SpecError
from anyscene.judges.prefix import Beginning, OutOfMemoryError, VisionReader, check_modes
from anyscene.judges.prompts import (
    NO_WORDS,
    TEMPLATE,
    YES_WORDS,
    instruction,
    lead_in,
    letter_variants,
    parse_choice,
    reply_status,
    word_variants,
)
from anyscene.judges.protocol import Answer
from anyscene.language.question import Question
from anyscene.media import Media
from anyscene.runs import say
from anyscene.weights import folder_digest, load_errors, one_line, pick_device, pick_dtype, quiet_loading

__all__ = ["TransformersJudge", "label_tokens"]

MOST_LETTERS = 26
REPLY_TOKENS = 24


class TransformersJudge:
    """A judge from any checkpoint that ``AutoModelForImageTextToText`` and ``AutoProcessor`` load.

    Args:
        name: a folder, or a name on the hub: ``Qwen/Qwen3-VL-8B-Instruct``.
        dtype: ``auto`` (float32 on a CPU, bfloat16 or float16 elsewhere), ``float32``, ``float16`` or ``bfloat16``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        revision: branch, tag or commit on the hub.
        max_pixels: pictures with more are made smaller, before the model's own processing.
        min_pixels: pictures with fewer are made larger.
        batch_questions: most questions side by side; halved when the memory does not suffice.
        frames: most frames of a clip, or views of a 3D object, that are shown.
        mode: ``auto`` reads the media once for all questions where a check at the start finds equal numbers, else in plain batches;
            ``prefix`` and ``plain`` insist.
        attn: attention implementation: ``sdpa``, ``eager``, ``flash_attention_2``; the model's own choice where not given.
        min_label_mass: answers whose labels have less probability than this together are ``unparsed``; none by default, since the
            mass is stored with every answer.
        local_files_only: take nothing from the hub that is not here already.
        trust_remote_code: run code that comes with the weights.

    Attributes:
        mode: how it is really called: ``prefix``, ``plain`` or ``single``.
        notes: what a user should know: why it is not called as fast as it could be, labels of more than one token.

    Raises:
        JudgeError: it cannot be loaded, has no chat template, or "yes" and "no" begin with the same token.
        MissingExtraError: torch or transformers is not installed.
        SpecError: an option is out of range.
    """

    template = TEMPLATE
    workers = 1

    def __init__(
        self,
        name: str,
        *,
        dtype: str = "auto",
        device: str = "auto",
        revision: str | None = None,
        max_pixels: int | None = None,
        min_pixels: int | None = None,
        batch_questions: int = 32,
        frames: int = 8,
        mode: Literal["auto", "prefix", "plain"] = "auto",
        attn: str | None = None,
        min_label_mass: float = 0.0,
        local_files_only: bool = False,
        trust_remote_code: bool = False,
    ) -> None:
        if batch_questions < 1 or frames < 1 or not 0 <= min_label_mass < 1:
            raise SpecError("batch_questions and frames must be at least 1, min_label_mass from 0 to below 1")
        if not 0 < (1 if min_pixels is None else min_pixels) <= (sys.maxsize if max_pixels is None else max_pixels):
            raise SpecError(f"min_pixels {min_pixels} and max_pixels {max_pixels}: both at least 1, the first not above the second")
        self.name = f"transformers:{name}"
        self.frames, self.max_pixels, self.min_pixels, self.min_label_mass = frames, max_pixels, min_pixels, min_label_mass
        hub = {"revision": revision, "local_files_only": local_files_only, "trust_remote_code": trust_remote_code}
        model, processor = _load(name, dtype, device, attn, {key: value for key, value in hub.items() if value})
        if not getattr(processor, "chat_template", None):
            raise JudgeError(
                f"judge {self.name!r} has no chat template, so there is no way to ask it; take an instruction-tuned checkpoint"
            )
        self.reader = VisionReader(model, processor, batch=batch_questions)
        try:
            with quiet_loading():
                self.mode, why = check_modes(self.reader, "prefix" if mode == "auto" else mode)
        except OutOfMemoryError as error:
            raise JudgeError(
                f"judge {self.name!r}: its memory does not suffice for one small picture ({error}); take another device"
            ) from None
        except load_errors() as error:
            raise JudgeError(f"judge {self.name!r} was loaded but cannot be called: {one_line(error)}") from error
        if mode == "prefix" and self.mode != "prefix":
            raise JudgeError(f"judge {self.name!r} cannot be called with mode=prefix ({why}); leave mode out for plain calls")
        self._tail = self.reader.prompt(1, "Is it?")
        self._labels: dict[int, list[tuple[int, ...]] | None] = {}
        self._yes_no, whole = label_tokens(self.reader, self._tail, [word_variants(YES_WORDS), word_variants(NO_WORDS)])
        self.notes = [f"{self.name}: slower calls (mode {self.mode!r}), since {why}"] if why else []
        self.notes += [] if whole else [f"{self.name}: yes or no is more than one token; the probability of its first token is taken"]
        for note in self.notes:
            say(note)
        settings = {"dtype": dtype, "max_pixels": max_pixels, "min_pixels": min_pixels, "frames": frames}
        usual = {"dtype": "auto", "max_pixels": None, "min_pixels": None, "frames": 8}
        changed = [f"{key}={value}" for key, value in settings.items() if value != usual[key]]
        self.revision = " ".join([_revision(name, model), *changed]).strip()

    def answer(self, media: Media, questions: Sequence[Question]) -> list[Answer]:
        """One answer for each question, in order.

        A media that does not fit the memory even with one question, or that the model's own processing refuses (a picture of one by a
        thousand pixels), gets answers with the status ``failed``.
        """
        if not questions:
            return []
        try:
            beginning = self._begin(media, [instruction(question) for question in questions])
            answers = self._by_labels(beginning, questions)
            for place, text in self._by_words(beginning, [place for place in range(len(questions)) if place not in answers]):
                answers[place] = _worded(questions[place], text)
        except OutOfMemoryError as error:
            reason = f"out of memory with one question ({error}); lower max_pixels or frames"
            return [Answer(None, None, reason, "failed") for _ in questions]
        except ValueError as error:
            return [Answer(None, None, one_line(error), "failed") for _ in questions]
        return [answers[place] for place in range(len(questions))]

    def reply_probability(self, media: Media, texts: Sequence[str], reply: str) -> list[float | None]:
        """The probability, over the whole vocabulary, that the reply to each text starts with the token of ``reply`` (VQAScore).

        None for all texts where the media does not fit the memory even with one text.

        Raises:
            JudgeError: ``reply`` is more than one token for this model.
        """
        tokens = list(self.whole_token(reply))
        try:
            beginning = self._begin(media, texts)
            found = self.reader.next_log_probs(beginning, range(len(texts)))
        except OutOfMemoryError:
            return [None for _ in texts]
        return [float(value) for value in found[:, tokens].exp().sum(-1)]

    def whole_token(self, reply: str) -> tuple[int, ...]:
        """The token, or the tokens of several spellings, that stand for a word at the start of a reply.

        Raises:
            JudgeError: the word is more than one token for this model.
        """
        tokens, whole = label_tokens(self.reader, self._tail, [[reply]])
        if not whole:
            raise JudgeError(f"judge {self.name!r}: the reply {reply!r} is more than one token for its tokenizer")
        return tokens[0]

    def _begin(self, media: Media, texts: Sequence[str]) -> Beginning:
        pictures = [self._sized(picture) for picture in media.sampled(self.frames)]
        lead = lead_in(media.modality, len(pictures))
        prompts = [self.reader.prompt(len(pictures), f"{lead} {text}".strip()) for text in texts]
        return self.reader.begin(pictures, prompts)

    def _sized(self, picture: Image.Image) -> Image.Image:
        """The picture with its pixels between the limits, in its own proportions."""
        pixels = picture.width * picture.height
        wanted = max(min(pixels, self.max_pixels or pixels), self.min_pixels or 0)
        if wanted == pixels:
            return picture
        scale = (wanted / pixels) ** 0.5
        sides = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        return picture.resize(sides, Image.Resampling.LANCZOS)

    def _by_labels(self, beginning: Beginning, questions: Sequence[Question]) -> dict[int, Answer]:
        """Answers read from the first token's probabilities, by the question's place."""
        labels = {place: found for place, question in enumerate(questions) if (found := self._labels_of(question)) is not None}
        if not labels:
            return {}
        places = list(labels)
        found = self.reader.next_log_probs(beginning, places)
        firsts = found.argmax(-1).tolist()
        answers = {}
        for row, place in enumerate(places):
            masses = [float(found[row, list(group)].double().exp().sum()) for group in labels[place]]
            text = self.reader.tokenizer.decode([firsts[row]])
            answers[place] = self._weighed(questions[place], masses, text)
        return answers

    def _weighed(self, question: Question, masses: Sequence[float], text: str) -> Answer:
        """The answer that the probabilities of its labels make."""
        mass = min(sum(masses), 1.0)
        if mass <= 0.0 or mass < self.min_label_mass:
            return Answer(None, mass, text, "unparsed")
        shares = tuple(one / sum(masses) for one in masses)
        if question.form == "yes_no":
            return Answer(shares[0], mass, text)
        return Answer(None, mass, text, "answered", shares)

    def _labels_of(self, question: Question) -> list[tuple[int, ...]] | None:
        """The label tokens of a question, a group for each answer; None where it must be answered in words."""
        if question.form == "yes_no":
            return self._yes_no
        count = len(question.choices)
        if question.form != "choice" or not 1 <= count <= MOST_LETTERS:
            return None
        if count not in self._labels:
            try:
                self._labels[count] = label_tokens(self.reader, self._tail, [letter_variants(place) for place in range(count)])[0]
            except JudgeError:
                self._labels[count] = None
        return self._labels[count]

    def _by_words(self, beginning: Beginning, places: list[int]) -> list[tuple[int, str]]:
        return list(zip(places, self.reader.reply(beginning, places, REPLY_TOKENS), strict=True)) if places else []


def label_tokens(reader: VisionReader, tail: str, groups: Sequence[Sequence[str]]) -> tuple[list[tuple[int, ...]], bool]:
    """The tokens that stand for each label at the start of a reply.

    Of a label's spellings those count that are one token, either behind the prompt or by themselves. Where none is, the first token of
    its first spelling counts, if it tells the labels apart.

    Args:
        reader: of the model.
        tail: a rendered prompt.
        groups: for each label, its spellings.

    Returns:
        Token ids of each label, and whether every label has a spelling of one token.

    Raises:
        JudgeError: two labels begin with the same token.
    """
    before = reader.token_ids(tail)
    found: list[tuple[int, ...]] = []
    whole = True
    for spellings in groups:
        ways = [way for text in spellings for way in (_behind(reader, tail, before, text), _alone(reader, text))]
        single = tuple(dict.fromkeys(way[0] for way in ways if len(way) == 1 and _is_word(reader, way[0])))
        starts = tuple(dict.fromkeys(way[0] for way in ways[:2] if way and _is_word(reader, way[0])))
        whole = whole and bool(single)
        found.append(single or starts[:1])
    tokens = [token for group in found for token in group]
    if not all(found) or len(set(tokens)) < len(tokens):
        shown = " and ".join(repr(spellings[0]) for spellings in groups[:2])
        raise JudgeError(
            f"the labels {shown} cannot be told apart by the first token of a reply; this model cannot be read by probabilities"
        )
    return found, whole


def _behind(reader: VisionReader, tail: str, before: tuple[int, ...], text: str) -> tuple[int, ...]:
    """Tokens that a text adds behind a prompt; none where it changes the prompt's own."""
    after = reader.token_ids(tail + text)
    return after[len(before) :] if after[: len(before)] == before else ()


def _alone(reader: VisionReader, text: str) -> tuple[int, ...]:
    return tuple(reader.tokenizer(text, add_special_tokens=False).input_ids)


def _is_word(reader: VisionReader, token: int) -> bool:
    return token != reader.tokenizer.unk_token_id and bool(reader.tokenizer.decode([token]).strip())


def _worded(question: Question, text: str) -> Answer:
    """The answer that a reply in words makes to a choice or an open question."""
    if question.form == "choice":
        place = parse_choice(text, question.choices)
        if place is None:
            return Answer(None, None, text, reply_status(text))
        return Answer(None, None, text, "answered", tuple(float(one == place) for one in range(len(question.choices))))
    status = reply_status(text)
    if not text.strip() or status == "refused":
        return Answer(None, None, text, status)
    return Answer(None, None, text, "answered" if status == "unparsed" else status)


def _load(name: str, dtype: str, device: str, attn: str | None, hub: dict[str, Any]) -> tuple[Any, Any]:
    """Model and processor, ready to be called."""
    try:
        import torch  # noqa: F401
        from transformers import AutoModelForImageTextToText, AutoProcessor, __version__
    except (ImportError, RuntimeError) as error:
        if find_spec("torch") is None or find_spec("transformers") is None:
            raise MissingExtraError(f"The judge transformers:{name}", "judges") from error
        raise JudgeError(f"judge 'transformers:{name}': its libraries are here but do not work: {one_line(_root(error))}") from error
    if not name:
        raise SpecError("judge 'transformers' needs a model: transformers:FOLDER, or transformers:Qwen/Qwen3-VL-8B-Instruct")
    where = pick_device(device)
    kind = pick_dtype(dtype, where)
    extra = {"dtype" if int(__version__.split(".")[0]) >= 5 else "torch_dtype": kind, **({"attn_implementation": attn} if attn else {})}
    try:
        with quiet_loading():
            processor = AutoProcessor.from_pretrained(name, **hub)
            model = AutoModelForImageTextToText.from_pretrained(name, **extra, **hub).eval().to(where)
    except load_errors() as error:
        raise JudgeError(f"judge 'transformers:{name}' cannot be loaded: {one_line(error)}") from error
    if getattr(processor, "tokenizer", None) is None:
        raise JudgeError(f"judge 'transformers:{name}' has no tokenizer beside its image processor; it is no vision-language model")
    return model, processor


def _root(error: BaseException) -> BaseException:
    """The error that began it: transformers hides a library that does not work behind several of its own."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return error


def _revision(name: str, model: Any) -> str:
    """Commit on the hub, or a digest of the folder."""
    folder = Path(name).expanduser()
    return folder_digest(folder) if folder.is_dir() else str(getattr(model.config, "_commit_hash", None) or "")
