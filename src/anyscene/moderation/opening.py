"""Opening pictures of strangers: whatever a file holds, there is a verdict by name, and memory and time have an end.

    opened = open_picture(Path("upload.jpg"))
    opened.verdict   # "ok", "animated", "truncated", "bomb", "not_a_picture", ...
    opened.pictures  # RGB; empty unless the verdict is "ok" or "animated"

A file goes by its content; a name that says something else is noted. The head is read before anything is decoded, and decoders that run
programs or trust the file (EPS, WMF, icons) are never asked. `open_picture` works in this process: a fault of a decoder's C code would be
this process' fault. `openers.Openers` calls it in processes with an end to their memory and time; scanning and serving use those.

This module needs Pillow alone and nothing else of Anyscene, so that such a process is small.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import stat
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

__all__ = ["FORMATS", "SCORED", "VERDICTS", "Opened", "OpeningLimits", "open_image", "open_picture", "read_file", "words_of"]

VERDICTS: Mapping[str, str] = {
    "ok": "a picture",
    "animated": "a picture that moves; its first frame, or the frames asked for, are taken",
    "truncated": "a picture whose end is missing",
    "damaged": "begins as a picture does, and cannot be decoded",
    "too_small": "a picture of too few pixels to say anything of",
    "too_large": "more bytes or pixels than are taken",
    "bomb": "more pixels, text or profile than are taken, packed into a small file",
    "unsupported": "a picture in a format that is not taken",
    "not_a_picture": "something else",
    "empty": "no bytes at all",
    "unreadable": "cannot be read: no permission, links in a circle, gone",
    "not_a_file": "a folder, a pipe, a device",
    "too_slow": "its decoder took too long and was stopped",
    "crashed": "its decoder broke down",
    "not_scored": "a picture, at which the detector failed",
}
"""Every verdict, and what it means."""
SCORED = ("ok", "animated")
"""The verdicts that come with pictures."""
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "JPEG2000", "PPM", "QOI")
"""What is opened, by Pillow's names. Pillow knows more: EPS starts Ghostscript, icons are decoded before their size is known."""
BOMB_RATIO = 200
"""Bytes of pixels for each byte of a file, from which on one that is too large is called a bomb. Photographs have 5 to 50."""
SHOWN_CHARS = 160


@dataclass(frozen=True, slots=True)
class OpeningLimits:
    """What is taken of one file.

    Attributes:
        file_bytes: of the file.
        pixels: of the picture that is handed over, all frames together. JPEGs are decoded at a half, a quarter or an eighth of their size
            where that brings them below it; others that are larger are refused.
        least_side: of the picture, in pixels.
        frames: that are taken of a picture that moves; more than one come from the centres of equal parts of it.
        memory_bytes: that decoding may take; the limit of a process of `openers.Openers`.
        timeout_s: for one file; likewise.

    Raises:
        ValueError: one is below 1, or not above 0.
    """

    file_bytes: int = 100 * 2**20
    pixels: int = 25_000_000
    least_side: int = 16
    frames: int = 1
    memory_bytes: int = 768 * 2**20
    timeout_s: float = 20.0

    def __post_init__(self) -> None:
        if min(self.file_bytes, self.pixels, self.least_side, self.frames, self.memory_bytes) < 1 or not self.timeout_s > 0:
            raise ValueError(f"{self}: every limit must be at least 1")


@dataclass(frozen=True, slots=True)
class Opened:
    """What became of one file.

    Attributes:
        verdict: one of ``VERDICTS``.
        notes: what else there is to say, a few words each.
        pictures: RGB, all frames that were taken; empty unless the verdict is in ``SCORED``.
        format: what it is, in Pillow's words; empty where it is no picture.
        width: as the file says, in pixels; 0 where it is not known.
        height: likewise.
        size: of the file in bytes; of one that is not read whole, as far as it is known.
        sha256: of the file; empty where it was not read.
        pixels: of all pictures together, also where they were not decoded.
    """

    verdict: str
    notes: tuple[str, ...] = ()
    pictures: tuple[Image.Image, ...] = field(default=(), compare=False)
    format: str = ""
    width: int = 0
    height: int = 0
    size: int = 0
    sha256: str = ""
    pixels: int = 0


class _Found(Exception):
    """A verdict, met on the way."""

    def __init__(self, verdict: str, note: str = "") -> None:
        super().__init__(verdict)
        self.verdict, self.note = verdict, note


def open_picture(
    source: Path | bytes, limits: OpeningLimits | None = None, *, name: str | None = None, decode: bool = True, sha256: str = ""
) -> Opened:
    """The pictures of a file, or of its bytes; it never raises for anything that a file may be.

    Args:
        source: the file, or what it holds.
        limits: what is taken.
        name: what the file is called, for its extension; by default its path.
        decode: False reads no more than the head: `Opened.pictures` is empty and `Opened.pixels` says what they would be.
        sha256: of the bytes, where it is known already.
    """
    limits = limits or OpeningLimits()
    name = name if name is not None else source.name if isinstance(source, Path) else ""
    data = read_file(source, limits) if isinstance(source, Path) else source
    if isinstance(data, Opened):
        return data
    found = Opened("empty", size=len(data))
    if len(data) > limits.file_bytes:
        return replace(found, verdict="too_large", notes=(f"{len(data):,} bytes; at most {limits.file_bytes:,} are taken",))
    found = replace(found, sha256=sha256 or hashlib.sha256(data).hexdigest())
    if not data:
        return found
    try:
        return _Opening(data, name, limits, found).opened(decode)
    except Exception as error:  # decoders of many formats, each with faults of its own: a file must not stop those after it
        return replace(found, verdict="damaged", notes=(words_of(error),))


def open_image(image: Image.Image) -> Opened:
    """A picture that Pillow opened, as `open_picture` would give it: the frame that it is at, whatever its size. It never raises."""
    found, notes = Opened("ok", format=image.format or "", width=image.width, height=image.height), list[str]()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
            rgb = _as_rgb(image, notes)
        return replace(found, notes=tuple(notes), pictures=(rgb,), pixels=rgb.width * rgb.height)
    except _Found as met:
        return replace(found, verdict=met.verdict, notes=(met.note,))
    except Exception as error:  # as of files: one picture must not stop those after it
        return replace(found, verdict="damaged", notes=(words_of(error),))


def read_file(path: Path, limits: OpeningLimits) -> bytes | Opened:
    """The bytes of a regular file, or the verdict on what is none; it waits for no pipe and reads no endless device."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        number = getattr(error, "errno", None)
        if number in (errno.ENXIO, errno.ENODEV, errno.EISDIR) or (number == errno.EACCES and path.is_dir()):  # a socket; Windows' folders
            return Opened("not_a_file", (_kind(path),))
        said = "links in a circle" if number == errno.ELOOP else getattr(error, "strerror", None) or str(error)
        return Opened("unreadable", (said,))
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            return Opened("not_a_file", (_kind(path),))
        if about.st_size > limits.file_bytes:
            return Opened("too_large", (f"{about.st_size:,} bytes; at most {limits.file_bytes:,} are taken",), size=about.st_size)
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(limits.file_bytes + 1)
    except OSError as error:
        return Opened("unreadable", (error.strerror or str(error),))
    finally:
        os.close(descriptor)


def _kind(path: Path) -> str:
    for said, kind in (("a folder", path.is_dir), ("a pipe", path.is_fifo), ("a socket", path.is_socket)):
        if kind():
            return said
    return "a device"


class _Opening:
    """One file on its way to pictures; `opened` gives the verdict."""

    def __init__(self, data: bytes, name: str, limits: OpeningLimits, found: Opened) -> None:
        self.data, self.name, self.limits, self.found = data, name, limits, found
        self.notes: list[str] = []
        self.moves = False

    def opened(self, decode: bool) -> Opened:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of odd files, which get verdicts
                pictures = self.pictures(decode)
            verdict = "animated" if self.moves else "ok"
        except _Found as met:
            verdict, pictures = met.verdict, ()
            if met.note:
                self.notes.append(met.note)
        return replace(self.found, verdict=verdict, notes=tuple(self.notes), pictures=pictures)

    def pictures(self, decode: bool) -> tuple[Image.Image, ...]:
        with self.head() as image:
            self.found = replace(self.found, format=image.format or "", width=image.width, height=image.height)
            if mislabelled := self.mislabelled(_KNOWN_AS.get(image.format or "", image.format or "")):
                self.notes.append(mislabelled)
            reduced = self.checked_size(image)
            places = self.places(image)
            self.found = replace(self.found, pixels=reduced * len(places))
            return self.decoded(image, places) if decode else ()

    def head(self) -> Image.Image:
        """The picture before it is decoded. Plugins are asked one by one: `Image.open` refuses large pictures by a limit of its own."""
        Image.init()
        try:
            for one in FORMATS:
                factory, accept = Image.OPEN.get(one, (None, None))
                if factory is not None and (accept is None or accept(self.data[:16]) is True):
                    return factory(io.BytesIO(self.data), "")
            raise SyntaxError("no picture that is known")
        except Exception as error:
            kind, verdict = sniff(self.data)
            if verdict != "ok":
                raise _Found(verdict, self.mislabelled(kind) or kind) from None
            if Image.OPEN.get(kind, (None, lambda start: True))[1](self.data[:16]) is not True:  # type: ignore[misc]
                raise _Found("unsupported", f"{kind}, which this Pillow was built without") from None
            self.found = replace(self.found, format=kind)
            raise self.broken(error) from None

    def mislabelled(self, kind: str) -> str:
        """What to note where the extension promises something else."""
        suffix = os.path.splitext(self.name)[1].lower()
        return f"{kind}, named {suffix}" if suffix in _SUFFIXES and _SUFFIXES[suffix] != kind else ""

    def checked_size(self, image: Image.Image) -> int:
        """Pixels of one frame, once it is decoded; a large JPEG is told to be smaller."""
        width, height, most = image.width, image.height, self.limits.pixels
        if min(width, height) < self.limits.least_side:
            raise _Found("too_small", f"{width} x {height} pixels; each side needs {self.limits.least_side}")
        if image.format in ("JPEG", "MPO"):
            if (held := _coefficients(image, self.data)) > self.limits.memory_bytes // 3:
                note = f"a progressive JPEG of {width} x {height} pixels, which needs {held:,} bytes before the first is known"
                raise _Found("too_large", note)
            scale = next((one for one in (1, 2, 4, 8) if -(-width // one) * -(-height // one) <= most), 1)
            if scale > 1:
                image.draft(image.mode, (width // scale, height // scale))
        if image.width * image.height > most:
            raise self.too_large(width * height)
        if image.size != (width, height):
            self.notes.append(f"decoded at 1/{round(width / image.width)} of its {width} x {height} pixels")
        return image.width * image.height

    def places(self, image: Image.Image) -> Sequence[int]:
        """The frames to take: the first, or the centres of equal parts; fewer than were asked for where so many are too large."""
        if not getattr(image, "is_animated", False):
            return (0,)
        if image.format in ("TIFF", "MPO"):  # pages, or a picture and its companions
            self.notes.append("holds several pictures; the first is taken")
            return (0,)
        self.moves = True
        if self.limits.frames == 1:
            self.notes.append("first frame taken")
            return (0,)
        count = int(getattr(image, "n_frames", 1))
        taken = min(count, self.limits.frames, max(1, self.limits.pixels // (image.width * image.height)))
        self.notes.append(f"{taken} of {count:,} frames taken")
        return [int((place + 0.5) * count / taken) for place in range(taken)] if taken > 1 else (0,)

    def decoded(self, image: Image.Image, places: Sequence[int]) -> tuple[Image.Image, ...]:
        found: list[Image.Image] = []
        try:
            for place in places:
                if place:
                    image.seek(place)
                image.load()
                if image.width * image.height > self.limits.pixels:  # said less in its head
                    raise self.too_large(image.width * image.height)
                rgb = _as_rgb(image, [] if found else self.notes)
                found.append(rgb.copy() if rgb is image else rgb)  # a copy needs no file
                found[-1].info.clear()
        except _Found:
            raise
        except MemoryError:
            raise _Found("too_large", f"{image.width} x {image.height} pixels need more memory than there is for one file") from None
        except Exception as error:
            raise self.broken(error) from None
        return tuple(found)

    def too_large(self, pixels: int) -> _Found:
        said = f"{pixels:,} pixels; at most {self.limits.pixels:,} are taken"
        if 3 * pixels > BOMB_RATIO * len(self.data):
            return _Found("bomb", f"{said}, and it has {len(self.data):,} bytes")
        return _Found("too_large", said)

    def broken(self, error: Exception) -> _Found:
        """What is said of a picture that cannot be decoded."""
        said = words_of(error)
        if "Decompressed data too large" in said or "Too much memory used in text chunks" in said:
            return _Found("bomb", "text or a profile that unpacks to more than is taken")
        if isinstance(error, MemoryError) or "memory" in said.lower():
            return _Found("too_large", "needs more memory than there is for one file")
        if _NOT_KNOWN.search(said) and not is_cut_short(self.data):
            return _Found("unsupported", said)
        cut = isinstance(error, EOFError) or re.search(r"truncated|not enough image data|premature|unexpected end", said, re.IGNORECASE)
        return _Found("truncated" if cut or is_cut_short(self.data) else "damaged", said)


def _as_rgb(image: Image.Image, notes: list[str]) -> Image.Image:
    """RGB of 8 bits: on white where it is transparent, turned as its EXIF data say, without its colour profile."""
    mode = image.mode
    if mode in ("F", "LAB", "HSV") or (mode == "I" and image.format not in ("PNG", "PPM", "JPEG2000")):
        raise _Found("unsupported", f"pixels of the kind {mode}")
    if image.info.get("icc_profile"):
        notes.append("colour profile ignored")
    turned = _turned(image, notes)
    if mode.startswith("I"):
        notes.append("16 bits reduced to 8")
        turned = turned.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    elif mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        over = turned.convert("RGBA")
        turned = Image.new("RGB", over.size, (255, 255, 255))
        alpha = over.getchannel("A")
        if alpha.getextrema() != (255, 255):
            notes.append("transparent, put on white")
        turned.paste(over, mask=alpha)
    elif mode not in ("RGB", "L", "P"):
        notes.append({"CMYK": "CMYK as RGB", "1": "1 bit a pixel"}.get(mode, f"{mode} as RGB"))
    return turned if turned.mode == "RGB" else turned.convert("RGB")


_SUFFIXES: Mapping[str, str] = {
    ".png": "PNG",
    ".apng": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".gif": "GIF",
    ".webp": "WEBP",
    ".avif": "AVIF",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".jp2": "JPEG2000",
    ".j2k": "JPEG2000",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".pbm": "PPM",
    ".qoi": "QOI",
    ".heic": "HEIC picture",
    ".heif": "HEIC picture",
    ".svg": "SVG drawing",
    ".pdf": "PDF file",
    ".zip": "ZIP archive",
    ".html": "HTML page",
    ".htm": "HTML page",
    ".mp4": "video",
    ".psd": "Photoshop file",
    ".ico": "icon",
}
_NOT_KNOWN = re.compile(r"unknown pixel mode|unknown raw mode|samples per pixel|unsupported|not supported|not available", re.IGNORECASE)
_KNOWN_AS: Mapping[str, str] = {"MPO": "JPEG"}
_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (rb"\x89PNG\r\n\x1a\n", "PNG", "ok"),
    (rb"\xff\xd8\xff", "JPEG", "ok"),
    (rb"GIF8[79]a", "GIF", "ok"),
    (rb"RIFF....WEBP", "WEBP", "ok"),
    (rb"....ftypavi[fs]", "AVIF", "ok"),
    (rb"BM.{4}\0{4}", "BMP", "ok"),
    (rb"II\*\0|MM\0\*|II\+\0|MM\0\+", "TIFF", "ok"),
    (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "JPEG2000", "ok"),
    (rb"P[1-6]\s", "PPM", "ok"),
    (rb"qoif", "QOI", "ok"),
    (rb"....ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)", "HEIC picture", "unsupported"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL picture", "unsupported"),
    (rb"8BPS", "Photoshop file", "unsupported"),
    (rb"gimp xcf", "GIMP file", "unsupported"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript file", "unsupported"),
    (rb"\x76\x2f\x31\x01", "OpenEXR picture", "unsupported"),
    (rb"#\?RADIANCE|#\?RGBE", "Radiance picture", "unsupported"),
    (rb"DDS ", "DDS texture", "unsupported"),
    (rb"\xd7\xcd\xc6\x9a|\x01\0\x09\0|\x01\0\0\0.{36} EMF", "Windows metafile", "unsupported"),
    (rb"AT&TFORM", "DjVu file", "unsupported"),
    (rb"\0\0[\x01\x02]\0.\0.{2}|icns", "icon", "unsupported"),
    (rb"SIMPLE  =", "FITS file", "unsupported"),
    (rb"%PDF-", "PDF file", "not_a_picture"),
    (rb"PK(?:\x03\x04|\x05\x06|\x07\x08)", "ZIP archive", "not_a_picture"),
    (rb"\x1f\x8b|BZh[1-9]|\xfd7zXZ\0|\x28\xb5\x2f\xfd|7z\xbc\xaf\x27\x1c|Rar!\x1a", "compressed file", "not_a_picture"),
    (rb".{257}ustar", "tar archive", "not_a_picture"),
    (rb"\x7fELF|MZ|\xcf\xfa\xed\xfe|\xca\xfe\xba\xbe", "program", "not_a_picture"),
    (rb"#!", "script", "not_a_picture"),
    (rb"....ftyp|....moov|\x1aE\xdf\xa3|RIFF....AVI |\0\0\x01[\xb3\xba]|OggS", "video", "not_a_picture"),
    (rb"RIFF....WAVE|ID3|fLaC|\xff[\xfb\xf3\xf2]", "sound file", "not_a_picture"),
    (rb"SQLite format 3\0|PAR1", "data file", "not_a_picture"),
)
_COMPILED = tuple((re.compile(signature, re.DOTALL), kind, verdict) for signature, kind, verdict in _SIGNATURES)


def sniff(data: bytes) -> tuple[str, str]:
    """What a file that Pillow cannot open seems to be, by its first bytes, and the verdict on such files; ``ok`` for what is opened."""
    for signature, kind, verdict in _COMPILED:
        if signature.match(data):
            return kind, verdict
    text = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<svg") or (text.startswith((b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in text):
        return "SVG drawing", "not_a_picture"
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<script", b"<body")):
        return "HTML page", "not_a_picture"
    try:
        data[:4096].decode("utf-8")
        return ("text" if b"\0" not in data[:4096] else "unknown data"), "not_a_picture"
    except UnicodeDecodeError as error:
        cut = error.start > 4090 and b"\0" not in data[:4090]
        return ("text" if cut else "unknown data"), "not_a_picture"


def is_cut_short(data: bytes) -> bool:
    """Whether the end of a file is missing, by what its container says of its length."""
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-64:]
    if data.startswith(b"\xff\xd8"):
        return not data.rstrip(b"\0").endswith(b"\xff\xd9")
    if data.startswith(b"GIF8"):
        return not data.rstrip(b"\0").endswith(b";")
    if data.startswith(b"RIFF"):
        return len(data) < int.from_bytes(data[4:8], "little") + 8
    if data.startswith(b"BM"):
        return len(data) < int.from_bytes(data[2:6], "little")
    if data[4:8] == b"ftyp":
        return _boxes_end(data) > len(data)
    return data.startswith((b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51")) and not data.endswith(b"\xff\xd9")


def _boxes_end(data: bytes) -> int:
    """Where the last box of an ISO file ends, or would."""
    place = 0
    while place + 8 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        if length == 1:
            length = int.from_bytes(data[place + 8 : place + 16], "big")
        if length < 8:  # 0: up to the end of the file
            return len(data)
        place += length
    return place if place >= len(data) else len(data) + 1


def _coefficients(image: Image.Image, data: bytes) -> int:
    """Bytes that a JPEG in several scans holds of its coefficients, at any scale; 0 for one in a single scan."""
    layers = getattr(image, "layer", None) or []
    if not image.info.get("progressive") and _components_of_first_scan(data) >= len(layers):
        return 0
    widest = max((one[1] * one[2] for one in layers), default=1)
    return sum(2 * image.width * image.height * one[1] * one[2] // widest for one in layers)


def _components_of_first_scan(data: bytes) -> int:
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == 0xDA:
            return data[place + 4] if place + 4 < len(data) else 0
        place += 1 if marker == 0xFF else 2 + length
    return 0


_TURNS: Mapping[int, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _turned(image: Image.Image, notes: list[str]) -> Image.Image:
    """The picture as it is to be looked at."""
    try:
        orientation = image.getexif().get(0x0112, 1)
        turn = _TURNS.get(orientation)
    except Exception:  # EXIF data of strangers: what cannot be read turns nothing
        notes.append("EXIF data cannot be read")
        return image
    if turn is None:
        return image
    notes.append(f"turned by its EXIF orientation {orientation}")
    return image.transpose(turn)


def words_of(error: Exception) -> str:
    """What an error says, on one line that is not long; a decoder quotes what the file holds."""
    said = " ".join(str(error).split()) or type(error).__name__
    said = said if said.isprintable() else ascii(said)[1:-1]
    return said if len(said) <= SHOWN_CHARS else said[:SHOWN_CHARS] + "..."
