from __future__ import annotations

import hashlib
import re

import pytest

from tlaudit.cli.flags import FLAGS
from tlaudit.config import load_policy, load_settings, settle
from tlaudit.errors import ConfigError
from tlaudit.options import Settings


def write(folder, text, name="tlaudit.toml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_command_line_beats_file_beats_default(tmp_path):
    path = write(tmp_path, "[lingering]\nk = 3\np_lo = 0.2\n[execution]\nseed = 7\n")
    settings = load_settings({"lingering": {"k": 9, "p_lo": None}}, path)
    assert (settings.lingering.k, settings.lingering.p_lo, settings.execution.seed) == (9, 0.2, 7)
    assert settings.execution.batch_size == Settings().execution.batch_size


def test_paths_in_the_file_are_meant_from_the_file(tmp_path):
    (tmp_path / "net.pth").touch()
    (tmp_path / "mine.py").touch()
    text = """
[data]
source = "images"
[models]
source = "net.pth"
finetuned = "torchvision:resnet18"
arch = "mine.py:net"
"""
    settings = load_settings({}, write(tmp_path, text))
    assert settings.data.source == tmp_path / "images"
    assert settings.models.source == str(tmp_path / "net.pth")
    assert settings.models.finetuned == "torchvision:resnet18"
    assert settings.models.arch == f"{tmp_path / 'mine.py'}:net"


def test_pyproject_section_is_read(tmp_path, monkeypatch):
    write(tmp_path, "[tool.tlaudit.lingering]\nk = 2\n[tool.other]\nx = 1\n", "pyproject.toml")
    monkeypatch.chdir(tmp_path)
    assert load_settings({}).lingering.k == 2
    write(tmp_path, "[lingering]\nk = 4\n")
    assert load_settings({}).lingering.k == 4


def test_one_threshold_on_the_command_line_replaces_the_other_in_the_file(tmp_path):
    path = write(tmp_path, "[lingering]\nv_lo = 0.1\n")
    settings = load_settings({"lingering": {"v_lo_count": 3, "v_lo": None}}, path).lingering
    assert (settings.v_lo, settings.v_lo_count) == (None, 3)


@pytest.mark.parametrize(
    ("written", "given", "expected"),
    [
        ('optimizer = "sgd"\nmomentum = 0.5', {"optimizer": "adamw"}, {"optimizer": "adamw", "momentum": 0.9}),
        ("beta1 = 0.5\namsgrad = true", {"optimizer": "sgd"}, {"optimizer": "sgd", "beta1": 0.9, "amsgrad": False}),
        ("beta1 = 0.5", {"optimizer": "adamw"}, {"beta1": 0.5}),
        ('optimizer = "sgd"\nmomentum = 0.5', {"optimizer": None, "clip": 2.0}, {"momentum": 0.5}),
        ('optimizer = "sgd"\nmomentum = 0.5', {"optimizer": "sgd", "dampening": 0.2}, {"momentum": 0.5}),
    ],
)
@pytest.mark.parametrize("section", ["stress", "repair"])
def test_an_optimizer_on_the_command_line_drops_the_others_settings_in_the_file(
    tmp_path, section, written, given, expected
):
    path = write(tmp_path, f"[{section}.training]\nweight_decay = 0.3\n{written}\n")
    training = getattr(load_settings({f"{section}.training": given}, path), section).training
    assert {name: getattr(training, name) for name in expected} == expected
    assert training.weight_decay == 0.3


@pytest.mark.parametrize(
    ("written", "given", "message"),
    [
        ("momentum = 0.5", {}, "momentum is of sgd, and the optimizer is adamw: leave it out or take sgd"),
        ('optimizer = "sgd"', {"beta1": 0.5}, "beta1 is of adamw, and the optimizer is sgd"),
        ("", {"optimizer": "sgd", "eps": 1e-6, "beta2": 0.9}, "beta2 and eps are of adamw, .* leave them out or take"),
        ("", {"nesterov": True}, "nesterov is of sgd"),
        (
            "momentum = 0.5",
            {"optimizer": "sgd", "momentum": 0.0, "nesterov": True},
            "nesterov needs a momentum above 0",
        ),
        ("", {"optimizer": "sgd", "dampening": 0.1, "nesterov": True}, "nesterov needs a momentum above 0 and a damp"),
        ("", {"crop_scale": 0.0}, "crop_scale: .*greater than 0"),
        ("", {"jitter": 1.5}, "jitter: .*less than or equal to 1"),
        ("", {"beta1": 1.0}, "beta1: .*less than 1"),
        ("", {"eps": 0.0}, "eps: .*greater than 0"),
    ],
)
def test_refuses_settings_of_another_optimizer(tmp_path, written, given, message):
    with pytest.raises(ConfigError, match=message):
        load_settings({"repair.training": given}, write(tmp_path, f"[repair.training]\n{written}\n"))


def test_what_the_command_line_says_for_all_networks_beats_the_file_for_one(tmp_path):
    path = write(tmp_path, "[preprocess.source]\nmean = [0, 0, 0]\ncrop = 64\n")
    table = load_settings({"preprocess": {"mean": (0.1, 0.1, 0.1), "crop": None}}, path).preprocess
    assert table.source.mean is None
    assert table.source.crop == 64
    assert table.mean == (0.1, 0.1, 0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[lingring]\nk = 1", "^.*tlaudit.toml: unknown key 'lingring'; did you mean 'lingering'"),
        ("[lingering]\nv_low = 1", "^.*tlaudit.toml: unknown key 'v_low' in .lingering.; did you mean 'v_lo'"),
        ("[preprocess.source]\nmaen = [0, 0, 0]", "unknown key 'maen' in .preprocess.source.; did you mean 'mean'"),
        ("[lingering]\nk = 0", r"lingering.k: .*greater than or equal to 1 \(got 0\)"),
        ("[lingering]\np_lo = nan", "lingering.p_lo"),
        ("[preprocess]\nstd = [0.2, 0, 0.2]", r"preprocess.std.1: .*greater than 0 \(got 0\)"),
        ("[preprocess]\nmean = [inf, 0, 0.2]", "preprocess.mean.0: .*less than or equal to 1"),
        ("[lingering]\nv_lo = 0.1\nv_lo_count = 1", "give one"),
        ("[execution]\nprecision = 'fp8'", "execution.precision"),
        ("lingering = 3", "lingering"),
        ("[lingering]\nk = true", "lingering.k: .*valid integer"),
        ("[data]\nlimit = '12'", "data.limit: .*valid integer"),
        ("[preprocess]\nmean = [128, 128, 128]", "preprocess.mean.0: .*less than or equal to 1"),
        ("[preprocess]\nresize = 100000", "preprocess.resize: .*less than or equal to 8192"),
        ("k = [", "cannot be read as TOML"),
        ("[[policy.rules]]\nmetrc = 1", r"toml:1: unknown key 'metrc' in \[\[policy.rules\]\] number 1; .*'metric'"),
        ("[policy]\nrule = []", "unknown key 'rule' in .policy.; did you mean 'rules'"),
        ("[[lingering]]\nk = 1", "lingering: expected a table"),
        ("[preprocess]\nmean = 3", "preprocess.mean: expected a list .got 3."),
        pytest.param(f"[lingering]\nk = 1{'0' * 5000}", "tlaudit.toml: cannot be read as TOML: .*digits", id="digits"),
    ],
)
def test_refuses_bad_files(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load_settings({"lingering": {"k": None}}, write(tmp_path, text))


def test_refuses_a_missing_file_and_a_binary_one(tmp_path):
    with pytest.raises(ConfigError, match="none.toml: does not exist"):
        load_settings({}, tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_settings({}, tmp_path)
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings({}, tmp_path / "x.toml")


def test_a_policy_is_checked_with_everything_else(tmp_path):
    path = write(tmp_path, '[lingering]\nk = 3\n[[policy.rules]]\nmetric = "lingering.fraction"\nmax = 0.5\n')
    settings = load_settings({"lingering": {"k": 4}}, path)
    assert (settings.lingering.k, settings.policy.rules[0].max) == (4, 0.5)
    written = load_policy(path)
    assert (written.options, written.lines, written.path) == (settings.policy, [3], path)
    assert written.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert load_policy(write(tmp_path, "[lingering]\nk = 3\n")) is None


def test_without_a_file_there_is_no_policy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_policy() is None
    assert load_settings({}).policy is None


def test_values_of_the_api_are_checked_alike():
    with pytest.raises(ConfigError, match="unknown key 'kk' in .lingering."):
        settle({"lingering": {"kk": 3}})
    with pytest.raises(ConfigError, match=r"^\[\[policy.rules\]\] number 1: max: .*valid number .got 'x'."):
        settle({"policy": {"rules": [{"metric": "lingering.fraction", "max": "x"}]}})


@pytest.mark.parametrize("section", sorted(FLAGS))
def test_every_key_has_a_flag_and_every_flag_a_key(section):
    model = Settings
    for part in section.split("."):
        model = model.model_fields[part].annotation
    tables = {name for name, field in model.model_fields.items() if isinstance(field.annotation, type(Settings))}
    keys = set(model.model_fields) - tables
    assert {flag.key for flag in FLAGS[section]} == keys


def test_defaults_that_help_states_are_those_of_the_options():
    stated = 0
    for section, flags in FLAGS.items():
        model = Settings
        for part in section.split("."):
            model = model.model_fields[part].annotation
        for flag in flags:
            said = re.search(r"; default ([\w.-]+)\.$", flag.help)
            default = model.model_fields[flag.key].default
            if said and default is not None:
                stated += 1
                assert ((said[1],) if isinstance(default, tuple) else type(default)(said[1])) == default, flag
    assert stated >= 10
