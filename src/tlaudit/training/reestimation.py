"""Statistics of batch norms found anew, for weights that no training has led to."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING

from torch.nn.modules.batchnorm import _BatchNorm

from tlaudit.models.runtime import class_scores
from tlaudit.progress import silent

if TYPE_CHECKING:
    from torch import nn

    from tlaudit.data.training import TrainingBatch, TrainingImages
    from tlaudit.models.preprocess import Normalizer
    from tlaudit.models.runtime import Execution
    from tlaudit.progress import Progress


def with_statistics_of(
    network: nn.Module,
    images: TrainingImages,
    *,
    execution: Execution,
    normalizer: Normalizer,
    progress: Progress = silent,
) -> nn.Module:
    """Give a copy of a network whose batch norms have the statistics that these images give them.

    Mean and variance of weights that were averaged are not the averages of means and variances (Izmailov et al. 2018,
    section 3.2). One pass in fp32, batch norms in training mode and all else in eval mode; each statistic is the mean
    over the batches, weighted by their images. The counters of batches stay what they were.

    Args:
        network: In eval mode; left as it is.
        images: Seen as they are, neither mirrored nor augmented; at least two.
        execution: Device and batch size.
        normalizer: Turns pixels into inputs, on that device.
        progress: Shows how far the pass is, in images.

    Returns:
        The copy, in eval mode, on the CPU.

    Raises:
        DataError: If an image can no longer be read.
    """
    precise = dataclasses.replace(execution, precision="fp32")
    copied = copy.deepcopy(network).to(device=precise.device)
    norms = [m for m in copied.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    if not norms:
        return copied.to("cpu")
    kept = [(norm.momentum, copy.deepcopy(norm.num_batches_tracked)) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
    seen = 0
    batches = images.epoch(0, seed=0, batch_size=max(2, execution.batch_size), flip=False)
    for batch in progress(batches, total=len(images), label="batch norms", size=_images_in):
        seen += len(batch.index)
        for norm in norms:
            norm.momentum = len(batch.index) / seen
        with precise.attribution():
            class_scores(copied, normalizer(batch.pixels))
    for norm, (momentum, count) in zip(norms, kept, strict=True):
        norm.momentum = momentum
        norm.num_batches_tracked = count
    return copied.eval().to("cpu")


def _images_in(batch: TrainingBatch) -> int:
    return len(batch.index)
