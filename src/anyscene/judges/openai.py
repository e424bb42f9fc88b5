"""Any OpenAI-compatible server as a judge: vLLM, SGLang, llama.cpp, hosted models.

Pictures come first and the question last, so a server that keeps the beginnings of prompts reads each picture once. Probabilities are
read from the first token's alternatives, over all spellings of yes and no (or the letters of the choices); where a server gives none,
or wrong ones, its words count. A server with the structured-decision endpoint ``/v1/systemone`` gets all questions of a picture at once.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal

from PIL import Image

from anyscene.errors import JudgeError, SpecError
from anyscene.http import HttpFailure, Malformed, Servers, run_together
from anyscene.judges.dialect import Dialect
from anyscene.judges.prompts import NO_WORDS, TEMPLATE, YES_WORDS, instruction, lead_in, letter_variants, word_variants
from anyscene.judges.protocol import Answer
from anyscene.judges.replies import ChatReply, decided, label_masses, read_chat, spoken
from anyscene.language.question import Question
from anyscene.media import Media

__all__ = ["OpenAIJudge"]

OPENAI_URL = "https://api.openai.com/v1"
REPLY_TOKENS = 24
MOST_LETTERS = 26
QUESTIONS_PER_DECISION = 64
PROBES = 3
"""Tries at learning what a server offers: one reply may be bad by chance."""
SENT_AS_IT_IS = {".png": "png", ".jpg": "jpeg", ".webp": "webp"}
_PROBE = Question("probe", "attribute", "yes_no", "Is this picture red?", "yes")
_YES_NO = (word_variants(YES_WORDS), word_variants(NO_WORDS))


class OpenAIJudge:
    """A vision-language model behind ``/v1/chat/completions``.

    The server is asked once about a small red picture before anything else: whether it can be used, which model it is, what it offers.

    Args:
        name: of the model, as the server calls it.
        base_url: up to and with the version; or several with commas between, which must serve the same model. All questions about a picture
            go to the server that has least to do; one that is down is passed over. A server other than OpenAI's need not have a key.
        key_env: environment variable that holds the key.
        timeout_s: for one attempt.
        retries: further attempts at one question.
        deadline_s: for all attempts at one question; None: as long as they take.
        backoff_s: pause before the second attempt; it doubles each time.
        workers: pictures at once, for each server.
        concurrency: requests at once, of all pictures together, for each server.
        max_pixels: pictures with more are made smaller before they are sent.
        detail: ``low``, ``high`` or ``auto``, for servers that know it.
        frames: most frames of a clip, or views of a 3D object, that are shown.
        logprobs: ``auto`` uses them where they are given and sound; ``on`` takes nothing else; ``off`` reads words only.
        endpoint: ``chat``, ``systemone``, or ``auto``: the second where the server has it and looks at pictures there.
        thinking_off: ask the server's chat template not to think.
        min_label_mass: answers whose labels have less probability than this together are asked for in words.
        system: a system prompt; none by default.
        body: more of the request, as JSON: ``{"reasoning_effort": "minimal"}``.

    Attributes:
        name: ``openai:`` and the model.
        max_pixels, frames: as given.
        workers: pictures at once, at all servers together.
        usage: tokens ``in`` and ``out`` so far, as the server counts them, and ``requests``.

    Raises:
        SpecError: no name, or options that do not go together.
        JudgeError: no key for OpenAI's own server.
        MissingExtraError: httpx is not installed.
    """

    def __init__(
        self,
        name: str,
        *,
        base_url: str | Sequence[str] = OPENAI_URL,
        key_env: str = "OPENAI_API_KEY",
        timeout_s: float = 60.0,
        retries: int = 6,
        deadline_s: float | None = None,
        backoff_s: float = 1.0,
        workers: int = 4,
        concurrency: int = 16,
        max_pixels: int | None = None,
        detail: Literal["auto", "low", "high"] | None = None,
        frames: int = 8,
        logprobs: Literal["auto", "on", "off"] = "auto",
        endpoint: Literal["auto", "chat", "systemone"] = "auto",
        thinking_off: bool = True,
        min_label_mass: float = 0.01,
        system: str = "",
        body: dict[str, Any] | str | None = None,
    ) -> None:
        if not name:
            raise SpecError("openai: which model? For example openai:Qwen/Qwen3-VL-8B-Instruct with base_url=http://localhost:8000/v1")
        if min(workers, concurrency, frames) < 1 or (max_pixels is not None and max_pixels < 1) or not 0 <= min_label_mass < 1:
            raise SpecError(
                f"openai:{name}: workers, concurrency, frames and max_pixels must be at least 1, min_label_mass from 0 to below 1"
            )
        self.name = f"openai:{name}"
        urls = _urls(base_url, self.name)
        self.workers = workers * len(urls)
        self.usage: Counter[str] = Counter()
        self._model, self._system, self._extra = name, system, _extra(body, self.name)
        self.max_pixels, self.frames, self._detail = max_pixels, frames, detail
        self._logprobs, self._endpoint, self._min_mass = logprobs, endpoint, min_label_mass
        hosted = urls == [OPENAI_URL]
        self._prime = not hosted
        if hosted and endpoint == "auto":
            self._endpoint = "chat"
        self._client = Servers(
            urls,
            error=JudgeError,
            key_env=key_env,
            key_required=hosted,
            timeout_s=timeout_s,
            retries=retries,
            deadline_s=deadline_s,
            backoff_s=backoff_s,
            connections=concurrency,
        )
        self._dialect = Dialect(top=0 if logprobs == "off" else 20, template_arguments=thinking_off and not hosted)
        self._pool = ThreadPoolExecutor(concurrency * len(urls), thread_name_prefix="judge")
        self._lock, self._probing = threading.Lock(), threading.Lock()
        self._probed = self._words_only = False
        self._reported = ""
        usual: dict[str, object] = {"max_pixels": None, "detail": None, "frames": 8, "min_label_mass": 0.01, "system": "", "body": {}}
        given = {
            "max_pixels": max_pixels,
            "detail": detail,
            "frames": frames,
            "min_label_mass": min_label_mass,
            "system": hashlib.sha256(system.encode()).hexdigest()[:8] if system else "",
            "body": self._extra,
        }
        self._changed = [f"{key}={json.dumps(value, sort_keys=True)}" for key, value in given.items() if value != usual[key]]

    @property
    def revision(self) -> str:
        """The model that the server says it is, and the settings that change answers. Asks the server the first time.

        Raises:
            JudgeError: the server cannot be used.
        """
        self._probe()
        return " ".join([self._reported, *(["words only"] if self._words_only else []), *self._changed]).strip()

    @property
    def template(self) -> str:
        """Id of the words that it is asked with: its own where the server makes the prompts. Asks the server the first time.

        Raises:
            JudgeError: the server cannot be used.
        """
        self._probe()
        return "systemone-1" if self._endpoint == "systemone" else TEMPLATE

    def answer(self, media: Media, questions: Sequence[Question]) -> list[Answer]:
        """One answer for each question, in order. What cannot be answered keeps its reason: nothing is lost, nothing counts as "no".

        Raises:
            JudgeError: the server cannot be used, or has become another model in the middle.
        """
        if not questions:
            return []
        self._probe()
        with self._client.turn() as server:  # one for all questions about a picture: it reads the picture once
            return self._answers(media, questions, server)

    def _answers(self, media: Media, questions: Sequence[Question], server: int) -> list[Answer]:
        parts, lead = self._parts(media), lead_in(media.modality, min(len(media.frames), self.frames))
        answers: dict[int, Answer] = {}
        if self._endpoint == "systemone":
            answers = self._decisions(parts, lead, questions, server)
        places = [place for place in range(len(questions)) if place not in answers]
        ask = partial(self._ask_one, parts, lead, server)
        try:
            if self._prime and len(places) > 2:  # alone, so that the server has read the pictures when the others come
                answers[places[0]] = self._pool.submit(ask, questions[places[0]]).result()
                places = places[1:]
            answers.update(zip(places, run_together(self._pool, ask, [questions[place] for place in places]), strict=True))
        except KeyboardInterrupt:
            self.close()
            raise
        return [answers[place] for place in range(len(questions))]

    def close(self) -> None:
        """Ends everything that is going on, at once. The judge cannot be used after it."""
        self._client.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _probe(self) -> None:
        """Learns once what the server is and offers."""
        with self._probing:
            if self._probed:
                return
            red, blue = (_data_url(_png(Image.new("RGB", (64, 64), colour)), "png") for colour in ("red", "blue"))
            if self._endpoint != "chat":
                self._endpoint = "systemone" if self._looks(red, blue) else "chat"
            given = False
            for _ in range(PROBES):
                wanted = self._dialect.top > 0
                reply = self._chat([self._image_part(red)], instruction(_PROBE), 1, wanted)
                if isinstance(reply, HttpFailure) and not reply.refused:
                    break
                given = isinstance(reply, ChatReply) and self._dialect.top > 0 and (reply.first is not None or not reply.text.strip())
                if isinstance(reply, ChatReply) and (given or not wanted):
                    break
            if isinstance(reply, HttpFailure):
                raise JudgeError(f"judge {self.name} cannot be used: asked about a small red picture, its server said: {reply.reason}")
            if not given and self._logprobs == "on":
                raise JudgeError(f"judge {self.name}: its server gives no log-probabilities, and logprobs=on wants them. Leave it out")
            if not given:
                self._dialect = self._dialect.without_probabilities()
            self._words_only = not given
            self._compare([red, blue])
            self._probed = True

    def _compare(self, pictures: Sequence[str]) -> None:
        """Sees that several servers are alike in what they offer; those that cannot be reached may be later."""
        for place, url in enumerate(self._client.urls if len(self._client.urls) > 1 else ()):
            reply = self._chat([self._image_part(pictures[0])], instruction(_PROBE), 1, self._dialect.top > 0, place, alone=True)
            reason = "it gives no log-probabilities"
            if isinstance(reply, HttpFailure):
                if reply.passing:
                    continue
                reason = reply.reason
            elif self._words_only or reply.first is not None or not reply.text.strip():
                if self._endpoint != "systemone":
                    continue
                decided_there = self._decide(pictures[:1], "", {"0": _PROBE}, place, patient=False, alone=True)
                if isinstance(decided_there, dict) and "0" in decided_there:
                    continue
                reason = "it gives no decisions"
            raise JudgeError(
                f"judge {self.name}: {url} is not like the other servers: {reason}. Name only servers that serve the same model"
            )

    def _looks(self, red: str, blue: str) -> bool:
        """Whether the server has the decision endpoint, for this model, and looks at the pictures that are sent there."""
        seen: list[float] = []
        said = "it does not look at pictures there"
        for picture in (red, blue):
            for _ in range(PROBES):
                result = self._decide([picture], "", {"0": _PROBE}, patient=False)
                if isinstance(result, dict) and "0" in result:
                    break
            if isinstance(result, HttpFailure):
                said = result.reason
                break
            seen += [answer.p_yes or 0.0 for answer in result.values()]
        if len(seen) == 2 and abs(seen[0] - seen[1]) > 1e-3:
            return True
        if self._endpoint == "systemone":
            raise JudgeError(f"judge {self.name}: /systemone of its server cannot be used: {said}. Leave endpoint out")
        return False

    def _decisions(self, parts: Sequence[Mapping[str, Any]], lead: str, questions: Sequence[Question], server: int) -> dict[int, Answer]:
        """Answers of the decision endpoint, by place; questions that it cannot take, or answers wrongly, are left out."""
        fit = {place: question for place, question in enumerate(questions) if _fits_decision(question)}
        images = [part["image_url"]["url"] for part in parts]
        places = list(fit)
        answers: dict[int, Answer] = {}
        for start in range(0, len(places), QUESTIONS_PER_DECISION):
            some = places[start : start + QUESTIONS_PER_DECISION]
            asked = {str(place): fit[place] for place in some}
            result = self._pool.submit(self._decide, images, lead, asked, server).result()
            if not isinstance(result, HttpFailure):
                answers.update({int(place): answer for place, answer in result.items()})
            elif result.refused or result.status not in (400, 404, 405, 422, 501):
                answers.update(dict.fromkeys(some, _failed(result)))
        return answers

    def _decide(
        self,
        images: Sequence[str],
        lead: str,
        questions: Mapping[str, Question],
        server: int | None = None,
        *,
        patient: bool = True,
        alone: bool = False,
    ) -> dict[str, Answer] | HttpFailure:
        """One request to the decision endpoint; a reply that is no decision is asked for again only with patience."""
        asked = {
            place: {"type": "noul", "instructions": question.text, "criteria": None}
            if question.form == "yes_no"
            else {"type": "choice", "instructions": question.text, "criteria": dict.fromkeys(question.choices)}
            for place, question in questions.items()
        }
        body = {"model": self._model, "state": lead or "The picture.", "images": list(images), "questions": asked}
        if self._system:
            body["instructions"] = self._system

        def read(reply: Any) -> Mapping[str, Any]:
            if isinstance(reply, dict) and isinstance(reply.get("answers"), dict):
                return reply
            if patient:
                raise Malformed("no decisions in it")
            return {"answers": {}}

        reply = self._client.post("/systemone", body, read, first=server, alone=alone, optional=True)
        if isinstance(reply, HttpFailure):
            return reply
        usage, diagnostics = _mapping(reply, "usage"), _mapping(reply, "diagnostics")
        self._count(reply.get("model"), (usage.get("input_tokens", 0), usage.get("output_tokens", 0)))
        answers = {}
        for place, question in questions.items():
            raw = reply["answers"].get(place)
            answer = decided(question, raw, diagnostics.get(place), json.dumps(raw)[:1000])
            if answer is not None and (answer.label_mass is None or answer.label_mass >= self._min_mass):
                answers[place] = answer
        return answers

    def _ask_one(self, parts: Sequence[Mapping[str, Any]], lead: str, server: int, question: Question) -> Answer:
        """Asks one question: by probabilities where that can be, else in words."""
        text = f"{lead} {instruction(question)}".strip()
        groups: Sequence[Sequence[str]] = _YES_NO if question.form == "yes_no" else ()
        if question.form == "choice" and len(question.choices) <= MOST_LETTERS:
            groups = [letter_variants(place) for place in range(len(question.choices))]
        mass = None
        if groups and self._dialect.top:
            reply = self._chat(parts, text, 1, True, server)
            if isinstance(reply, HttpFailure):
                return _failed(reply)
            if reply.refused:
                return Answer(None, None, reply.text, "refused")
            masses = label_masses(reply, groups)
            mass = None if masses is None else min(sum(masses), 1.0)
            if masses is not None and sum(masses) > 0 and sum(masses) >= self._min_mass:
                shares = tuple(one / sum(masses) for one in masses)
                return (
                    Answer(shares[0], mass, reply.text) if question.form == "yes_no" else Answer(None, mass, reply.text, "answered", shares)
                )
            if self._logprobs == "on":
                return Answer(None, mass, reply.text, "unparsed")
            said = spoken(question, reply.text)
            if said.status == "answered" and mass is None and question.form == "yes_no":
                return said
        reply = self._chat(parts, text, REPLY_TOKENS, False, server)
        if isinstance(reply, HttpFailure):
            return _failed(reply)
        if reply.refused:
            return Answer(None, mass, reply.text, "refused")
        return spoken(question, reply.text, mass)

    def _chat(
        self,
        parts: Sequence[Mapping[str, Any]],
        text: str,
        tokens: int,
        probabilities: bool,
        server: int | None = None,
        *,
        alone: bool = False,
    ) -> ChatReply | HttpFailure:
        """One chat completion, in the words that the server understands, of one server before the others."""
        content = [*parts, {"type": "text", "text": text}]
        messages = [{"role": "system", "content": self._system}] if self._system else []
        messages.append({"role": "user", "content": content})  # type: ignore[dict-item]
        while True:
            dialect = self._dialect
            body = {"model": self._model, "messages": messages, **dialect.parameters(tokens, probabilities), **self._extra}
            reply = self._client.post("/chat/completions", body, read_chat, first=server, alone=alone)
            if not isinstance(reply, HttpFailure):
                self._count(reply.model, reply.tokens)
                return reply
            other = dialect.after(reply.text) if reply.status in (400, 422) and not reply.refused else None
            if other is None:
                return reply
            with self._lock:
                if self._dialect is dialect:
                    self._dialect = other

    def _count(self, model: object, tokens: tuple[object, object]) -> None:
        """Counts what was used, and sees to it that the model stays the same."""
        with self._lock:
            self.usage["requests"] += 1
            for name, number in zip(("in", "out"), tokens, strict=True):
                self.usage[name] += number if isinstance(number, int) else 0
            if not isinstance(model, str) or not model:
                return
            self._reported = self._reported or model
            if model != self._reported:
                raise JudgeError(
                    f"judge {self.name}: its server answered as {self._reported!r} and now answers as {model!r}. Answers of two models are "
                    "never mixed: name a fixed version of the model, and judge again"
                )

    def _parts(self, media: Media) -> list[Mapping[str, Any]]:
        """The pictures of a media as parts of a message. A picture that need not be made smaller is sent as it is."""
        pictures = media.sampled(self.frames)
        if len(media.frames) == 1 and media.suffix in SENT_AS_IT_IS and self._sized(pictures[0]) is pictures[0]:
            return [self._image_part(_data_url(media.data, SENT_AS_IT_IS[media.suffix]))]
        return [self._image_part(_data_url(_png(self._sized(picture)), "png")) for picture in pictures]

    def _image_part(self, url: str) -> Mapping[str, Any]:
        return {"type": "image_url", "image_url": {"url": url, **({"detail": self._detail} if self._detail else {})}}

    def _sized(self, picture: Image.Image) -> Image.Image:
        """The picture with no more than ``max_pixels``, in its own proportions."""
        pixels = picture.width * picture.height
        if self.max_pixels is None or pixels <= self.max_pixels:
            return picture
        scale = (self.max_pixels / pixels) ** 0.5
        return picture.resize((max(1, int(picture.width * scale)), max(1, int(picture.height * scale))), Image.Resampling.LANCZOS)


def _urls(given: str | Sequence[str], what: str) -> list[str]:
    """The option ``base_url`` as a list."""
    found = [url.strip().rstrip("/") for url in (given.split(",") if isinstance(given, str) else given)]
    if len(found) > 1 and OPENAI_URL in found:
        raise SpecError(f"{what}: OpenAI's own server cannot be one of several; its key is for no other")
    return found


def _fits_decision(question: Question) -> bool:
    if question.form == "yes_no":
        return True
    return question.form == "choice" and 1 < len(question.choices) <= MOST_LETTERS and len(set(question.choices)) == len(question.choices)


def _mapping(reply: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = reply.get(name)
    return value if isinstance(value, dict) else {}


def _failed(failure: HttpFailure) -> Answer:
    text = failure.reason if not failure.text else f"{failure.reason}: {failure.text}"
    return Answer(None, None, text[:1000], "refused" if failure.refused else "failed")


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _data_url(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _extra(body: dict[str, Any] | str | None, what: str) -> dict[str, Any]:
    """The option ``body`` as a dict."""
    try:
        value = json.loads(body) if isinstance(body, str) else body or {}
    except ValueError as error:
        raise SpecError(f'{what}, body={body}: no JSON ({error}); it looks like {{"reasoning_effort": "minimal"}}') from None
    taken = {"messages", "model", "stream", "n"}
    if not isinstance(value, dict) or taken & set(value):
        raise SpecError(f"{what}, body={body}: it must be a JSON object without {', '.join(sorted(taken))}")
    return value
