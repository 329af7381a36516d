"""One network followed at its stages, batch by batch: Gram matrices for the moment, sums for the spectra."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from tlaudit.errors import DegenerateError
from tlaudit.measure import spectrum as measure
from tlaudit.measure.similarity import gram
from tlaudit.measure.spectrum import CovarianceSpectrum, GramSpectrum
from tlaudit.models.halving import Halving, joined
from tlaudit.models.runtime import class_scores
from tlaudit.models.taps import tapped
from tlaudit.models.token_grid import infer_grid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from torch import Tensor, nn

    from tlaudit.distributed import Group

WIDEST_COVARIANCE = 4096
"""Features wider than this go through the Gram matrix of the images; the covariance would take 128 MiB (ours)."""
MOST_KEPT_BYTES = 2**32
"""Of all stages' features together, where they have to be kept until the end of the pass (ours)."""


@dataclass(frozen=True)
class Spectrum:
    """Variances of a stage's features along their principal directions.

    Attributes:
        eigenvalues: Of the sample covariance, float64, largest first; through the Gram matrix those that can differ
            from zero.
        n: Images.
        d: Features.
    """

    eigenvalues: Tensor
    n: int
    d: int

    @property
    def rank(self) -> int:
        """Numerical rank: eigenvalues of the covariance above 1e-3 of the largest."""
        return measure.numerical_rank(self.eigenvalues)

    @property
    def effective_rank(self) -> float:
        """Exponential of the entropy of the normalised singular values."""
        return measure.effective_rank(self.eigenvalues)

    @property
    def participation_ratio(self) -> float:
        """``(sum of eigenvalues)^2 / sum of their squares``."""
        return measure.participation_ratio(self.eigenvalues)


class Room:
    """How much may be kept of the features of all stages; where it is too little, the widest stages give theirs up."""

    def __init__(self, most: int = MOST_KEPT_BYTES, *, processes: int = 1) -> None:
        """Begin empty.

        Args:
            most: Bytes, of all processes together.
            processes: How many share it.
        """
        self._most = most // processes
        self._held: dict[_Stage, int] = {}

    def take(self, stage: _Stage, count: int) -> None:
        """Take room for so many bytes more of a stage, which may be the one that has to give up."""
        self._held[stage] = self._held.get(stage, 0) + count
        while sum(self._held.values()) > self._most:
            widest = max(self._held, key=self._held.__getitem__)
            widest.give_up(self._most)
            del self._held[widest]


class Follower:
    """Follows the stages of one network, batch by batch."""

    def __init__(
        self, paths: Sequence[str], features: Literal["pooled", "flat"], *, keep: bool, room: Room | None = None
    ) -> None:
        """Begin with nothing known.

        Args:
            paths: Module paths of the stages.
            features: Whose spectrum is taken.
            keep: Whether the pooled features of the stage that ends last are kept.
            room: For features that have to be kept; shared with other followers, or one of its own.
        """
        room = room or Room()
        self._stages = {path: _Stage(path, features, keep=keep, room=room) for path in paths}
        self._ended: list[str] = []
        self._keep = keep

    def look(
        self, module: nn.Module, pixels: Tensor, halving: Halving | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Run a batch, and take from each stage what is kept of it.

        Where memory is too short for the batch it runs in parts, and what stages give for them is kept in main memory
        until the batch is complete: its Gram matrices are of all its images, as they would have been.

        Args:
            module: The network, in eval mode on its device.
            pixels: Normalised images, ``(N, 3, H, W)``.
            halving: Knows how many images fit into memory at once; where left out it is found out anew.

        Returns:
            Logits ``(N, K)``, and for each stage its Gram matrix ``(N, N)``, NaN where it cannot be measured.
        """
        first = not self._ended
        for stage in self._stages.values():
            stage.begin(pixels)

        def run(part: slice) -> tuple[Tensor, dict[str, Tensor]]:
            outputs: dict[str, Tensor] = {}
            for stage in self._stages.values():
                stage.begin_part(part.stop - part.start)
            with tapped(module, self._stages, lambda path, output: self._see(path, output, outputs)):
                return class_scores(module, pixels[part]), outputs

        parts = (halving or Halving("the network")).run(len(pixels), run)
        if first:
            for path in self.order()[:-1]:
                self._stages[path].keep_no_rows()
        for path, stage in self._stages.items():
            stage.take_parts([outputs.pop(path) for _, outputs in parts if path in outputs])
        return joined([logits for logits, _ in parts]), {path: stage.end() for path, stage in self._stages.items()}

    def _see(self, path: str, output: object, outputs: dict[str, Tensor]) -> None:
        if path not in self._ended:
            self._ended.append(path)
        kept = self._stages[path].see(output)
        if kept is not None:
            outputs[path] = kept

    def bring_together(self, group: Group) -> None:
        """Take in what the other processes saw of other images; all of them have to call this.

        What is kept of images lies in the order of the processes afterwards.

        Raises:
            DataError: If another process has ended.
        """
        everyone = group.gathered((self._ended, {path: stage.seen() for path, stage in self._stages.items()}))
        self._ended = next((ended for ended, _ in everyone if ended), [])
        for path, stage in self._stages.items():
            stage.become([seen[path] for _, seen in everyone])

    def order(self) -> tuple[str, ...]:
        """Give the stages in the order in which they end; those that never run stand last."""
        return (*self._ended, *(path for path in self._stages if path not in self._ended))

    def spectra(self) -> dict[str, Spectrum]:
        """Give the spectra of the stages that have one."""
        found = {path: self._stages[path].spectrum() for path in self.order()}
        return {path: spectrum for path, spectrum in found.items() if spectrum is not None}

    def reasons(self) -> dict[str, str]:
        """Why nothing can be measured at a stage, by stage; complete once the spectra have been asked for."""
        return {path: stage.reason for path, stage in self._stages.items() if stage.reason}

    def without(self) -> dict[str, str]:
        """Why there is no spectrum of a stage that can be measured otherwise, by stage."""
        return {path: stage.without for path, stage in self._stages.items() if stage.without}

    def kept(self) -> Tensor | None:
        """Pooled features of the stage that ends last, ``(N, D)`` float32, where they were wanted and could be had."""
        last = self._stages[self._ended[-1]] if self._ended else None
        return last.kept() if self._keep and last is not None and not (last.reason or last.without) else None


class _SeenOfStage(NamedTuple):
    """What one process has seen of a stage."""

    reason: str
    without: str
    spectrum: CovarianceSpectrum | GramSpectrum | None
    rows: list[Tensor]


class _Stage:
    """What is known of one stage of one network, batch by batch.

    Attributes:
        path: Module path.
        reason: Why nothing can be measured; empty as long as it can.
        without: Why there is no spectrum; empty as long as there may be one.
    """

    path: str
    reason: str
    without: str

    def __init__(self, path: str, features: Literal["pooled", "flat"], *, keep: bool, room: Room) -> None:
        self.path, self.reason, self.without = path, "", ""
        self._features, self._keep, self._room = features, keep, room
        self._spectrum: CovarianceSpectrum | GramSpectrum | None = None
        self._rows: list[Tensor] = []

    def begin(self, pixels: Tensor) -> None:
        """A batch is about to run."""
        self._size = pixels.shape[-2], pixels.shape[-1]
        self._gram = torch.full((len(pixels), len(pixels)), torch.nan, dtype=torch.float64)
        self._taken = False

    def begin_part(self, count: int) -> None:
        """So many of its images are about to run, perhaps not for the first time."""
        self._count, self._runs = count, 0

    def see(self, output: object) -> Tensor | None:
        """The stage has run; of a part of a batch, give what has to be kept until all parts are there."""
        self._runs += 1
        if self.reason:
            return None
        if not isinstance(output, torch.Tensor) or output.ndim < 2 or len(output) != self._count:
            shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            self.reason = f"its output is {shape}, not one tensor with a row for each of {self._count} images"
        elif self._runs > 1:
            self.reason = "it runs more than once in a forward pass: name a module that runs once"
        elif not output.is_floating_point():
            self.reason = f"its output holds {str(output.dtype).removeprefix('torch.')}, no features"
        elif self._taken:
            # It got so far before memory was too short for a later stage.
            return None
        elif self._count < len(self._gram):
            # A copy, because a layer behind this one may write over its output.
            return output.detach().to("cpu", copy=True)
        else:
            self._take(output)
        return None

    def take_parts(self, parts: Sequence[Tensor]) -> None:
        """All parts of the batch have run, and this is what was kept of them."""
        if parts and not self.reason:
            self._take(torch.cat(list(parts)))

    def end(self) -> Tensor:
        """The batch has run: its Gram matrix, NaN where the stage cannot be measured."""
        if not self._runs and not self.reason:
            self.reason = "it takes no part in the forward pass"
        return self._gram.fill_(torch.nan) if self.reason else self._gram

    def _take(self, output: Tensor) -> None:
        """Take in the features of a whole batch; if memory is too short for that, nothing was taken in."""
        found = gram(output)
        if not found.isfinite().all():
            self.reason = "its features are NaN or infinite for some images, or too large to multiply"
        elif not self.without:
            self._add(output)
        self._gram, self._taken = found, True

    def _add(self, output: Tensor) -> None:
        pooled = self._pooled(output) if self._keep or self._features == "pooled" else None
        rows = output.flatten(1) if pooled is None or self._features == "flat" else pooled
        wide = self._features == "flat" or rows.shape[1] > WIDEST_COVARIANCE
        # A copy, because a layer behind this one may write over its output.
        kept = pooled.to("cpu", copy=True) if self._keep and pooled is not None else None
        if self._spectrum is None:
            self._spectrum = GramSpectrum() if wide else CovarianceSpectrum()
        self._spectrum.add(rows)
        held = [rows] if wide else []
        if kept is not None:
            self._rows.append(kept)
            held.append(kept)
        if held:
            self._room.take(self, sum(tensor.numel() * tensor.element_size() for tensor in held))

    def give_up(self, most: int) -> None:
        """Keep nothing any more: there is no room."""
        self.without = (
            f"more than {most / 2**30:g} GiB of features would have to be kept, of which this stage has the most: give "
            "fewer images (--limit), fewer stages, or --features pooled"
        )
        self._spectrum, self._rows = None, []

    def keep_no_rows(self) -> None:
        """Forget pooled features: another stage is the last."""
        self._keep, self._rows = False, []

    def seen(self) -> _SeenOfStage:
        """What another process has to know."""
        return _SeenOfStage(self.reason, self.without, self._spectrum, self._rows)

    def become(self, parts: Sequence[_SeenOfStage]) -> None:
        """Take in what all processes saw, in their order."""
        self.reason = next((part.reason for part in parts if part.reason), "")
        self.without = next((part.without for part in parts if part.without), "")
        self._rows = [rows for part in parts for rows in part.rows]
        spectra = [part.spectrum for part in parts if part.spectrum is not None]
        self._spectrum = type(spectra[0])() if spectra and not self.without else None
        if self._spectrum is not None:
            for one in spectra:
                self._spectrum.merge(one)  # type: ignore[arg-type]  # which of the two it is depends on the width

    def _pooled(self, output: Tensor) -> Tensor:
        """Means over space, ``(N, C)`` float32; tokens that are no part of the image are left out."""
        grid = infer_grid(output.shape, self._size)
        if grid is not None:
            return grid.arranged(output).float().mean(dim=(2, 3))
        # Nothing in the shape is a grid: no space at all, tokens of another kind, or a single cell.
        if output.ndim == 2:
            return output.float()
        return output.float().mean(dim=1) if output.ndim == 3 else output.float().flatten(2).mean(dim=2)

    def spectrum(self) -> Spectrum | None:
        """The spectrum over all batches; None, and a reason, where there is none."""
        if self.reason or self._spectrum is None:
            return None
        try:
            found = Spectrum(self._spectrum.eigenvalues(), self._spectrum.count, self._spectrum.dimensions)
            measure.numerical_rank(found.eigenvalues)
        except DegenerateError as error:
            self.reason = str(error)
            return None
        return found

    def kept(self) -> Tensor:
        """Pooled features of all images, ``(N, D)`` float32."""
        return torch.cat(self._rows)
