"""How pictures are encoded, cut and scaled, the same way on both sides.

A photograph has been through a camera's JPEG encoder. What that leaves behind survives any later encoding, so a generated picture is
first put through one encoding with the quantisation tables of the photograph that it is paired with. From there on both go the same way:
cut out at places that keep the 8 x 8 grid where it is, scaled by one factor, encoded with the same tables, without metadata.
"""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageCms, ImageOps, JpegImagePlugin, UnidentifiedImageError

from anyscene.errors import MediaError, SpecError
from anyscene.media import MAX_PIXELS
from anyscene.media.media import PNG_LEVEL
from anyscene.moderation.opening import FORMATS, words_of
from anyscene.scene.keyed import key_of

__all__ = ["GRID", "LOSSLESS", "Cut", "Decoded", "Encoding", "Head", "decode", "encode", "plan_cut", "quality_tables", "read_head", "take"]

GRID = 16
"""Pixels between places where a picture may be cut: the blocks of luma are 8 wide, those of halved chroma 16."""
LOSSLESS = ("PNG", "BMP", "TIFF", "PPM")
"""Formats by Pillow's names whose pixels carry no trace of them."""
SUBSAMPLINGS = (0, 1, 2)
"""4:4:4, 4:2:2 and 4:2:0, as Pillow counts them: what can be written again."""
BROKEN = (OSError, SyntaxError, ValueError, EOFError, TypeError, RuntimeError, LookupError, ArithmeticError, MemoryError, struct.error)
"""What decoders raise at damaged files, each in its own way."""
_ORIENTATION = 0x0112
_TRANSPOSING = (5, 6, 7, 8)


@dataclass(frozen=True, slots=True)
class Encoding:
    """What an encoder was told.

    Attributes:
        format: ``jpeg`` or ``png``.
        tables: quantisation tables of 64 numbers each, row by row; empty for ``png``.
        subsampling: of chroma: 0 is 4:4:4, 1 4:2:2, 2 4:2:0; -1 where there is none.
    """

    format: str = "png"
    tables: tuple[tuple[int, ...], ...] = ()
    subsampling: int = -1

    @property
    def digest(self) -> str:
        """12 hex digits; empty for ``png``."""
        text = f"{self.tables}/{self.subsampling}"
        return hashlib.sha256(text.encode()).hexdigest()[:12] if self.format == "jpeg" else ""

    @property
    def suffix(self) -> str:
        """Of a file, with its dot."""
        return ".jpg" if self.format == "jpeg" else ".png"

    def turned(self) -> Encoding:
        """For a picture that was turned by 90 degrees: rows of the tables are columns now, and 4:2:2 becomes 4:2:0."""
        tables = tuple(tuple(table[8 * (place % 8) + place // 8] for place in range(64)) for table in self.tables)
        return Encoding(self.format, tables, 2 if self.subsampling == 1 else self.subsampling)


@dataclass(frozen=True, slots=True)
class Head:
    """What a file says of itself before it is decoded.

    Attributes:
        width: in pixels, as it is shown.
        height: likewise.
        format: by Pillow's name.
        grey: has it no colours?
        encoding: of the file.
        traces: what else is in it: ``exif``, ``icc``, ``comment``, ``text``, ``resolution``, ``progressive`` (or interlaced), ``turned``,
            ``transparent``, ``frames``.
        depth: ``8``, ``16``, ``1`` or ``float``: bits for each colour; or ``palette``.
    """

    width: int
    height: int
    format: str
    grey: bool
    encoding: Encoding
    traces: tuple[str, ...]
    depth: str = "8"


@dataclass(frozen=True, slots=True)
class Decoded:
    """A picture as it is shown: upright, in sRGB, without transparency.

    Attributes:
        image: RGB, or L for one without colours.
        head: of its file.
        converted: were its colours brought to sRGB from another profile?
    """

    image: Image.Image
    head: Head
    converted: bool


def quality_tables(quality: int) -> Encoding:
    """The encoding that Pillow gives files of a quality from 1 to 100, with 4:2:0."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG", quality=quality, subsampling=2)
    with Image.open(buffer) as opened:
        return _encoding_of(opened)


def read_head(data: bytes, name: str) -> Head:
    """What a file says of itself.

    Raises:
        MediaError: it is no picture, or has too many pixels.
    """
    with _opened(data, name) as opened:
        return _head(opened)


def decode(data: bytes, name: str) -> Decoded:
    """A picture from its file.

    A turned JPEG loses up to 15 pixels at its right and lower edge, so that its blocks begin in a corner again.

    Raises:
        MediaError: it is no picture, has too many pixels, or is damaged.
    """
    with _opened(data, name) as opened:
        head = _head(opened)
        profile = opened.info.get("icc_profile")
        turn = opened.getexif().get(_ORIENTATION, 1)
        image = _flat(opened)
    image, converted = _to_srgb(image, profile)
    if turn != 1:
        if head.format == "JPEG":
            image = image.crop((0, 0, _floor(image.width), _floor(image.height)))
        image.getexif()[_ORIENTATION] = turn
        image = ImageOps.exif_transpose(image)
    return Decoded(image, head, converted)


def encode(image: Image.Image, encoding: Encoding) -> bytes:
    """A file of pixels and nothing else: no metadata, no profile, no thumbnail."""
    bare = Image.frombytes(image.mode, image.size, image.tobytes())
    buffer = io.BytesIO()
    if encoding.format == "png":
        bare.save(buffer, "PNG", compress_level=PNG_LEVEL)
        return buffer.getvalue()
    tables = [list(table) for table in encoding.tables]
    if bare.mode == "L":
        bare.save(buffer, "JPEG", qtables=tables[:1])
    else:
        bare.save(buffer, "JPEG", qtables=tables[:2], subsampling=encoding.subsampling if encoding.subsampling in SUBSAMPLINGS else 2)
    return buffer.getvalue()


# ---- cutting and scaling --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cut:
    """What is done to every picture of a pair.

    Attributes:
        window: width and height that are cut out, in pixels of the picture.
        size: width and height of what is kept.
    """

    window: tuple[int, int]
    size: tuple[int, int]

    @property
    def factor(self) -> float:
        """By how much the picture is made smaller."""
        return self.window[0] / self.size[0]


def plan_cut(
    sizes: Sequence[tuple[int, int]], key: str, *, scale: tuple[float, float] = (1.0, 1.0), largest: int | None = None, seed: int = 0
) -> Cut:
    """One cut that all pictures of a pair can give: the largest window that fits into each, made smaller by one factor.

    Args:
        sizes: width and height of each.
        key: of the pair.
        scale: the factor is drawn between these, evenly on a logarithmic scale; 1 is not to scale at all.
        largest: side that what is kept may have at most.
        seed: of the data set.

    Raises:
        SpecError: the range of factors is none, or makes pictures larger.
    """
    low, high = scale
    if not 1 <= low <= high <= 64:
        raise SpecError(f"scale {low:g}-{high:g}: pictures are made smaller by a factor from 1 to 64, never larger")
    factor = low * (high / low) ** (key_of("factor", seed, key) / 2.0**64)
    kept = [max(1, int(min(size[axis] for size in sizes) / factor + 1e-9)) for axis in (0, 1)]
    if largest is not None:
        kept = [min(side, largest) for side in kept]
    window = [min(max(side, round(side * factor)), min(size[axis] for size in sizes)) for axis, side in enumerate(kept)]
    return Cut((window[0], window[1]), (kept[0], kept[1]))


def take(image: Image.Image, cut: Cut, key: str, *, seed: int = 0) -> Image.Image:
    """Cuts a picture at a place of its own, a multiple of ``GRID`` from its corner, and makes it smaller.

    Args:
        image: at least as large as the window.
        cut: that of its pair.
        key: of the picture.
        seed: of the data set.
    """
    corner = [
        GRID * (key_of(axis, seed, key) % (room // GRID + 1))
        for axis, room in zip("xy", (image.width - cut.window[0], image.height - cut.window[1]), strict=True)
    ]
    found = image.crop((corner[0], corner[1], corner[0] + cut.window[0], corner[1] + cut.window[1]))
    return found if cut.size == cut.window else found.resize(cut.size, Image.Resampling.LANCZOS)


# ---- opening --------------------------------------------------------------------------------------------------------------------


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[Image.Image]:
    """Pillow's picture of a file, its size checked before a pixel is decoded."""
    too_large = f"{name}: too large a picture; at most {MAX_PIXELS:,} pixels are taken"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd files
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise MediaError(too_large)
                yield image
    except UnidentifiedImageError:
        raise MediaError(f"{name}: no picture that can be read") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise MediaError(too_large) from None
    except BROKEN as error:
        raise MediaError(f"{name}: cannot be read as a picture ({words_of(error)})") from None


def _head(opened: Image.Image) -> Head:
    info = opened.info
    exif = opened.getexif()
    turn = exif.get(_ORIENTATION, 1)
    present = {
        "exif": bool(exif) or "exif" in info,
        "icc": bool(info.get("icc_profile")),
        "comment": bool(info.get("comment")),
        "text": any(name in info for name in ("xmp", "photoshop")) or bool(getattr(opened, "text", None)),
        "resolution": bool(info.get("jfif_unit") if opened.format == "JPEG" else info.get("dpi")),  # Pillow adds one to EXIF data
        "progressive": bool(info.get("progressive") or info.get("interlace")),
        "turned": turn in range(2, 9),
        "transparent": "transparency" in info or opened.mode in ("RGBA", "LA", "PA"),
        "frames": getattr(opened, "n_frames", 1) > 1,
    }
    encoding = _encoding_of(opened)
    width, height = opened.size
    if turn in _TRANSPOSING:
        width, height, encoding = height, width, encoding.turned()
    if turn in range(2, 9) and opened.format == "JPEG":
        width, height = _floor(width), _floor(height)
    grey = opened.mode in ("1", "L", "LA", "F") or opened.mode.startswith("I")
    depth = "palette" if opened.mode in ("P", "PA") else {"1": "1", "F": "float"}.get(opened.mode, "16" if opened.mode[0] == "I" else "8")
    return Head(width, height, opened.format or "", grey, encoding, tuple(name for name, there in present.items() if there), depth)


def _encoding_of(opened: Image.Image) -> Encoding:
    if opened.format not in ("JPEG", "MPO"):
        return Encoding()
    tables: dict[int, Any] = getattr(opened, "quantization", {})
    subsampling = JpegImagePlugin.get_sampling(opened) if opened.mode in ("RGB", "YCbCr") else -1
    return Encoding("jpeg", tuple(tuple(int(one) for one in tables[number]) for number in sorted(tables)), subsampling)


def _floor(side: int) -> int:
    """Whole blocks of a side; all of a side that has not even one."""
    return side // GRID * GRID or side


def _flat(opened: Image.Image) -> Image.Image:
    """RGB or L, on white where it is transparent. 16 bits become 8 by leaving out the lower ones."""
    if opened.mode in ("RGB", "L"):
        return opened.copy()
    if opened.mode.startswith("I;16"):
        return opened.convert("I").point(lambda value: value / 256).convert("L")
    if opened.mode in ("RGBA", "LA", "PA") or "transparency" in opened.info:
        over = opened.convert("RGBA")
        flat = Image.alpha_composite(Image.new("RGBA", over.size, (255, 255, 255, 255)), over).convert("RGB")
        return flat.convert("L") if opened.mode == "LA" else flat
    return opened.convert("L" if opened.mode in ("1", "I", "F") else "RGB")


def _to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, bool]:
    """Colours as a viewer shows them. A profile that cannot be used is taken for sRGB, as most programs do."""
    if not profile or image.mode != "RGB":
        return image, False
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in (ImageCms.getProfileDescription(own) or "").lower():
            return image, False
        done = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image, False
    return (done, True) if done is not None else (image, False)
