"""Files that a scanner must survive, each with the verdict it should get. All are made here, none is larger than a few hundred kB."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin, features

WHITE = (255, 255, 255)


def pixels(width: int = 48, height: int = 40, seed: int = 0) -> np.ndarray:
    """Noise over a gradient, so that no codec makes it trivially small."""
    y, x = np.mgrid[0:height, 0:width]
    smooth = np.stack([x * 4, y * 5, x + y], axis=-1) % 200
    return (smooth + np.random.default_rng(seed).integers(0, 55, (height, width, 3))).astype(np.uint8)


def picture(width: int = 48, height: int = 40, seed: int = 0) -> Image.Image:
    return Image.fromarray(pixels(width, height, seed))


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, depth: int, colour: int, raw: bytes, *before: bytes) -> bytes:
    """A PNG made by hand: rows with their filter bytes, and chunks before them."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(before) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def png_of(array: np.ndarray, depth: int, colour: int) -> bytes:
    """16 bits a value: Pillow writes no such colours."""
    rows = array.astype(">u2" if depth == 16 else "u1").reshape(array.shape[0], -1)
    return png(array.shape[1], array.shape[0], depth, colour, b"".join(b"\0" + row.tobytes() for row in rows))


def jpeg_of_size(width: int, height: int, **options: Any) -> bytes:
    """A JPEG whose head says another size than it has."""
    data = bytearray(saved(picture(), "JPEG", **options))
    for marker in (b"\xff\xc0", b"\xff\xc2"):
        if (place := data.find(marker)) > 0:
            data[place + 5 : place + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def with_orientation(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return saved(picture(), "JPEG", quality=95, exif=exif)


def seven_planes() -> bytes:
    """A TIFF of 7 values a pixel, as instruments write them."""
    entries = [(256, 4, 40), (257, 4, 32), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 200), (277, 3, 7), (278, 4, 32), (279, 4, 8960)]
    table = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(4)
    return head.ljust(200, b"\0") + bytes(8960)


def moving(kind: str, frames: int = 5, **options: Any) -> bytes:
    own = [Image.new("RGB", (40, 32), (40 * place, 0, 0)) for place in range(frames)]
    return saved(own[0], kind, save_all=True, append_images=own[1:], duration=50, **options)


def text_bomb(name: bytes) -> bytes:
    body = zlib.compress(bytes(80_000_000), 9)
    data = {b"zTXt": b"Comment\0\0" + body, b"iTXt": b"Comment\0\1\0\0\0" + body, b"iCCP": b"profile\0\0" + body}[name]
    return png(48, 40, 8, 2, b"".join(b"\0" + row.tobytes() for row in pixels()), chunk(name, data))


def hostile() -> dict[str, tuple[bytes, str]]:
    """Name of a file -> what it holds, and its verdict."""
    good_png, good_jpeg = saved(picture()), saved(picture(), "JPEG")
    many_idat = png(60, 60, 8, 0, bytes(40_000_000))
    found: dict[str, tuple[bytes, str]] = {
        "fine.png": (good_png, "ok"),
        "fine.jpg": (good_jpeg, "ok"),
        "progressive.jpg": (saved(picture(), "JPEG", progressive=True), "ok"),
        "wrong.png": (good_jpeg, "ok"),
        "wrong.jpg": (good_png, "ok"),
        "none": (good_png, "ok"),
        "cmyk.jpg": (saved(picture().convert("CMYK"), "JPEG"), "ok"),
        "grey.png": (saved(picture().convert("L")), "ok"),
        "bits.png": (saved(picture().convert("1")), "ok"),
        "bits.tif": (saved(picture().convert("1"), "TIFF", compression="group4"), "ok"),
        "palette.png": (saved(picture().quantize(16), transparency=3), "ok"),
        "alpha.png": (saved(Image.merge("RGBA", [*picture().split(), Image.linear_gradient("L").resize((48, 40))])), "ok"),
        "alpha.webp": (saved(picture().convert("RGBA"), "WEBP"), "ok"),
        "grey16.png": (png_of(np.arange(40 * 48, dtype=np.uint16).reshape(40, 48, 1) * 34, 16, 0), "ok"),
        "rgb16.png": (png_of(pixels().astype(np.uint16) * 257, 16, 2), "ok"),
        "rgba16.png": (png_of(np.concatenate([pixels(), pixels()[..., :1]], -1).astype(np.uint16) * 257, 16, 6), "ok"),
        "grey16.tif": (saved(Image.fromarray((np.arange(1920).reshape(40, 48) * 34).astype(np.uint16)), "TIFF"), "ok"),
        "grey16.pgm": (b"P5 48 40 65535\n" + (np.arange(1920) * 34).astype(">u2").tobytes(), "ok"),
        "float.tif": (saved(Image.fromarray(np.ones((40, 48), np.float32)), "TIFF"), "unsupported"),
        "int32.tif": (saved(Image.fromarray(np.ones((40, 48), np.int32)), "TIFF"), "unsupported"),
        "planes.tif": (seven_planes(), "unsupported"),
        "turned.jpg": (with_orientation(6), "ok"),
        "odd-orientation.jpg": (with_orientation(77), "ok"),
        "two.mpo": (saved(picture(), "MPO", save_all=True, append_images=[picture(seed=1)]), "ok"),
        "pages.tif": (saved(picture(), "TIFF", save_all=True, append_images=[picture(seed=1)]), "ok"),
        "webp.webp": (saved(picture(), "WEBP"), "ok"),
        "bmp.bmp": (saved(picture(), "BMP"), "ok"),
        "jp2.jp2": (saved(picture(), "JPEG2000"), "ok"),
        "ppm.ppm": (saved(picture(), "PPM"), "ok"),
        "moving.gif": (moving("GIF"), "animated"),
        "moving.png": (moving("PNG"), "animated"),
        "moving.webp": (moving("WEBP"), "animated"),
        "still.gif": (saved(picture().quantize(64), "GIF"), "ok"),
        "one.png": (saved(picture(1, 1)), "too_small"),
        "one.jpg": (saved(picture(1, 1), "JPEG"), "too_small"),
        "line.png": (saved(picture(400, 2)), "too_small"),
        "small.png": (saved(picture(15, 200)), "too_small"),
        "least.png": (saved(picture(16, 16)), "ok"),
        "empty.jpg": (b"", "empty"),
        "huge-head.png": (png(60_000, 60_000, 8, 2, bytes(1000)), "bomb"),
        "largest-head.png": (png(2**31 - 1, 2**31 - 1, 8, 2, bytes(1000)), "bomb"),
        "huge-head.jpg": (jpeg_of_size(65_500, 65_500), "bomb"),
        "huge-progressive.jpg": (jpeg_of_size(20_000, 20_000, progressive=True), "too_large"),
        "huge-head.gif": (
            b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0x80, 0, 0) + bytes(6) + b",\0\0\0\0\xff\xff\xff\xff\0\x08\0;",
            "bomb",
        ),
        "huge-head.bmp": (b"BM" + struct.pack("<IIIIIIHHIIIIII", 60, 0, 54, 40, 40_000, 40_000, 1, 24, 0, 0, 0, 0, 0, 0), "bomb"),
        "ztxt-bomb.png": (text_bomb(b"zTXt"), "bomb"),
        "itxt-bomb.png": (text_bomb(b"iTXt"), "bomb"),
        "more-data-than-rows.png": (many_idat, "ok"),
        "cut.jpg": (good_jpeg[: len(good_jpeg) // 2], "truncated"),
        "cut.png": (good_png[: len(good_png) // 2], "truncated"),
        "cut.webp": (saved(picture(), "WEBP")[:300], "truncated"),
        "cut.gif": (saved(picture().quantize(64), "GIF")[:500], "truncated"),
        "cut.bmp": (saved(picture(), "BMP")[:3000], "truncated"),
        "cut.jp2": (saved(picture(), "JPEG2000")[:1500], "truncated"),
        "cut.tif": (saved(picture(), "TIFF")[:1500], "truncated"),
        "head-only.png": (good_png[:20], "truncated"),
        "signature.png": (good_png[:8], "truncated"),
        "bad-crc.png": (good_png[:29] + b"\0\0\0\0" + good_png[33:], "damaged"),
        "bad-data.png": (good_png[:60] + bytes(200) + good_png[260:], "damaged"),
        "drawing.svg": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "not_a_picture"),
        "drawing.png": (b"<svg onload=alert(1)></svg>", "not_a_picture"),
        "page.jpg": (b"<!DOCTYPE html><html><script>alert(1)</script></html>", "not_a_picture"),
        "paper.pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", "not_a_picture"),
        "archive.jpg": (b"PK\x03\x04" + bytes(100), "not_a_picture"),
        "program.png": (b"\x7fELF\x02\x01\x01" + bytes(100), "not_a_picture"),
        "program.exe": (b"MZ\x90\0" + bytes(100), "not_a_picture"),
        "film.mp4": (b"\0\0\0\x20ftypisom" + bytes(100), "not_a_picture"),
        "words.jpg": ("no picture, only words äöü".encode(), "not_a_picture"),
        "zeros.jpg": (bytes(5000), "not_a_picture"),
        "noise.jpg": (b"\x93" + np.random.default_rng(3).bytes(5000), "not_a_picture"),
        "BMW.txt": (b"BMW is a make of cars, and these are words.", "not_a_picture"),
        "phone.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), "unsupported"),
        "photoshop.psd": (b"8BPS\0\1" + bytes(100), "unsupported"),
        "ghost.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n(touch x) run", "unsupported"),
        "icon.ico": (saved(picture(32, 32), "ICO", sizes=[(32, 32)]), "unsupported"),
    }
    if features.check("avif"):
        good_avif = saved(picture(), "AVIF")
        found |= {
            "fine.avif": (good_avif, "ok"),
            "moving.avif": (moving("AVIF"), "animated"),
            "cut.avif": (good_avif[: len(good_avif) // 2], "truncated"),
        }
    text = PngImagePlugin.PngInfo()
    for number in range(200):
        text.add_text(f"k{number}", "x" * 200)
    found["much-text.png"] = (saved(picture(), pnginfo=text), "ok")
    return found
