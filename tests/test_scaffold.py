"""A first configuration file: it loads whatever things are called, and says what was found."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import planted
from samples import HOSTILE_NAMES
from tlaudit.config import load_settings, settle
from tlaudit.errors import UsageError
from tlaudit.models.pair import load_pair
from tlaudit.quoting import quoted, spelt
from tlaudit.scaffold import compose, look_around, next_steps
from tlaudit.scaffold.places import factory_place, model_place, place
from tlaudit.scaffold.settings_file import CLASSES, COMPOSITES, FEWEST, default_policy
from tlaudit.scaffold.toml import offered, remark, setting, value

ODD = 'a "b" \\c\x7f\n#ü\u202e\U0001f600 [models]\t=\x01'
TEXTS = (*HOSTILE_NAMES, ODD, "", '"""', "\\", "\x85\u2028\ufeff", "".join(map(chr, range(0x300))))


@pytest.mark.parametrize("text", TEXTS)
def test_quoted_text_is_read_back_by_toml_and_by_yaml(text):
    assert tomllib.loads(f"x = {quoted(text)}") == {"x": text}
    assert yaml.safe_load(f"x: {quoted(text)}") == {"x": text}
    assert "\n" not in quoted(text)
    assert quoted(text).isprintable()


@pytest.mark.parametrize("text", TEXTS)
def test_a_remark_stays_a_remark(text):
    lines = list(remark(f"Note: {text}"))
    assert all(line.startswith("# ") and line.isprintable() for line in lines)
    assert tomllib.loads("\n".join(lines)) == {}
    assert " ".join(line.removeprefix("# ") for line in lines).split() == spelt(f"Note: {text}").split()


@pytest.mark.parametrize("given", [True, False, 3, 0.25, 1e-5, "a", ODD, ["a", "b"], (0.0, 1.0), []])
def test_a_value_is_read_back(given):
    assert tomllib.loads(setting("x", given)) == {"x": list(given) if isinstance(given, tuple) else given}


def test_a_path_is_a_string():
    assert tomllib.loads(f"x = {value(Path('a/b'))}") == {"x": "a/b"}


def test_offered_settings_are_remarks_with_default_and_meaning():
    from tlaudit.options import LingeringOptions

    first, second = offered(LingeringOptions, "k", p_lo=0.2)
    assert first.startswith("# k = 5 ")
    assert LingeringOptions.model_fields["k"].description in first
    assert second.startswith("# p_lo = 0.2 ")


class TestPlaces:
    @pytest.fixture(autouse=True)
    def here(self, tmp_path, monkeypatch):
        (tmp_path / "project" / "data").mkdir(parents=True)
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "project" / "net.pth").touch()
        (tmp_path / "project" / "od:d.pth").touch()
        (tmp_path / "project" / "mine.py").touch()
        monkeypatch.chdir(tmp_path / "project")

    def test_what_lies_below_is_relative_and_what_was_named_in_full_elsewhere_stays_so(self, tmp_path):
        assert place("data", Path()) == "data"
        assert place(tmp_path / "project" / "data", Path()) == "data"
        assert place(tmp_path / "elsewhere", Path()) == str(tmp_path / "elsewhere")
        assert place("../elsewhere", Path()) == "../elsewhere"
        assert place("data", Path("conf")) == "../data"

    def test_a_link_that_leads_away_makes_the_path_absolute(self, tmp_path):
        (tmp_path / "elsewhere" / "deep" / "deeper").mkdir(parents=True)
        (tmp_path / "project" / "linked").symlink_to(tmp_path / "elsewhere" / "deep" / "deeper")
        assert place("data", Path("linked")) == str(tmp_path / "project" / "data")

    def test_a_name_of_a_network_stays_a_name(self):
        assert model_place("torchvision:resnet18", Path()) == "torchvision:resnet18"
        assert model_place("net.pth", Path("conf")) == "../net.pth"

    def test_a_file_with_a_colon_is_named_in_full(self, tmp_path):
        spec = model_place("od:d.pth", Path())
        assert spec == str(tmp_path / "project" / "od:d.pth")
        Path("tlaudit.toml").write_text(f"[models]\n{setting('source', spec)}\n")
        assert load_settings({}).models.source == spec

    def test_a_factory_is_found_from_the_file(self):
        assert factory_place("mine.py:net", Path("conf")) == "../mine.py:net"
        assert factory_place("package.module:net", Path("conf")) == "package.module:net"
        assert factory_place("resnet18", Path("conf")) == "resnet18"

    def test_refuses_bytes_that_are_no_text(self):
        with pytest.raises(UsageError, match="bytes that are none"):
            place("caf\udce9", Path())


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return planted.build(tmp_path_factory.mktemp("world"))


def written(world, file, without=(), **models):
    """What `tlaudit init` writes about the planted world."""
    named = {name: str(path) for name, path in world.items() if name not in without}
    sections = {
        "models": {role: named[role] for role in ("source", "finetuned", "baseline") if role in named} | models,
        "data": {key: named[f"{key}_data"] for key in ("source", "target", "val") if f"{key}_data" in named},
    }
    settings = settle({**sections, "models": {**sections["models"], "arch": planted.ARCH, **models}})
    m = settings.models
    found = look_around(load_pair(m.source, m.finetuned, m.baseline, arch=m.arch, alike=False), settings.data)
    return compose(settings, found, file), settings


def put_to_use(text):
    """The file with every setting in it that is commented out."""
    return re.sub(r"^# (?=\[\w+\]$|\w+ = )", "", text, flags=re.MULTILINE)


def test_what_was_given_is_read_back(world, tmp_path):
    file = tmp_path / "tlaudit.toml"
    text, given = written(world, file, without=("val_data",))
    file.write_text(text, encoding="utf-8")
    loaded = load_settings({}, file)
    assert loaded.models == given.models
    assert loaded.data == given.data
    assert loaded.stress == given.stress
    assert "stress" not in loaded.model_fields_set


@pytest.mark.parametrize(
    "without", [(), ("baseline", "source_data", "target_data", "val_data"), ("target_data",)], ids=str
)
def test_every_offered_setting_is_one(world, tmp_path, without):
    file = tmp_path / "tlaudit.toml"
    text, _ = written(world, file, without)
    used = put_to_use(text)
    assert used.count("\n# ") < text.count("\n# ") - 20
    file.write_text(used, encoding="utf-8")
    loaded = load_settings({}, file)
    assert loaded.model_fields_set >= {"models", "data", "preprocess", "execution", "audit", "stress", "policy"}
    assert loaded.stress.model_fields_set == {"ratios", "square", "runs"}
    assert loaded.models.baseline is not None
    assert {role for role in ("source", "target", "val") if getattr(loaded.data, role)} == {"source", "target", "val"}


def test_says_what_was_found(world, tmp_path):
    import hashlib

    text, _ = written(world, tmp_path / "tlaudit.toml")
    assert hashlib.sha256(world["finetuned"].read_bytes()).hexdigest()[:12] in text
    assert "12 classes (no names in the file), head head" in text
    assert "2 classes (no names in the file), head head" in text
    assert "from: ImageNet's default" in text
    assert "72 images in 12 class folders. 12 of 12 source classes have images." in text
    assert "network's outputs: 0 colour0, 1 colour1." in " ".join(text.replace("\n# ", " ").split())
    partly = written({**world, "source_data": _some_classes(world, tmp_path)}, tmp_path / "tlaudit.toml")[0]
    assert "5 of 12 source classes have images." in partly


def _some_classes(world, folder):
    for name in ("1", "3", "4", "5", "7"):
        target = folder / "few" / name
        target.parent.mkdir(exist_ok=True)
        target.symlink_to(world["source_data"] / name)
    return folder / "few"


def test_warnings_about_the_pair_are_remarks(world, tmp_path):
    text, _ = written({**world, "finetuned": world["source"]}, tmp_path / "tlaudit.toml", without=("val_data",))
    notes = [line for line in text.splitlines() if line.startswith("# Note: ")]
    assert any("finetuned" in note for note in notes)


def test_only_checks_that_can_be_made_are_asked_for(world, tmp_path):
    def checks(without):
        return tomllib.loads(written(world, tmp_path / "tlaudit.toml", without)[0])["audit"].get("checks")

    assert checks(()) is None
    assert checks(("target_data",)) == ["erosion"]
    assert checks(("source_data",)) is None
    assert look_around(load_pair(*_networks(world), arch=planted.ARCH), settle({}).data).checks == ()


def _networks(world):
    return [world[role] for role in ("source", "finetuned")]


def test_networks_with_different_backbones_leave_erosion(world, tmp_path):
    import torch

    other = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * planted.SIZE**2, 2))
    torch.save(other.state_dict(), tmp_path / "other.pth")
    (tmp_path / "other.py").write_text(
        "from torch import nn\n"
        "def net(num_classes):\n"
        f"    return nn.Sequential(nn.Flatten(), nn.Linear({3 * planted.SIZE**2}, num_classes))\n"
    )
    arch, source_arch = f"{tmp_path / 'other.py'}:net", planted.ARCH
    named = {"source": str(world["source"]), "finetuned": str(tmp_path / "other.pth")}
    data = {"source": world["source_data"], "target": world["target_data"]}
    settings = settle({"models": {**named, "arch": arch, "source_arch": source_arch}, "data": data})
    pair = load_pair(named["source"], named["finetuned"], arch=arch, source_arch=source_arch, alike=False)
    found = look_around(pair, settings.data)
    assert found.checks == ("erosion",)
    file = tmp_path / "tlaudit.toml"
    file.write_text(compose(settings, found, file))
    assert load_settings({}, file).audit.checks == ("erosion",)
    assert load_settings({}, file).models == settings.models
    assert "different backbones" in file.read_text()


def test_composites_are_fewer_than_the_papers_where_there_are_many_classes(world, tmp_path):
    import dataclasses

    settings = settle({"models": {"source": "a", "finetuned": "b"}})
    found = look_around(load_pair(*_networks(world), arch=planted.ARCH), settings.data)

    def distraction(classes):
        text = compose(settings, dataclasses.replace(found, source_classes=classes), tmp_path / "tlaudit.toml")
        return tomllib.loads(text)["distraction"]

    assert distraction(0) == distraction(COMPOSITES // 100) == {}
    assert distraction(12) == {"per_class": COMPOSITES // 12}
    assert distraction(1000) == {"per_class": COMPOSITES // CLASSES, "max_classes": CLASSES}


def test_two_lingering_classes_are_enough_for_the_rules_it_writes(world, tmp_path):
    import dataclasses

    settings = settle({"models": {"source": "a", "finetuned": "b"}})
    found = look_around(load_pair(*_networks(world), arch=planted.ARCH), settings.data)
    rules = tomllib.loads(default_policy())["policy"]["rules"]
    asked = max(rule.get("min_samples", 0) for rule in rules if rule["metric"].startswith("distraction."))
    for classes in (11, 20, 21, 40, 41, 1000):
        text = compose(settings, dataclasses.replace(found, source_classes=classes), tmp_path / "tlaudit.toml")
        made = tomllib.loads(text)["distraction"]
        assert made["per_class"] >= FEWEST
        assert 2 * made["per_class"] >= asked
        assert made["per_class"] * made.get("max_classes", classes) <= COMPOSITES
        # One class alone may be too few, and then the file says what to do.
        assert ("raise per_class" in " ".join(text.split("\n# "))) is (made["per_class"] < asked)


def test_rules_are_those_of_the_default_policy(world, tmp_path):
    text, _ = written(world, tmp_path / "tlaudit.toml")
    assert tomllib.loads(text)["policy"] == tomllib.loads(default_policy())["policy"]
    assert "copy the rules" not in text


def test_commands_name_a_file_that_is_not_found_by_itself():
    assert next_steps("tlaudit.toml") == (
        "tlaudit audit -o audit.json --report audit.html",
        "tlaudit gate audit.json",
    )
    assert all("--config 'my conf/a.toml'" in step for step in next_steps("my conf/a.toml"))


def test_hostile_places_load(tmp_path):
    root = tmp_path / ODD.replace("\x7f", "").strip()
    (root / "in").mkdir(parents=True)
    world = planted.build(root / "in", per_class=1)
    file = root / "tlaudit.toml"
    text, given = written(world, file)
    file.write_text(text, encoding="utf-8")
    assert text.replace("\n", "").isprintable()
    assert tomllib.loads(text)["models"]["source"] == "in/source.pth"
    assert load_settings({}, file).models == given.models
    assert load_settings({}, file).data == given.data
    outside = tmp_path / "tlaudit.toml"
    text, _ = written(world, outside)
    outside.write_text(text, encoding="utf-8")
    assert load_settings({}, outside).data == given.data
