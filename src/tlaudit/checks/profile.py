"""Compared networks over their depth: measurements, tables and charts of similarity and rank, stage by stage."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tlaudit.checks.vocabulary_erosion import (
    CKA_CHART,
    MATRIX_CHART,
    MATRIX_COLUMNS,
    RANK_CHART,
    SPECTRA_CHART,
    SPECTRUM_COLUMNS,
    STAGE_COLUMNS,
)
from tlaudit.errors import DegenerateError
from tlaudit.measure.uncertainty import MINIMUM_FOR_BOOTSTRAP
from tlaudit.results import Finding, Interval, Measurement, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tlaudit.checks.compared import Compared
    from tlaudit.checks.followed import Spectrum
    from tlaudit.checks.measured import Recorder
    from tlaudit.exhibits import Chart
    from tlaudit.records import Cell

NAMES = {"source": "source", "finetuned": "finetuned", "baseline": "from scratch"}
_ROUNDING = 1e-6
"""Singular values below this share of the largest are rounding: features are float32 (ours)."""
SINGULAR_VALUES_SHOWN = 64
"""Of each spectrum, spread evenly over a logarithmic axis (ours)."""
NO_DIAGONAL = "networks with different backbones have no stages in common; see the matrix of all stages"
_RANK_ONCE = "a rank is counted once, over all images"


class Profile:
    """What was found about each stage, ready to be told.

    Attributes:
        cka: CKA to the source at each stage with its interval or the reason why it has none, by role and stage.
        no_cka: Why there is no CKA at a stage, by role and stage.
        collapsed: Stages whose features vary in the source network, and in the finetuned one do not or are no numbers.
    """

    def __init__(self, compared: Compared, recorder: Recorder, *, alike: bool) -> None:
        """Work out CKA and intervals.

        Args:
            compared: What a pass left behind.
            recorder: Seed, resamples and confidence of the intervals.
            alike: Whether stages of one name are the same stage of all networks.
        """
        self._compared, self._recorder, self._alike = compared, recorder, alike
        self.no_cka: dict[str, dict[str, str]] = {role: {} for role in compared.cka}
        self.cka: dict[str, dict[str, tuple[float, Interval | str]]] = {role: {} for role in compared.cka}
        for role in compared.cka if alike else ():
            for stage in compared.stages[role]:
                self._measure(role, stage)
        source, finetuned = (compared.reasons[role] for role in ("source", "finetuned"))
        self.collapsed = [stage for stage in finetuned if stage not in source] if alike else []

    def _measure(self, role: str, stage: str) -> None:
        for network in ("source", role):
            if stage in self._compared.reasons[network]:
                self.no_cka[role][stage] = f"{NAMES[network]} network: {self._compared.reasons[network][stage]}"
                return
        accumulator = self._compared.cka[role]
        try:
            value = accumulator.cka(stage, stage)
        except DegenerateError as error:
            self.no_cka[role][stage] = str(error)
            return
        self.cka[role][stage] = (value, self._interval(role, stage))

    def _interval(self, role: str, stage: str) -> Interval | str:
        accumulator, recorder = self._compared.cka[role], self._recorder
        if accumulator.batches < MINIMUM_FOR_BOOTSTRAP:
            return f"interval: {accumulator.batches} minibatches, a bootstrap needs {MINIMUM_FOR_BOOTSTRAP}"
        drawn = accumulator.resampled(stage, stage, recorder.resamples, np.random.default_rng(recorder.seed))
        if len(drawn) < recorder.resamples:
            return f"interval: in {recorder.resamples - len(drawn)} of {recorder.resamples} resamples it is not defined"
        outside = (1 - recorder.confidence) / 2
        low, high = np.quantile(drawn.numpy(), [outside, 1 - outside])
        return Interval(
            low=float(low),
            high=float(high),
            confidence=recorder.confidence,
            method="percentile bootstrap of minibatches",
        )

    def measurements(self) -> list[Measurement]:
        """CKA and ratio of ranks of each stage, and the lowest of each."""
        found: list[Measurement] = []
        images = self._compared.cka["finetuned"].images
        recorder, cka, ratios = self._recorder, self.cka["finetuned"], self._ratios("finetuned")
        for stage in self._compared.stages["source"] if self._alike else ():
            name = f"erosion.cka.{stage}"
            if stage in cka:
                value, interval = cka[stage]
                found.append(recorder.stated(interval, name, value, images))
            else:
                found.append(recorder.absent(name, self.no_cka["finetuned"][stage]))
            name = f"erosion.rank_ratio.{stage}"
            if stage in ratios:
                n = self._compared.spectra["source"][stage].n
                found.append(recorder.exact(name, ratios[stage], n, why=_RANK_ONCE))
            else:
                found.append(recorder.absent(name, self._no_ratio(stage)))
        return [*found, *self._lowest(ratios)]

    def _no_ratio(self, stage: str) -> str:
        """Why there is no ratio of ranks at a stage."""
        reasons = (
            f"{NAMES[role]} network: {of_role[stage]}"
            for found in (self._compared.reasons, self._compared.without)
            for role, of_role in found.items()
            if stage in of_role and role != "baseline"
        )
        return "; ".join(reasons)

    def _lowest(self, ratios: Mapping[str, float]) -> Iterator[Measurement]:
        recorder, cka = self._recorder, self.cka["finetuned"]
        none = "no stage could be measured" if self._alike else NO_DIAGONAL
        if self.collapsed:
            # The lowest of those that are left would say that all is well.
            stage = self.collapsed[0]
            none = (
                f"{stage} can be measured in the source network and not in the finetuned one: "
                + (self._compared.reasons["finetuned"][stage])
            )
            cka, ratios = {}, {}
        if cka:
            value, interval = cka[self.lowest()]
            yield recorder.stated(interval, "erosion.cka.min", value, self._compared.cka["finetuned"].images)
        else:
            yield recorder.absent("erosion.cka.min", none)
        if ratios:
            stage = min(ratios, key=ratios.__getitem__)
            n = self._compared.spectra["source"][stage].n
            yield recorder.exact("erosion.rank_ratio.min", ratios[stage], n, why=_RANK_ONCE)
        else:
            yield recorder.absent("erosion.rank_ratio.min", none)

    def lowest(self) -> str:
        """The stage with the lowest CKA; the first of equal ones."""
        cka = self.cka["finetuned"]
        return min(cka, key=lambda stage: cka[stage][0])

    def lowest_sure_ratio(self) -> float | None:
        """The lowest ratio of ranks, of stages with at least twice as many images as the source has rank."""
        source = self._compared.spectra["source"]
        sure = [r for s, r in self._ratios("finetuned").items() if source[s].n >= 2 * source[s].rank]
        return min(sure, default=None)

    def _ratios(self, role: str) -> dict[str, float]:
        """Numerical rank as a share of the source's, by stage."""
        ours, theirs = self._compared.spectra[role], self._compared.spectra["source"]
        return {s: found.rank / theirs[s].rank for s, found in ours.items() if s in theirs} if self._alike else {}

    def summary(self) -> str:
        """A sentence or two."""
        cka, ratios = self.cka["finetuned"], self._ratios("finetuned")
        if not self._alike:
            return "The networks have different backbones: their features are compared stage by stage in a matrix."
        if self.collapsed:
            return (
                f"At {', '.join(self.collapsed)} the finetuned network's features do not vary or are no numbers; the "
                "source network's do."
            )
        if not cka:
            return "No stage could be compared."
        first, lowest = next(iter(cka)), self.lowest()
        text = f"CKA to the source is {cka[first][0]:.2f} at {first} and lowest at {lowest}, {cka[lowest][0]:.2f}."
        if ratios:
            stage = min(ratios, key=ratios.__getitem__)
            source = self._compared.spectra["source"][stage]
            rank = self._compared.spectra["finetuned"][stage].rank
            text += (
                f" The numerical rank falls the most at {stage}, from {source.rank} to {rank}."
                if (ratios[stage] < 1)
                else " The numerical rank falls at no stage."
            )
        return text

    def findings(self) -> list[Finding]:
        """What was not measured, and which ranks rest on few images."""
        found = []
        for reasons, what in (
            (self._compared.reasons, "could not be measured"),
            (self._compared.without, "has no rank"),
        ):
            for role, of_role in reasons.items():
                for stage, reason in of_role.items():
                    message = f"Stage {stage} of the {NAMES[role]} network {what}: {reason}."
                    found.append(Finding(code="erosion.stage_absent", severity="warning", message=message))
        few = {s: x for of_role in self._compared.spectra.values() for s, x in of_role.items() if _few(x)}
        if few:
            named = ", ".join(f"{stage} ({spectrum.d} features)" for stage, spectrum in few.items())
            n = next(iter(few.values())).n
            message = (
                f"{n} images are fewer than twice the features of {named}: numerical ranks there may come out too "
                "low, of all networks alike."
            )
            found.append(Finding(code="erosion.few_images", severity="warning", message=message))
        return found

    def tables(self, *, matrix: bool) -> dict[str, Table]:
        """The stages, spectra of some of them, and where it is wanted the matrix."""
        rows = [
            self._row(role, stage)
            for stage in dict.fromkeys(s for of_role in self._compared.stages.values() for s in of_role)
            for role, of_role in self._compared.stages.items()
            if stage in of_role
        ]
        ours = [number for number, row in enumerate(rows) if row["network"] == NAMES["finetuned"]]
        ranked = sorted(ours, key=lambda number: _or_last(rows[number]["cka"]))
        found = {
            "stages": Table(
                title="Stages",
                columns=STAGE_COLUMNS,
                rows=tuple(rows),
                worst=tuple(ranked),
                brief=(
                    "stage",
                    "network",
                    "n",
                    "d",
                    "cka",
                    "source_rank",
                    "rank",
                    "rank_ratio",
                    "effective_rank",
                    "participation_ratio",
                ),
            ),
            "spectra": Table(
                title="Singular values of some stages",
                columns=SPECTRUM_COLUMNS,
                rows=tuple(self._spectra()),
                brief=("line", "number", "singular_value"),
            ),
        }
        if matrix:
            found["cka_matrix"] = Table(
                title="Every stage of the source with every stage of the finetuned network",
                columns=MATRIX_COLUMNS,
                rows=tuple(self._matrix()),
                brief=("source_stage", "finetuned_stage", "cka"),
            )
        return found

    def _row(self, role: str, stage: str) -> dict[str, Cell]:
        spectrum = self._compared.spectra[role].get(stage)
        value, interval = self.cka.get(role, {}).get(stage, (None, ""))
        source = self._compared.spectra["source"].get(stage) if self._alike else None
        reasons = [self.no_cka.get(role, {}).get(stage) or self._compared.reasons[role].get(stage, "")]
        reasons.append(self._compared.without[role].get(stage, ""))
        if value is None and role != "source" and not self._alike:
            reasons.append(NO_DIAGONAL)
        if isinstance(interval, str):
            reasons.append(interval)
        return {
            "stage": stage,
            "network": NAMES[role],
            "n": spectrum.n if spectrum else None,
            "d": spectrum.d if spectrum else None,
            "cka": value,
            "cka_low": interval.low if isinstance(interval, Interval) else None,
            "cka_high": interval.high if isinstance(interval, Interval) else None,
            "source_rank": source.rank if source else None,
            "rank": spectrum.rank if spectrum else None,
            "rank_ratio": self._ratios(role).get(stage),
            "effective_rank": spectrum.effective_rank if spectrum else None,
            "participation_ratio": spectrum.participation_ratio if spectrum else None,
            "warning": "fewer images than twice the features" if spectrum and _few(spectrum) else None,
            "absent": "; ".join(filter(None, reasons)) or None,
        }

    def _spectra(self) -> Iterator[dict[str, Cell]]:
        """Spectra of the first and the last stage, and of the one whose rank fell the most."""
        stages = list(self._compared.spectra["source"])
        ratios = self._ratios("finetuned")
        chosen = {*stages[:1], *stages[-1:], *([min(ratios, key=ratios.__getitem__)] if ratios else [])}
        for stage in stages:
            for role, of_role in self._compared.spectra.items() if stage in chosen else ():
                if stage not in of_role:
                    continue
                values = of_role[stage].eigenvalues.sqrt()
                for number in _spread(int((values > _ROUNDING * values[0]).sum())):
                    yield {
                        "stage": stage,
                        "network": NAMES[role],
                        "line": f"{stage}, {NAMES[role]}",
                        "number": number,
                        "singular_value": float(values[number - 1] / values[0]),
                    }

    def _matrix(self) -> Iterator[dict[str, Cell]]:
        known = self._compared.reasons
        for source in self._compared.stages["source"]:
            for finetuned in self._compared.stages["finetuned"]:
                value = self._compared.matrix[source, finetuned]
                reasons = dict.fromkeys((known["source"].get(source), known["finetuned"].get(finetuned)))
                undefined = "one of the two does not vary" if math.isnan(value) else None
                yield {
                    "source_stage": source,
                    "finetuned_stage": finetuned,
                    "cka": None if math.isnan(value) else value,
                    "absent": "; ".join(filter(None, reasons)) or undefined,
                }

    def charts(self, *, matrix: bool) -> tuple[Chart, ...]:
        """CKA and ranks over depth, spectra, and where it is wanted the matrix."""
        charts: list[Chart] = [CKA_CHART] if self._alike else []
        return (*charts, RANK_CHART, SPECTRA_CHART, *((MATRIX_CHART,) if matrix else ()))


def _or_last(value: Cell) -> float:
    """A number to sort by; what is absent comes last."""
    return math.inf if value is None else float(value)


def _few(spectrum: Spectrum) -> bool:
    """Whether the number of images bounds the rank rather than the features."""
    return spectrum.n < 2 * spectrum.d


def _spread(count: int) -> list[int]:
    """Some of the numbers from 1 to `count`, evenly on a logarithmic axis, both ends kept."""
    if count <= SINGULAR_VALUES_SHOWN:
        return list(range(1, count + 1))
    return sorted({round(x) for x in np.geomspace(1, count, SINGULAR_VALUES_SHOWN)})
