"""The text of a first `tlaudit.toml`: what was given and found, and what may be changed, explained."""

from __future__ import annotations

import importlib.resources
import shlex
import tomllib
from typing import TYPE_CHECKING, Any

from tlaudit.config import FILE_NAME
from tlaudit.options import (
    AuditOptions,
    DataOptions,
    DistractionOptions,
    ErosionOptions,
    ExecutionOptions,
    LingeringOptions,
    ModelOptions,
    PreprocessOptions,
    StressOptions,
)
from tlaudit.scaffold.places import factory_place, model_place, place
from tlaudit.scaffold.toml import offered, remark, setting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tlaudit.options import Settings
    from tlaudit.results import ModelRecord
    from tlaudit.scaffold.surroundings import Surroundings

COMPOSITES = 1000
"""So many composites of lingering classes are enough for an answer in minutes on a CPU; the choice is ours."""

CLASSES = 40
"""At most so many classes share them."""

FEWEST = 25
"""Composites a class, however many classes there are: two that linger make the 50 that the default policy asks for."""

_RATE = "distraction.flip_rate"

_MISSING = {
    "baseline": (
        "The control: the same architecture, trained on the target images from scratch. Without it nothing says how "
        "much of the numbers is due to finetuning.",
        "from-scratch.pth",
    ),
    "source": (
        "Images of the source network's classes: one folder a class, named by class index, class name or WordNet id, "
        "tar shards or a manifest (docs/data.md); some of the classes are enough. Every check needs them.",
        "source-images",
    ),
    "target": (
        "The images the network was finetuned on: in class folders or flat, tar shards or a manifest. lingering and "
        "distraction need them.",
        "target/train",
    ),
    "val": (
        "Held-out target images: class folders, tar shards or a manifest. With them the audit states the accuracy on "
        "the target task, and a rule can ask that it does not fall.",
        "target/val",
    ),
}


def compose(settings: Settings, found: Surroundings, file: Path) -> str:
    """Write a configuration file.

    Args:
        settings: Networks and images as they were named on the command line.
        found: What was found of them.
        file: Where the text is going to lie; paths are written relative to its folder where that can be.

    Returns:
        TOML with comments. It loads as it is, and so it does with all settings in it put to use that are commented out.

    Raises:
        UsageError: If a path cannot be written into it.
    """
    sections = (
        _head(file),
        _models(settings, found, file.parent),
        _data(settings.data, found, file.parent),
        _preprocess(found),
        _execution(),
        _audit(found),
        _lingering(found),
        _distraction(found),
        _erosion(),
        _stress(),
        _policy(),
    )
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def default_policy() -> str:
    """Give the rules that hold where none are written, as the text of a file."""
    return importlib.resources.files("tlaudit").joinpath("policy/default.toml").read_text(encoding="utf-8")


def _head(file: Path) -> Iterator[str]:
    yield from remark(
        "What tlaudit audits, and when it refuses a checkpoint. Relative paths are meant from the folder of this "
        "file; the command line wins over what stands here; a line that begins with a single # and a key is a "
        "setting to put to use."
    )
    yield "#"
    audit, gate = next_steps(file.name)
    yield from remark(f"{audit} : all checks, two reports")
    yield from remark(f"{gate} : exit code 0 passed, 1 refused, 3 no answer")


def next_steps(file: str) -> tuple[str, str]:
    """Give the command lines that audit and judge by a configuration file; ``tlaudit.toml`` is found by itself."""
    named = "" if file == FILE_NAME else f" --config {shlex.quote(file)}"
    return f"tlaudit audit{named} -o audit.json --report audit.html", f"tlaudit gate audit.json{named}"


def _models(settings: Settings, found: Surroundings, folder: Path) -> Iterator[str]:
    models = settings.models
    yield "[models]"
    for role in ("source", "finetuned", "baseline"):
        spec = getattr(models, role)
        if spec is None:
            yield from _not_given(role)
            continue
        if role in found.networks:
            yield from _network(found.networks[role])
        yield setting(role, model_place(spec, folder))
    for warning in found.warnings:
        yield from remark(f"Note: {warning}")
    for key in ("arch", "source_arch", "baseline_arch"):
        if getattr(models, key) is not None:
            yield setting(key, factory_place(getattr(models, key), folder))
    for key in ("head", "use_ema", "allow_pickle"):
        if getattr(models, key):
            yield setting(key, getattr(models, key))
    yield from _left(ModelOptions, models, arch=found.networks["finetuned"].architecture)
    yield from _left(ModelOptions, models, head=found.networks["finetuned"].head)


def _network(model: ModelRecord) -> Iterator[str]:
    """What was found of a network."""
    names = "named" if model.classes_known else "no names in the file"
    digest = f", SHA-256 {model.sha256[:12]}" if model.sha256 else ""
    yield from remark(f"{model.architecture}, {model.num_classes} classes ({names}), head {model.head}{digest}")
    p = model.preprocessing
    if p is not None:
        numbers = f"resize {p.resize}, crop {p.crop}, {p.interpolation}, mean {list(p.mean)}, std {list(p.std)}"
        yield from remark(f"Preprocessing: {numbers}, from: {p.origin}")


def _not_given(role: str) -> Iterator[str]:
    """A line for what was not named, with what it would be good for."""
    why, example = _MISSING[role]
    yield from remark(why)
    yield f"# {setting(role, example)}"


def _left(options: type[Any], given: Any, **examples: Any) -> Iterator[str]:
    """Offer what was not given."""
    yield from offered(options, **{key: one for key, one in examples.items() if getattr(given, key) is None})


def _data(data: DataOptions, found: Surroundings, folder: Path) -> Iterator[str]:
    yield "[data]"
    for role in ("source", "target", "val"):
        path = getattr(data, role)
        if path is None:
            yield from _not_given(role)
            continue
        yield from remark(" ".join(found.images[role]))
        yield setting(role, place(path, folder))
    if data.class_map is not None:
        yield setting("class_map", place(data.class_map, folder))
    yield from _left(DataOptions, data, class_map="classes.csv")
    yield from offered(DataOptions, "strict", limit=500)


def _preprocess(found: Surroundings) -> Iterator[str]:
    yield from remark(
        "How pictures become inputs of all networks. It is known from the files as said above; say it here where "
        "the networks were trained with something else. [preprocess.finetuned] and so on hold for one of them."
    )
    known = found.networks["finetuned"].preprocessing
    yield "[preprocess]"
    numbers = {key: getattr(known, key) for key in ("resize", "crop", "interpolation", "mean", "std")}
    yield from offered(PreprocessOptions, **numbers)


def _execution() -> Iterator[str]:
    yield from remark("How the work is done. The same seed and precision give the same numbers.")
    yield "[execution]"
    yield from offered(ExecutionOptions, "device", "precision", "batch_size", "seed", workers=2)


def _audit(found: Surroundings) -> Iterator[str]:
    yield "[audit]"
    everything = AuditOptions.model_fields["checks"].description or ""
    yield from remark(f"Checks an audit is made of: {everything}")
    whole = ("lingering", "distraction", "erosion")
    if found.checks == whole or not found.checks:
        yield f"# {setting('checks', whole)}"
        return
    reason = "there are no target images yet" if found.alike else "the networks have different backbones"
    yield from remark(f"Not all of them, since {reason}. What a rule below asks of the others is no answer.")
    yield setting("checks", found.checks)


def _lingering(found: Surroundings) -> Iterator[str]:
    yield from remark(
        "Which source classes the finetuned network still recognises although the target images never show them."
    )
    yield "[lingering]"
    chance = 1 / found.networks["source"].num_classes
    yield from offered(LingeringOptions, "k", v_lo=0.01, p_lo=min(0.5, 10 * chance))


def _distraction(found: Surroundings) -> Iterator[str]:
    yield from remark(
        "Whether such classes get between the network and the right answer: target images are pasted on pictures of "
        "them, and it is seen where the networks look and what they answer."
    )
    yield "[distraction]"
    usual = DistractionOptions()
    most = found.source_classes * usual.per_class
    classes = min(found.source_classes, CLASSES)
    if most > COMPOSITES:
        each = max(FEWEST, COMPOSITES // classes)
        yield from remark(
            f"The paper makes {usual.per_class} composites of every class that lingers, here up to {most}, which wants "
            f"an accelerator. With these settings there are up to {each * classes}, of the classes that are recognised "
            "best, which takes a small network minutes on a CPU (SqueezeNet 1.1: 4 minutes of processor time for a "
            "whole audit with 1000). Fewer make wider intervals; leave the settings out for the paper's."
        )
        if each < _asked():
            yield from remark(
                f"The rule on {_RATE} below gives no answer for fewer than {_asked()} composites in all: if it turns "
                "out that only one or two classes linger, raise per_class."
            )
        yield setting("per_class", each)
        if classes < found.source_classes:
            yield setting("max_classes", classes)
            yield from offered(DistractionOptions, "class_choice")
    else:
        yield from offered(DistractionOptions, "per_class")
    yield from offered(DistractionOptions, "common_classes", "overlay_scale", save_rows="composites.csv")


def _asked() -> int:
    """Composites that the default policy wants."""
    rules = tomllib.loads(default_policy())["policy"]["rules"]
    return next(int(rule["min_samples"]) for rule in rules if rule["metric"] == _RATE)


def _erosion() -> Iterator[str]:
    yield from remark("How far finetuning moved the features, and what was lost with them.")
    yield "[erosion]"
    yield from offered(ErosionOptions, "probe", "full_matrix", data="other-images")


def _stress() -> Iterator[str]:
    yield from remark(
        "How easily a shortcut in the data would destroy what the source network knows: it is trained again with "
        "coloured squares on more and more images. With this section it is part of the audit; it takes a training "
        "for each ratio, and a GPU if the images are many. The line [stress] has to be put to use too."
    )
    yield "# [stress]"
    yield from offered(StressOptions, "ratios", "square", runs="stress-runs")


def _policy() -> Iterable[str]:
    yield from remark(
        "When tlaudit gate refuses the checkpoint: these rules are the default, written out so that they can be "
        "changed. A number that a rule asks for and that was not measured is no answer, never a pass. "
        "tlaudit gate --explain METRIC says what a rule demands, in plain words."
    )
    yield ""
    yield _rules(default_policy())


def _rules(policy: str) -> str:
    """The rules of a policy without what its file says in front of them of itself."""
    front, _, rest = policy.strip().partition("\n\n")
    return rest if rest and all(line.startswith("#") for line in front.splitlines()) else policy.strip()
