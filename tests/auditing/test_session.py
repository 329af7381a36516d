"""An audit against the single checks: the same bits, less work, and no check that stops another."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import tiny
from tlaudit import AuditReport, audit, distraction, erosion, lingering, load_pair, stress
from tlaudit.auditing import session
from tlaudit.checks import CHECKS
from tlaudit.config import settle
from tlaudit.data import decoding
from tlaudit.data.kept_pixels import KeptPixels
from tlaudit.documents import read_report
from tlaudit.errors import ClassMatchError, DataError, MismatchError, UsageError
from tlaudit.metrics.distraction import QUANTITIES as OF_DISTRACTION
from tlaudit.metrics.lingering import QUANTITIES as OF_LINGERING
from tlaudit.reports import AUDIT_FORMATS, FORMATS

SIDE, CLASSES, PER_CLASS = 16, 5, 9
ARCH = f"{__file__}:Counted"
STAGES = ("stem", "blocks.0", "blocks.1")
EXECUTION = {"device": "cpu", "workers": 0, "batch_size": 8}
PREPROCESS = {
    "resize": SIDE,
    "crop": SIDE,
    "mean": (0.5, 0.5, 0.5),
    "std": (0.25, 0.25, 0.25),
    "baseline": {"std": (0.3, 0.3, 0.3)},
    "finetuned": {"resize": SIDE + 2},
}
OPTIONS = {
    "lingering": {"k": 1, "v_lo": 1.0, "p_lo": 0.01, "bootstrap": 100},
    "distraction": {"per_class": 3, "overlays": 6, "layer": "blocks.1", "bootstrap": 100},
    "erosion": {"stages": STAGES, "bootstrap": 100},
    "stress": {"stages": STAGES, "ratios": (0, 1), "bootstrap": 100, "training": {"epochs": 1, "batch_size": 8}},
}


class Counted(tiny.Own):
    """A small network that notes which weights saw how many images."""

    seen: list[tuple[float, float, int]] = []  # noqa: RUF012 - one list for all copies of the networks

    def forward(self, x):
        self.seen.append((*self.named(), len(x)))
        return super().forward(x)

    def named(self):
        return float(self.stem[0].bias[0].detach()), float(self.fc.bias[0].detach())


class Wide(nn.Module):
    """A network with another backbone."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 9, 3)
        self.fc = nn.Linear(9, num_classes)

    def forward(self, x):
        return self.fc(self.stem(x).relu().mean(dim=(2, 3)))


def counted(num_classes, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return tiny.stirred(Counted(num_classes))


def paint(folder, classes, per_class, seed):
    rng = np.random.default_rng(seed)
    for index in range(classes):
        (folder / str(index)).mkdir(parents=True)
        for number in range(per_class):
            pixels = rng.integers(0, 256, (SIDE + 4, SIDE + 6, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / str(index) / f"{number}.png")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("audit")
    for name, classes, seed in (("source", CLASSES, 1), ("finetuned", 2, 2), ("baseline", 2, 3)):
        tiny.saved(root / f"{name}.pth", counted(classes, seed))
    torch.manual_seed(4)
    tiny.saved(root / "wide.pth", Wide(2))
    paint(root / "images", CLASSES, PER_CLASS, 0)
    paint(root / "target", 2, 7, 1)
    paint(root / "val", 2, 5, 2)
    paint(root / "others", 3, 4, 3)
    return root


@pytest.fixture(scope="module")
def pair(world):
    paths = [str(world / f"{name}.pth") for name in ("source", "finetuned", "baseline")]
    return load_pair(*paths, arch=ARCH)


@pytest.fixture(autouse=True)
def logs(tmp_path_factory, monkeypatch):
    """Where tracebacks go."""
    folder = tmp_path_factory.mktemp("logs")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def given(**changes):
    """Options of all checks, some of them changed."""
    return {name: options | changes.get(name, {}) for name, options in OPTIONS.items()}


def run(pair, world, *, share=True, checks=None, val=True, execution=None, **changes):
    data = {"source": world / "images", "target": world / "target"} | ({"val": world / "val"} if val else {})
    sections = {"data": data, "preprocess": PREPROCESS, "execution": EXECUTION | (execution or {})}
    sections |= {"audit": {"checks": checks}} | given(**changes)
    return session.run_audit(pair, settle(sections), share=share)


def told(result):
    """Everything that no clock touches."""
    document = json.loads(result.to_json())
    del document["run"]
    return document


@pytest.fixture(scope="module")
def report(pair, world):
    return run(pair, world)


@pytest.fixture(scope="module")
def alone(pair, world):
    """The same checks, each by its own function."""
    options = OPTIONS
    shared = {"preprocess": PREPROCESS, "execution": EXECUTION}
    images, target, val = world / "images", world / "target", world / "val"
    found = {"lingering": lingering(pair, images, target, val, **shared, **options["lingering"])}
    # The command looks at validation images for `lingering` alone, and says of all it read what it found.
    found["distraction"] = distraction(
        pair, images, target, lingering=found["lingering"], **shared, **options["distraction"]
    )
    found["erosion"] = erosion(pair, source_data=images, **shared, **options["erosion"])
    found["stress"] = stress(pair.source, images, **shared, **options["stress"])
    return found


@pytest.mark.parametrize("check", ["lingering", "erosion", "stress"])
def test_every_number_is_that_of_the_single_check(report, alone, check):
    assert told(report[check]) == told(alone[check])
    assert any(measurement.value is not None for measurement in report[check].measurements)


def test_the_same_composites_distract(report, alone):
    ours, theirs = told(report["distraction"]), told(alone["distraction"])
    # The function is given no validation images, whose folders the command notes.
    extra = [one for one in ours["findings"] if one not in theirs["findings"]]
    assert {one["code"] for one in extra} <= {"classes.target_assumed"}
    assert {**ours, "findings": theirs["findings"]} == theirs
    assert report["distraction"]["distraction.composites"].value == 3 * report["lingering"]["lingering.count"].value


def test_sharing_changes_no_bit(pair, world, report):
    apart = run(pair, world, share=False)
    assert [told(one) for one in apart.checks] == [told(one) for one in report.checks]


def test_without_a_baseline(pair, world):
    source, finetuned = world / "source.pth", world / "finetuned.pth"
    lone = load_pair(str(source), str(finetuned), arch=ARCH)
    checks, probe = ("lingering", "erosion"), {"probe": True}
    both = [run(lone, world, share=share, checks=checks, erosion=probe) for share in (True, False)]
    assert [told(one) for one in both[0].checks] == [told(one) for one in both[1].checks]
    assert both[0]["lingering"]["control.lingering_count"].absent


def counting(monkeypatch):
    """Count how often each file is decoded."""
    decoded: dict[str, int] = {}
    original = decoding._decode_into

    def count(data, file, geometries, rows):
        decoded[file] = decoded.get(file, 0) + 1
        return original(data, file, geometries, rows)

    monkeypatch.setattr(decoding, "_decode_into", count)
    return decoded


def noted(pair, monkeypatch):
    """What networks see from now on; the class was loaded from this file a second time."""
    seen: list[tuple[float, float, int]] = []
    monkeypatch.setattr(type(pair.source.module), "seen", seen)
    return seen


def test_each_file_is_decoded_once(pair, world, monkeypatch):
    decoded = counting(monkeypatch)
    run(pair, world, erosion={"data": world / "target"})
    files = {str(path) for name in ("images", "target", "val") for path in (world / name).rglob("*.png")}
    assert decoded == dict.fromkeys(files, 1)


def test_what_does_not_fit_is_decoded_again(pair, world, report, monkeypatch):
    decoded = counting(monkeypatch)
    monkeypatch.setattr(session, "KeptPixels", lambda: KeptPixels(budget=10 * 3 * SIDE * SIDE))
    small = run(pair, world, checks=("lingering", "distraction", "erosion"))
    assert [told(one) for one in small.checks] == [told(one) for one in report.checks[:3]]
    assert max(decoded.values()) > 1
    assert sum(count == 1 for count in decoded.values()) >= 10


def test_source_predictions_are_made_once(pair, world, monkeypatch):
    seen = noted(pair, monkeypatch)
    run(pair, world, checks=("lingering", "erosion"))
    source, hybrid = pair.source.module.named(), pair.hybrid().named()
    control = pair.control_hybrid().named()
    images, target = CLASSES * PER_CLASS, 14
    # Batches of two are noise on which layers are tried.
    counts = {key: sum(n for *k, n in seen if tuple(k) == key and n != 2) for key in (source, hybrid, control)}
    assert counts == {source: images + target, hybrid: images, control: images}
    assert not [n for *k, n in seen if tuple(k) == pair.baseline.module.named() and n not in {2, 8}]


def test_erosion_on_other_images_shares_what_the_source_knows(pair, world, monkeypatch):
    seen = noted(pair, monkeypatch)
    shared = run(pair, world, checks=("lingering", "erosion"), erosion={"data": world / "others"})
    hybrid = sum(n for *k, n in seen if tuple(k) == pair.hybrid().named())
    assert hybrid == CLASSES * PER_CLASS + 12, "source images once, the others once"
    options = OPTIONS["erosion"] | {"data": world / "others"}
    single = erosion(pair, source_data=world / "images", preprocess=PREPROCESS, execution=EXECUTION, **options)
    assert told(shared["erosion"]) == told(single)


def test_a_shared_pass_that_fails_leaves_each_check_its_own(pair, world, report, monkeypatch):
    def broken(*_, **__):
        raise DataError("no")

    monkeypatch.setattr(session, "survey", broken)
    found = run(pair, world, checks=("lingering", "erosion"))
    assert [told(one) for one in found.checks] == [told(report["lingering"]), told(report["erosion"])]


def test_a_network_that_gives_no_number_fails_alone(world, tmp_path):
    """Its weights are finite, its answers are not: nothing can be recognised, features can still be compared."""
    net = counted(2, 2)
    with torch.no_grad():
        net.blocks[1].weight.fill_(3e38)
        net.blocks[1].bias.fill_(3e38)
    tiny.saved(tmp_path / "huge.pth", net)
    pair = load_pair(str(world / "source.pth"), str(tmp_path / "huge.pth"), arch=ARCH)
    found = run(pair, world, checks=("lingering", "erosion"))
    assert "gives no number" in found["lingering"].failure
    assert found["erosion"].failure is None
    assert found["erosion"]["erosion.cka.stem"].value is not None


def crash(*_, **__):
    raise RuntimeError("boom\nat night")


def test_a_crash_stops_no_other_check(pair, world, report, monkeypatch, caplog, logs):
    monkeypatch.setattr(type(CHECKS["lingering"]), "run", crash)
    found = run(pair, world)
    assert found["lingering"].failure == "crashed: RuntimeError: boom at night"
    assert found["distraction"].failure == f"needs the result of lingering, which failed: {found['lingering'].failure}"
    assert told(found["erosion"]) == told(report["erosion"])
    assert told(found["stress"]) == told(report["stress"])
    assert "ingering and distraction could not be made" in found.summary
    written = list(logs.glob("tlaudit-crash-*.log"))
    assert len(written) == 1, "a check that only waited for another has not crashed"
    assert "in crash" in written[0].read_text()
    assert str(written[0]) in caplog.text
    assert str(written[0]) not in found.to_json()


@pytest.mark.parametrize(
    ("check", "names"),
    [
        ("lingering", set(OF_LINGERING)),
        ("distraction", set(OF_DISTRACTION)),
        ("erosion", None),
        ("stress", None),
    ],
)
def test_a_failed_check_names_all_that_it_would_have_measured(pair, world, report, monkeypatch, check, names):
    monkeypatch.setattr(type(CHECKS[check]), "run", crash)
    failed = run(pair, world, checks=(check,))[check]
    assert [one.name for one in failed.measurements] == [one.name for one in report[check].measurements]
    assert names is None or {one.name for one in failed.measurements} == names
    assert all("boom" in one.absent for one in failed.measurements)
    assert failed.verdict == "open"
    assert failed.headline == report[check].headline
    assert failed.provenance.models == report[check].provenance.models
    for name, form in FORMATS.items():
        text = form.render(failed, 5)
        assert "boom" in text or name == "csv"


def test_a_failed_check_can_be_read_and_shown(pair, world, monkeypatch, tmp_path):
    monkeypatch.setattr(type(CHECKS["erosion"]), "run", crash)
    found = run(pair, world, checks=("lingering", "erosion"))
    (tmp_path / "audit.json").write_text(found.to_json(), encoding="utf-8")
    assert read_report(tmp_path / "audit.json").results == found.checks
    for form in AUDIT_FORMATS.values():
        assert "boom" in form.render(found, 5) or "could not be made" in form.render(found, 5) or form.suffix == ".csv"


def test_an_option_that_cannot_be_met_fails_its_check_before_any_image_is_read(pair, world, monkeypatch):
    decoded = counting(monkeypatch)
    found = run(pair, world, checks=("distraction",), distraction={"layer": "blocks.7"})
    assert "blocks.7" in found["distraction"].failure
    assert not decoded


def test_an_interruption_ends_the_audit(pair, world, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(CHECKS["erosion"]), "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(pair, world, checks=("erosion",))


def test_code_that_ends_the_program_ends_its_check_only(pair, world, report, monkeypatch, logs):
    def ended(*_, **__):
        raise SystemExit(0)

    monkeypatch.setattr(type(CHECKS["erosion"]), "run", ended)
    found = run(pair, world, checks=("lingering", "erosion"))
    assert found["erosion"].failure == "code of the model's own ended the program (exit code 0)"
    assert told(found["lingering"]) == told(report["lingering"])
    assert not list(logs.iterdir())


def test_a_traceback_that_cannot_be_kept_takes_nothing_with_it(pair, world, report, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    monkeypatch.setattr(type(CHECKS["erosion"]), "run", crash)
    found = run(pair, world, checks=("lingering", "erosion"))
    assert found["erosion"].failure == "crashed: RuntimeError: boom at night"
    assert told(found["lingering"]) == told(report["lingering"])
    assert "boom at night" in caplog.text
    assert "details" not in caplog.text


def test_a_check_that_cannot_even_name_its_measurements_fails_alone(pair, world, report, monkeypatch):
    monkeypatch.setattr(type(CHECKS["erosion"]), "run", crash)
    monkeypatch.setattr(type(CHECKS["erosion"]), "quantities", crash)
    found = run(pair, world, checks=("lingering", "erosion"))
    assert "boom" in found["erosion"].failure
    assert found["erosion"].measurements == ()
    assert told(found["lingering"]) == told(report["lingering"])
    for form in AUDIT_FORMATS.values():
        assert form.render(found, 5)


def test_networks_of_two_backbones(world):
    pair = load_pair(
        str(world / "source.pth"),
        str(world / "wide.pth"),
        arch=f"{__file__}:Wide",
        source_arch=ARCH,
        alike=False,
    )
    found = run(pair, world, checks=("lingering", "distraction", "erosion"), erosion={"stages": ("stem",)})
    for name in ("lingering", "distraction"):
        assert f"the two networks have different backbones, so that {name}, " in found[name].failure
        assert 'checks = ["erosion"] in [audit] leaves it out' in found[name].failure
        assert "the backbones of" in found[name].failure.lower()
        assert "--head" not in found[name].failure
    assert found["erosion"].failure is None
    assert found["erosion"].tables["cka_matrix"].rows


def test_checks_that_are_not_asked_for(pair, world, report):
    assert report.left_out == {}
    data = {"source": world / "images", "target": world / "target"}
    plain = audit(pair, *data.values(), preprocess=PREPROCESS, execution=EXECUTION, lingering=OPTIONS["lingering"])
    assert [one.check for one in plain.checks] == ["lingering", "distraction", "erosion"]
    assert "[stress]" in plain.left_out["stress"]
    assert all(one.failure is None for one in plain.checks)
    only = run(pair, world, checks=("stress", "erosion"))
    assert [one.check for one in only.checks] == ["erosion", "stress"]
    assert only.left_out.keys() == {"lingering", "distraction"}


def test_distraction_makes_the_lingering_it_needs(pair, world, report):
    found = run(pair, world, checks=("distraction",))
    assert [one.check for one in found.checks] == ["distraction"]
    assert told(found["distraction"]) == told(report["distraction"])


def test_distraction_takes_an_earlier_result(pair, world, report, tmp_path, monkeypatch):
    earlier = tmp_path / "lingering.json"
    earlier.write_text(report["lingering"].to_json(), encoding="utf-8")
    with monkeypatch.context() as patched:
        patched.setattr(type(CHECKS["lingering"]), "run", crash)
        found = run(pair, world, checks=("distraction",), distraction={"lingering": earlier})
    assert told(found["distraction"])["measurements"] == told(report["distraction"])["measurements"]
    both = run(pair, world, checks=("lingering", "distraction"), distraction={"lingering": earlier})
    assert told(both["lingering"]) == told(report["lingering"]), "what the audit says of lingering it has measured"
    (tmp_path / "lingering.json").write_text("{}")
    broken = run(pair, world, checks=("lingering", "distraction"), distraction={"lingering": earlier})
    assert "lingering.json" in broken["distraction"].failure
    assert broken["lingering"].failure is None


def test_files_of_distraction(pair, world, tmp_path):
    places = {"save_composites": tmp_path / "composites", "save_rows": tmp_path / "rows.csv"}
    run(pair, world, checks=("distraction",), distraction=places)
    assert (tmp_path / "composites" / "composites.csv").is_file()
    assert (tmp_path / "rows.csv").read_text().count("\n") > 3


def test_skipped_files_are_the_same(pair, world, tmp_path):
    shutil.copytree(world / "images", tmp_path / "images")
    shutil.copytree(world / "target", tmp_path / "target")
    (tmp_path / "images" / "0" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (tmp_path / "target" / "1" / "2.png").write_bytes(b"")
    checks = ("lingering", "distraction", "erosion")
    both = [run(pair, tmp_path, val=False, share=share, checks=checks) for share in (True, False)]
    assert [told(one) for one in both[0].checks] == [told(one) for one in both[1].checks]
    assert both[0]["lingering"].provenance.data["source"].skipped


@pytest.mark.parametrize(
    ("data", "sections", "message"),
    [
        (
            {},
            {},
            "missing: --source-data, --target-data .* --source-data for lingering, distraction, erosion; --target",
        ),
        ({"source": "images"}, {}, "missing: --target-data .* for lingering, distraction; checks of"),
        ({"source": "images"}, {"audit": {"checks": ("lingering",)}}, "--target-data for lingering"),
        ({"target": "target"}, {"erosion": {"data": "others"}, "stress": {}}, "for lingering, distraction, stress;"),
    ],
)
def test_refuses_missing_images(pair, world, data, sections, message):
    sections = {**sections, "data": {key: world / name for key, name in data.items()}}
    with pytest.raises(UsageError, match=message):
        session.run_audit(pair, settle(sections))


def test_erosion_on_images_of_its_own_needs_no_others(pair, world):
    options = OPTIONS["erosion"] | {"data": world / "others"}
    found = audit(pair, checks=("erosion",), erosion=options, preprocess=PREPROCESS, execution=EXECUTION)
    assert found["erosion"].failure is None


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("data", "source"),
        ("data", "target"),
        ("data", "val"),
        ("data", "class_map"),
        ("erosion", "data"),
        ("stress", "test"),
        ("distraction", "lingering"),
    ],
)
def test_refuses_before_the_work_what_is_not_there(pair, world, tmp_path, monkeypatch, section, key):
    monkeypatch.setattr(session, "subjects", crash)
    sections = {"data": {"source": world / "images", "target": world / "target"}, **given()}
    sections[section] = sections[section] | {key: tmp_path / "not there"}
    with pytest.raises(UsageError, match=f"{key} of .{section}.*not there: expected .* got nothing of that name"):
        session.run_audit(pair, settle(sections))


def test_what_no_check_looks_at_need_not_be_there(pair, world, tmp_path):
    data = {"source": world / "images", "target": tmp_path / "gone", "val": tmp_path / "gone"}
    sections = {"data": data, "preprocess": PREPROCESS, "execution": EXECUTION, "audit": {"checks": ("erosion",)}}
    found = session.run_audit(pair, settle(sections | given()))
    assert found["erosion"].failure is None


@pytest.mark.parametrize(
    ("role", "failed"),
    [
        ("val", {"lingering"}),
        ("target", {"lingering", "distraction"}),
        ("source", {"lingering", "distraction", "erosion", "stress"}),
    ],
)
@pytest.mark.parametrize("what", ["nothing", "no picture"])
def test_images_that_are_none_fail_the_checks_that_look_at_them(pair, world, report, tmp_path, role, failed, what):
    folders = {"source": "images", "target": "target", "val": "val"}
    shutil.copytree(world, tmp_path / "world")
    for path in (tmp_path / "world" / folders[role]).rglob("*.png"):
        path.unlink() if what == "nothing" else path.write_bytes(b"no picture")
    shutil.rmtree(tmp_path / "world" / "val") if role != "val" else None
    found = run(pair, tmp_path / "world", val=role == "val")
    assert {one.check for one in found.checks if one.failure} == failed
    for name in {"distraction", "erosion", "stress"} - failed:
        assert told(found[name])["measurements"] == told(report[name])["measurements"]
    for name in failed:
        assert {one.name for one in found[name].measurements} == {one.name for one in report[name].measurements}


def test_folders_of_test_images_that_fit_no_class_are_refused(pair, world, tmp_path, caplog):
    paint(tmp_path / "test", 2, 3, 5)
    (tmp_path / "test" / "1").rename(tmp_path / "test" / "unknown")
    with pytest.raises(ClassMatchError, match="unknown"):
        run(pair, world, stress={"test": tmp_path / "test"}, distraction={"layer": "nowhere"})
    assert "could not be made" not in caplog.text
    (tmp_path / "test" / "unknown" / "0.png").rename(tmp_path / "test" / "0.png")
    with pytest.raises(ClassMatchError, match="a folder for each class"):
        run(pair, world, stress={"test": tmp_path / "test"})


def test_a_baseline_of_another_backbone_is_refused(world):
    paths = [str(world / f"{name}.pth") for name in ("source", "finetuned", "wide")]
    pair = load_pair(*paths, arch=ARCH, baseline_arch=f"{__file__}:Wide", alike=False)
    with pytest.raises(MismatchError, match=r"the backbones of .*source.pth.* and .*wide.pth.* do not match"):
        run(pair, world)
    found = run(pair, world, checks=("erosion",))
    assert found["erosion"].failure is None
    data = {"source_data": world / "images", "target_data": world / "target"}
    alone = lingering(pair, **data, preprocess=PREPROCESS, execution=EXECUTION, **OPTIONS["lingering"])
    assert "the baseline is left out: the backbones of" in alone["control.lingering_count"].absent
    assert "no baseline was given" not in alone.to_json()
    pasted = distraction(pair, **data, lingering=alone, preprocess=PREPROCESS, execution=EXECUTION)
    assert "the baseline is left out: the backbones of" in pasted["distraction.baseline_mean"].absent
    assert "no baseline was given" not in pasted.to_json()


def test_the_same_warning_is_given_once(pair, world, tmp_path, caplog):
    shutil.copytree(world / "images", tmp_path / "images")
    shutil.copytree(world / "target", tmp_path / "target")
    for folder in ("images", "target"):
        (tmp_path / folder / "0" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    for index in range(CLASSES):
        (tmp_path / "images" / str(index)).rename(tmp_path / "images" / f"class {index}")
    (tmp_path / "target" / "0").rename(tmp_path / "target" / "class 0")
    for share in (True, False):
        caplog.clear()
        run(pair, tmp_path, val=False, share=share)
        assert caplog.text.count("are taken for the classes in sorted order") == 1
        # One of the source images, one of the target images.
        assert caplog.text.count("skipped class 0/3.png") == 2
    caplog.clear()
    for _ in range(2):
        shared = {"preprocess": PREPROCESS, "execution": EXECUTION}
        lingering(pair, tmp_path / "images", tmp_path / "target", **shared, **OPTIONS["lingering"])
    assert caplog.text.count("skipped class 0/3.png") == 4, "only an audit says it once"


def test_features_of_the_shared_pass_are_let_go(pair, world, monkeypatch):
    kept = []
    original = type(CHECKS["distraction"]).run

    def watched(self, subject, options):
        kept.append(subject.survey)
        return original(self, subject, options)

    monkeypatch.setattr(type(CHECKS["distraction"]), "run", watched)
    run(pair, world, erosion={"probe": True})
    assert len(kept) == 1
    assert kept[0].recognition is not None
    assert kept[0].compared is None


def test_classes_of_validation_images_are_recorded(report, pair, world):
    labels = report["lingering"].provenance.data["val"].labels
    assert len(labels) == 64
    assert labels != report["lingering"].provenance.data["source"].labels


def test_leaves_the_networks_as_they_were(pair, world):
    before = {name: value.clone() for name, value in pair.finetuned.module.state_dict().items()}
    random = torch.get_rng_state()
    run(pair, world, checks=("lingering", "distraction", "erosion"))
    assert all(value.equal(before[name]) for name, value in pair.finetuned.module.state_dict().items())
    assert not any(module._forward_hooks for net in (pair.source, pair.finetuned) for module in net.module.modules())
    assert torch.get_rng_state().equal(random)


def test_is_a_document(report):
    assert AuditReport.model_validate_json(report.to_json()) == report
    assert report.document == "audit"
    assert report.subject.endswith("finetuned.pth")


def test_only_files_that_several_passes_read_are_planned(pair, world, monkeypatch):
    plans = []
    monkeypatch.setattr(KeptPixels, "plan", lambda _, passes: plans.append([list(files) for files, _ in passes]))
    run(pair, world, checks=("erosion",))
    run(pair, world, checks=("lingering", "erosion"))
    run(pair, world, checks=("lingering", "distraction"), val=False)
    assert [len(one) for one in plans] == [0, 0, 4]
    assert {name for files in plans[2] for name in files} == {
        str(path) for folder in ("images", "target") for path in (world / folder).rglob("*.png")
    }
