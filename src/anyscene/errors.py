"""Every error that Anyscene raises on purpose.

    AnySceneError
    ├── TaxonomyError           a vocabulary is malformed, or a word is not in it
    ├── GraphError              a scene graph breaks a rule of scene graphs
    ├── SpecError               an option, or a combination of options, cannot be honoured
    │   ├── EmptySpaceError     the constraints leave no scene at all
    │   └── CapacityError       more was asked for than exists
    ├── CaptionParseError       a text is not a caption of any scene graph
    ├── RunError                a run folder cannot be used: another run's, unwritable, or the disk is full
    ├── Interrupted             stopped by the user; what was finished is kept
    ├── MediaError              a picture, clip or 3D file cannot be read, or is too large
    ├── ModelError              a text-to-vision model cannot be loaded or used at all
    ├── JudgeError              a judge cannot be loaded or used, or fails its canaries
    ├── RewardHackedError       training was stopped: the reward and the truth part
    ├── LeakageError            what is held out was trained on: no figure of the run says anything
    ├── RecordError             a dataset file is missing, damaged or not what it should be
    └── MissingExtraError       an optional library is not installed

Catch `AnySceneError` to catch them all. A message says what was asked, what was found, and what would work.
"""

from __future__ import annotations

__all__ = [
    "AnySceneError",
    "CapacityError",
    "CaptionParseError",
    "EmptySpaceError",
    "GraphError",
    "Interrupted",
    "JudgeError",
    "LeakageError",
    "MediaError",
    "MissingExtraError",
    "ModelError",
    "RecordError",
    "RewardHackedError",
    "RunError",
    "SpecError",
    "TaxonomyError",
]


class AnySceneError(Exception):
    """The root of every error that Anyscene raises on purpose."""


class TaxonomyError(AnySceneError):
    """A vocabulary is malformed, or a word was asked for that it does not hold. Correct the named file or entry."""


class GraphError(AnySceneError):
    """A scene graph breaks a rule of scene graphs (an unknown object id, a cycle, two relations between one pair)."""


class SpecError(AnySceneError):
    """An option, or a combination of options, cannot be honoured. The message lists what would be accepted."""


class EmptySpaceError(SpecError):
    """The constraints leave no scene at all. Loosen the one that the message names."""


class CapacityError(SpecError):
    """More rows were asked for than there are. Ask for fewer, or widen the space."""


class CaptionParseError(AnySceneError):
    """A text is not a caption of any scene graph in this vocabulary."""


class RunError(AnySceneError):
    """A run folder cannot be used: it belongs to another run, cannot be written, or the disk is full."""


class Interrupted(AnySceneError):
    """The user stopped the run. What was finished is kept: the same command again goes on from there."""


class MediaError(AnySceneError):
    """A picture, clip or 3D file cannot be read, or is larger than is taken. The message names the file."""


class ModelError(AnySceneError):
    """A text-to-vision model cannot be loaded or used at all: no such weights, no key, no device. Single failures are values."""


class JudgeError(AnySceneError):
    """A judge cannot be loaded or used at all, or answers its canaries wrongly. Single failures are values."""


class RewardHackedError(AnySceneError):
    """A guard stopped training, since the reward and the truth part. The message names the causes (docs/rewards.md)."""


class LeakageError(AnySceneError):
    """Something held out was trained on, so that no figure of the run says anything. The message names the first offenders."""


class RecordError(AnySceneError):
    """A dataset file is missing, damaged or not what it should be. The message names the file, and the line if it has lines."""


class MissingExtraError(AnySceneError):
    """An optional library is not installed. The message is the command that installs it.

    Args:
        needed_for: What the library is needed for, as the start of a sentence ("Reading a dataset with Hugging Face datasets").
        extra: The name of the extra that brings the library in.
    """

    def __init__(self, needed_for: str, extra: str) -> None:
        super().__init__(needed_for, extra)  # args as they were given, so that the error survives pickling
        self.needed_for = needed_for
        self.extra = extra

    def __str__(self) -> str:
        return f"{self.needed_for} needs the extra {self.extra!r}. Install it with: pip install 'anyscene[{self.extra}]'"
