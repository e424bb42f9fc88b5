"""Lets tests, and the processes that they start, import torchvision beside a torch built for CPU.

A torchvision built for CUDA dies at import there, for want of two operators that no test uses. Asked for torchvision, this declares them
and leaves the import to others; nothing is imported before it is wanted.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import sys


class TorchvisionOperators(importlib.abc.MetaPathFinder):
    """Finds nothing."""

    libraries: list[object] = []  # noqa: RUF012 - kept for as long as the process

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name != "torchvision" or self.libraries:
            return
        with contextlib.suppress(ImportError, RuntimeError):  # no torch; or they are declared
            import torch

            if torch.version.cuda is None:
                library = torch.library.Library("torchvision", "DEF")
                self.libraries.append(library)
                for operator in ("nms", "qnms"):
                    library.define(f"{operator}(Tensor a, Tensor b, float c) -> Tensor")


sys.meta_path.insert(0, TorchvisionOperators())
