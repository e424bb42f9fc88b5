"""What of a teacher's pictures a student could draw at all: the pictures as the student's own autoencoder gives them back.

A latent model draws what its decoder can draw. Fine-tuning changes the denoiser only, so what the autoencoder loses cannot be learnt,
however large the gap to the teacher is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from anyscene.errors import AnySceneError
from anyscene.evaluation import EvaluationRun
from anyscene.media import Media, read_media
from anyscene.models import Failure
from anyscene.models.diffusers import DiffusersModel

if TYPE_CHECKING:
    from anyscene.training.denoiser import Denoiser

__all__ = ["GivenBack", "can_give_back"]


def can_give_back(student: DiffusersModel) -> bool:
    """Is the student one of pictures that has an autoencoder?"""
    return student.modality == "image" and getattr(student.pipe, "vae", None) is not None


class GivenBack:
    """The pictures of a run as a student's autoencoder gives them back (``models.Model``, and ``Finds``: they are there already).

    Args:
        run: of the teacher.
        student: whose autoencoder is asked.

    Attributes:
        name: the teacher's, and by whose autoencoder.
        revision: of both.
        modality: ``image``.
        settings: the teacher's.
        batch_size: pictures at a time.
    """

    def __init__(self, run: EvaluationRun, student: DiffusersModel) -> None:
        self.name = f"{run.model['name']} through {student.name}"
        self.revision = f"{run.model['revision']}+{student.revision}"
        self.modality = student.modality
        self.settings: Mapping[str, object] = run.model["settings"]
        self.batch_size = 16
        self._student = student
        self._files = {entry.key: run.media.path / entry.file for entry in run.media.entries() if entry.status == "made"}

    @cached_property
    def _denoiser(self) -> Denoiser:
        from anyscene.training.denoiser import Denoiser

        return Denoiser(self._student.pipe)

    def find(self, record_id: str, index: int, caption: str, sample: int) -> Path | Failure:
        """The teacher's picture of a scene."""
        return self._files.get((record_id, sample)) or Failure("missing", "the teacher made none")

    def read(self, path: Path) -> Media:
        """A picture of the teacher's, given back. Raises ``MediaError`` where it cannot be read."""
        from anyscene.training.latents import give_back, native_size

        pixels = give_back(self._student.pipe, self._denoiser, read_media(path, "image"), native_size(self._student))
        return Media.of_frames([pixels], "image", None)

    def generate(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Media | Failure]:
        """Never asked: its pictures are found by scene."""
        raise AnySceneError(f"{self.name} has pictures of the exam only")
