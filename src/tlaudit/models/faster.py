"""Networks made faster for passes that look at nothing but their logits: batch norms folded, code compiled."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from tlaudit.errors import UsageError
from tlaudit.models.folding import folded
from tlaudit.models.halving import is_out_of_memory
from tlaudit.models.runtime import class_scores

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

log = logging.getLogger(__name__)


class Faster:
    """A network that gives the same logits sooner, up to rounding; made when it is first asked.

    It is a network of its own beside the one it is made from: hooks on that one see nothing of what it does.
    """

    def __init__(self, module: nn.Module, side: int, *, fuse: bool, compiles: bool) -> None:
        """Take note of a network; nothing is made yet.

        Args:
            module: A placed network in eval mode; it is left as it is.
            side: Of its images, in pixels.
            fuse: Fold batch norms into the convolutions before them, see `tlaudit.models.folding.folded`.
            compiles: Compile it with torch.compile. If that fails it runs as it is, which is said once.
        """
        self._module, self._side = module, side
        self._fuse, self._compiles = fuse, compiles
        self._fused: nn.Module | None = None
        self._compiled: Callable[[Tensor], Tensor] | None = None

    def __call__(self, pixels: Tensor) -> Tensor:
        """Run it.

        Args:
            pixels: Normalised images, ``(N, 3, H, W)`` on its device.

        Returns:
            Logits, ``(N, K)``, in the precision they were computed in.

        Raises:
            ValueError: If the network gives anything but one vector of logits for each image.
        """
        if self._fused is None:
            self._fused = self._folded(pixels.device) if self._fuse else self._module
        if self._compiles:
            found = self._by_compiled(self._fused, pixels)
            if found is not None:
                return found
        return class_scores(self._fused, pixels)

    def _folded(self, device: torch.device) -> nn.Module:
        # Noise from a fixed seed: whether the copy is as good as the network must not depend on the images.
        with torch.inference_mode(False), torch.no_grad():
            noise = torch.randn(2, 3, self._side, self._side, generator=torch.Generator().manual_seed(0))
            return folded(self._module, noise.to(device, memory_format=torch.channels_last))

    def _by_compiled(self, module: nn.Module, pixels: Tensor) -> Tensor | None:
        """Give the compiled network's logits; None, and never try again, where it cannot be compiled."""
        # Takes a second to import, and is wanted here alone.
        from torch._dynamo.exc import TorchDynamoException

        try:
            if self._compiled is None:
                # One compilation for all sizes of batches would be slower; the second size makes torch look for it.
                self._compiled = torch.compile(module)
            return class_scores(self._compiled, pixels)
        except TorchDynamoException as error:
            if is_out_of_memory(error):
                raise
            said = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            log.warning("--compile: the network cannot be compiled and runs as it is: %s", said)
        self._compiles, self._compiled = False, None
        return None


def refuse_no_compiler(device: torch.device) -> None:
    """Make sure that what torch.compile needs is installed, before anything is done.

    Raises:
        UsageError: With what is missing.
    """
    compiler = os.environ.get("CXX") or {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    missing = []
    if shutil.which(compiler) is None:
        missing.append(f"a C++ compiler ({compiler}; the variable CXX names another)")
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        missing.append("the headers of Python (Python.h)")
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        missing.append("the package triton")
    if missing:
        raise UsageError(
            f"--compile needs what is not on this machine: {' and '.join(missing)}; install it, or leave --compile out"
        )
