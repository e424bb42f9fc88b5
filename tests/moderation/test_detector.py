"""One picture has one score, whichever way it is given; what is no picture has none, and waits for nothing."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from anyscene.errors import MediaError, SpecError
from anyscene.media import Media, read_media
from anyscene.moderation import detector as detecting
from anyscene.moderation.detector import Detector, Shown
from anyscene.moderation.linear import HandScorer, Linear
from anyscene.moderation.scan import scan_pictures

if str(Path(__file__).parent) not in sys.path:
    sys.path.append(str(Path(__file__).parent))

from hostile import saved


@dataclass
class TopRows:
    """Scores the first rows of a picture, so that a turn shows."""

    asked: list[int] = field(default_factory=list)

    def logits(self, pictures: Sequence[Shown], batch: int) -> NDArray[np.float64]:
        self.asked.append(len(pictures))
        assert all(one.image.mode == "RGB" for one in pictures)
        return np.array([np.asarray(one.image, dtype=float)[:3].mean() / 255 for one in pictures])

    def save(self, folder: Path) -> None:
        """Nothing is kept."""


def detector(scorer: object = None) -> Detector:
    return Detector(Path("d"), {"threshold": 0.5}, scorer or TopRows())  # type: ignore[arg-type]


def files() -> dict[str, bytes]:
    dice = np.random.default_rng(0)
    pixels = dice.integers(0, 255, (40, 60, 3), dtype=np.uint8)
    pixels[:20] //= 4
    image, alpha = Image.fromarray(pixels), Image.fromarray(dice.integers(0, 255, (40, 60), dtype=np.uint8))
    clear = image.copy()
    clear.putalpha(alpha)
    turned = Image.Exif()
    turned[0x0112] = 6
    palette = image.quantize(16)
    return {
        "plain.png": saved(image, "PNG"),
        "turned.jpg": saved(image, "JPEG", exif=turned),
        "turned.png": saved(image, "PNG", exif=turned),
        "deep.png": saved(Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), "PNG"),
        "clear.png": saved(clear, "PNG"),
        "grey and clear.png": saved(clear.convert("LA"), "PNG"),
        "cmyk.jpg": saved(image.convert("CMYK"), "JPEG"),
        "palette.gif": saved(palette, "GIF"),
        "moving.gif": saved(palette, "GIF", save_all=True, append_images=[Image.new("P", image.size)]),
        "bits.png": saved(image.convert("1"), "PNG"),
    }


@pytest.mark.parametrize("name", files())
def test_one_picture_has_one_score_whichever_way_it_is_given(name: str, tmp_path: Path) -> None:
    data = files()[name]
    path = tmp_path / name
    path.write_bytes(data)
    with Image.open(path) as opened, Image.open(path) as loaded:
        loaded.load()
        ways = [path, str(path), data, opened, loaded, read_media(data), opened.copy()]
        scores = detector().score(ways)
    (found,) = scan_pictures([path], detector(), workers=1)
    assert found.score is not None
    assert scores == [found.score] * len(ways)


def test_a_turn_shows_in_the_score() -> None:
    upright, turned = detector().score([files()["plain.png"], files()["turned.png"]])
    assert abs(upright - turned) > 0.02  # type: ignore[operator]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
def test_what_is_no_picture_has_no_score_and_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "words.png").write_bytes(b"words")
    (tmp_path / "cut.png").write_bytes(files()["plain.png"][:300])
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "circle.png").symlink_to(tmp_path / "circle.png")
    bomb = saved(Image.new("1", (20_000, 20_000)), "PNG")
    floats = Image.fromarray(np.zeros((20, 20), dtype=np.float32))
    ways = [tmp_path / name for name in ("words.png", "cut.png", "pipe.png", "circle.png", "gone.png")]
    scores: list[float | None] = []
    thread = threading.Thread(
        target=lambda: scores.extend(detector().score([*ways, tmp_path, "/dev/zero", bomb, floats, b""])), daemon=True
    )
    thread.start()
    thread.join(20)
    assert scores == [None] * 10
    with pytest.raises(SpecError, match="not int"):
        detector().score([3])  # type: ignore[list-item]


def test_places_stay_where_some_have_no_score() -> None:
    scorer = TopRows()
    plain = files()["plain.png"]
    scores = detector(scorer).score([b"none", plain, b"none", plain, plain, b"none"], batch=2)
    assert [one is None for one in scores] == [True, False, True, False, False, True]
    assert scorer.asked == [2, 1]


def test_large_pictures_do_not_wait_for_a_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detecting, "AT_ONCE_BYTES", 20_000)
    scorer = TopRows()
    pictures = (Image.new("RGB", (50, 50)) for _ in range(5))  # 7,500 bytes each, made when they are asked for
    assert None not in detector(scorer).score(pictures)
    assert scorer.asked == [2, 2, 1]


def test_pixels_are_not_encoded_for_those_who_do_not_look_at_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Media, "of_image", lambda *_: pytest.fail("encoded"))
    assert detector().score([Image.new("RGB", (20, 20))]) == [0.5]


def test_hand_features_are_of_the_file_itself_and_of_none_there_is_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    from anyscene.moderation import linear
    from anyscene.moderation.hand_features import HAND_NAMES

    number = len(HAND_NAMES)
    quality = np.array([float(name == "quantisation") for name in HAND_NAMES])
    hand = detector(HandScorer(Linear(np.zeros(number), np.ones(number), quality, 0.0)))
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8))
    rough, fine, none = hand.score([saved(picture, "JPEG", quality=50), saved(picture, "JPEG", quality=98), picture])
    assert rough > fine > none == 0.5  # type: ignore[operator]

    def refused(data: bytes) -> None:
        raise MediaError("too large")

    monkeypatch.setattr(linear, "hand_features", refused)
    assert hand.score([picture]) == [None]
