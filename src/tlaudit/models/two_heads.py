"""One backbone under two heads: what each makes of the same images, from one forward pass where that can be."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.dropout import _DropoutNd

from tlaudit.errors import UsageError
from tlaudit.models.heads import within
from tlaudit.models.runtime import class_scores
from tlaudit.models.taps import entered, tapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

TOLERANCE = 1e-4
"""Largest difference of logits that is rounding, as a share of the largest logit."""

_FAILURES = (RuntimeError, AssertionError, ValueError, TypeError, IndexError, KeyError)
"""What a network raises that is run in a way it was not made for."""


class TwoHeads:
    """Runs a network and gives its logits and those of another head on the same backbone.

    The other head takes what the network's own takes; but where that is the output of a dropout, the other one takes
    that dropout's input, so that nothing is dropped for it. Both outputs then go on together, side by side along the
    channels, through whatever follows a head: pooling, a ReLU, flattening. Whether that gives the right logits is tried
    once; if not, the network runs a second time with the other head's weights in the place of its own.

    Attributes:
        together: Whether one forward pass serves both.
    """

    def __init__(self, network: nn.Module, path: str, other: nn.Module, pixels: Tensor) -> None:
        """Get to know a network; it is left as it is.

        Args:
            network: The network.
            path: Module path of its head.
            other: The other head: eval mode, frozen, on the same device, of the same form as the network's but for the
                number of outputs.
            pixels: A few normalised images to try it on, ``(N, 3, H, W)`` on that device, no two alike.

        Raises:
            UsageError: If the network does not run with the other head at all.
        """
        self._path, self._other = path, other
        with torch.no_grad(), _in_eval(network.modules()):
            self._dropout = _dropout_before(network, path, pixels)
            self.together = self._agree(network, pixels)

    def __call__(
        self, network: nn.Module, images: Tensor, run: Callable[[nn.Module, Tensor], Tensor] = class_scores
    ) -> tuple[Tensor, Tensor]:
        """Run it.

        Args:
            network: The one it was made for, or one of the same form.
            images: Normalised, ``(N, 3, H, W)``.
            run: Gives the logits of a network for images.

        Returns:
            Logits of the network's own head, ``(N, K)``, and of the other, ``(N, L)``.
        """
        return self._in_one(network, images, run) if self.together else self._in_two(network, images, run)

    def _in_one(
        self, network: nn.Module, images: Tensor, run: Callable[[nn.Module, Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        taken: dict[str, Tensor] = {}
        widths: list[int] = []

        def before(path: str, features: object) -> None:
            if isinstance(features, Tensor):
                # A dropout that works in place would drop from what is kept.
                taken[path] = features.clone() if path == self._dropout else features

        def after(_path: str, output: object) -> object:
            features = taken[self._path]
            if self._dropout is not None:
                features = taken[self._dropout].reshape(features.shape)
            if not isinstance(output, Tensor):
                raise TypeError(f"expected a tensor from the head {self._path}, got a {type(output).__name__}")
            answers = self._other(features)
            axis = _channels(output, answers)
            widths[:] = output.shape[axis], answers.shape[axis]
            return torch.cat([output, answers], dim=axis)

        paths = [self._path] if self._dropout is None else [self._dropout, self._path]
        with entered(network, paths, before), tapped(network, [self._path], after):
            logits = run(network, images)
        own, other = torch.split(logits, widths, dim=1)
        return own, other

    def _in_two(
        self, network: nn.Module, images: Tensor, run: Callable[[nn.Module, Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        own = run(network, images)
        replaced = {name: buffer.clone() for name, buffer in network.named_buffers()}
        # The copies take what batch norms note of the second pass.
        replaced |= {f"{self._path}.{name}": tensor for name, tensor in self._other.state_dict().items()}
        still = list(network.get_submodule(self._path).modules())
        if self._dropout is not None:
            still.append(network.get_submodule(self._dropout))
        with _in_eval(still):
            return own, functional_call(network, replaced, (images,))

    def _agree(self, network: nn.Module, pixels: Tensor) -> bool:
        """Say whether one pass gives what two give."""
        try:
            expected = self._in_two(network, pixels, class_scores)
        except _FAILURES as error:
            reason = " ".join(str(error).split())
            raise UsageError(
                f"the network cannot run with another head at {self._path}: {type(error).__name__}: {reason}; expected "
                "a head after which the number of outputs does not matter: name a wider one with --head"
            ) from error
        try:
            found = self._in_one(network, pixels, class_scores)
        except _FAILURES:
            # What follows the head minds how many channels there are, or the head is not called as a module is.
            return False
        return all(
            one.shape == two.shape and bool((one - two).abs().max() <= TOLERANCE * two.abs().max())
            for one, two in zip(found, expected, strict=True)
        )


def _channels(output: Tensor, answers: Tensor) -> int:
    """The axis along which two heads differ; where they have as many outputs, that of a convolution or linear layer."""
    differing = [axis for axis in range(output.ndim) if output.shape[axis] != answers.shape[axis]]
    if len(differing) == 1:
        return differing[0]
    return 1 if output.ndim == 4 else output.ndim - 1


@contextlib.contextmanager
def _in_eval(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Put modules, each without those in it, into eval mode, and back."""
    modes = [(module, module.training) for module in modules]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, training in modes:
            module.training = training


def _dropout_before(network: nn.Module, head: str, pixels: Tensor) -> str | None:
    """Find the dropout whose output is what the head takes, in whatever shape."""
    # What a module gives lives as long as this, so that no other tensor gets its memory.
    given: list[tuple[str, Tensor, int]] = []
    found: list[str] = []

    def after(path: str, output: object) -> None:
        if isinstance(output, Tensor):
            given.append((path, output, output._version))  # noqa: SLF001 - how often it has been written over

    def before(_path: str, features: object) -> None:
        # In eval mode a dropout gives what it takes, so that several in a row share one memory: the first is meant.
        if isinstance(features, Tensor):
            found.extend(path for path, output, writes in given if _same(features, output, writes))

    paths = [
        path for path, module in network.named_modules() if isinstance(module, _DropoutNd) and not within(path, head)
    ]
    with tapped(network, paths, after), entered(network, [head], before):
        class_scores(network, pixels)
    return found[0] if found else None


def _same(features: Tensor, output: Tensor, writes: int) -> bool:
    """Say whether two tensors are the same numbers in the same memory, not written over since."""
    return (
        features.data_ptr() == output.data_ptr() and features.numel() == output.numel() and features._version == writes  # noqa: SLF001
    )
