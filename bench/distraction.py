"""`tlaudit distraction` from files to the result, beside the forward passes that it cannot do without.

Of each composite the check asks source and finetuned network for an explanation, the finetuned one again with grey for
the background, and, where it was wrong, twice more with pixels filled. The bare passes are as many, on tensors in
memory; that explanations need gradients, that files are decoded, pasted and compared is what the check pays beyond.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tlaudit.checks import CHECKS

from .networks import BarePasses, pair, subject
from .pictures import draw_photographs
from .rounds import take_turns

if TYPE_CHECKING:
    from tlaudit.results import CheckResult

    from .options import Options
    from .rows import Row

BARE = "bare forward passes"


def measure(options: Options) -> list[Row]:
    arch, classes, per_class = ("squeezenet1_1", 2, 4) if options.quick else ("resnet18", 4, 16)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_photographs(folder / "source", classes, options.size(64, 8))
        target = len(draw_photographs(folder / "target", 2, options.size(64, 8)))
        # Random networks recognise nothing; with these thresholds every class lingers.
        given, settings = subject(
            pair(folder, arch),
            folder / "source",
            folder / "target",
            {"device": options.device, "batch_size": 32},
            lingering={"v_lo_count": target, "p_lo": 0.0},
            distraction={"per_class": per_class, "common_classes": 0, "gallery": 0},
        )
        given = replace(given, earlier={"lingering": CHECKS["lingering"].run(given, settings.lingering)})

        def check() -> CheckResult:
            return CHECKS["distraction"].run(given, settings.distraction)

        composites = classes * per_class
        source, finetuned = given.pair.source.module, given.pair.finetuned.module
        of_finetuned = round(composites * (2 + 2 * _wrong(check(), composites)))
        bare = BarePasses(given, [(source, "source", composites), (finetuned, "finetuned", of_finetuned)])
        rounds = take_turns(
            {"check": check, BARE: bare},
            rounds=options.size(3, 1),
            warmup=0,
            device=options.kind,
        )
    what = f"{arch} fp32, {composites} composites, {(composites + of_finetuned) / composites:.1f} passes each"
    return [rounds.row("distraction", what, "check", unit="composites/s", work=composites, bound=BARE)]


def _wrong(result: CheckResult, composites: int) -> float:
    """Share of composites that were asked about again."""
    values = {measurement.name: measurement.value for measurement in result.measurements}
    made, accuracy = values["distraction.composites"], values["distraction.composite_accuracy"]
    assert made == composites, f"expected {composites} composites, got {made}"
    return 0.0 if accuracy is None else 1 - accuracy
