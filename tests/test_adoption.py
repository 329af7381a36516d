"""What others build on: the action, the examples and the page about pipelines say what is true of the command line."""

from __future__ import annotations

import itertools
import re
import shlex
import stat
import subprocess
from pathlib import Path

import pytest
import typer
import yaml

from tlaudit.cli.app import app
from tlaudit.options.policy import Rule, Waiver
from tlaudit.reports import AUDIT_FORMATS, VERDICT_FORMATS

ROOT = Path(__file__).parents[1]
ACTION = ROOT / "action.yml"
HOOKS = ROOT / ".pre-commit-hooks.yaml"
GUIDE = ROOT / "docs" / "ci.md"
EXAMPLES = sorted((ROOT / "examples").iterdir())
YAML = [ACTION, HOOKS, *(path for path in EXAMPLES if path.suffix in {".yml", ".yaml"})]
FILES = [*YAML, GUIDE]
COMMANDS = typer.main.get_command(app).commands


def named(paths):
    return {"argvalues": paths, "ids": [path.name for path in paths]}


def command_lines(text: str) -> list[list[str]]:
    """What follows the word tlaudit in what a shell would run, and in code between backticks, word by word."""
    joined = re.sub(r"\\\n\s*", " ", text)
    found = re.findall(r"(?:^|[;`]|entry:|\$ )\s*(?:- )?tlaudit ([a-z][^`\n]*)", joined, re.MULTILINE)
    words = [shlex.split(line.split("||")[0].split(" #")[0]) for line in found]
    return [line for line in words if not line[0].endswith(":")]


def options(name: str) -> set[str]:
    return {option for parameter in COMMANDS[name].params for option in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("path", **named(YAML))
def test_is_yaml(path):
    assert yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", **named([path for path in FILES if "tlaudit " in path.read_text(encoding="utf-8")]))
def test_commands_and_options_exist(path):
    lines = command_lines(path.read_text(encoding="utf-8"))
    for name, *words in lines:
        assert name in COMMANDS, f"{path.name}: tlaudit {name}"
        used = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert used <= options(name), f"{path.name}: tlaudit {name} has no {used - options(name)}"
        formats = {"audit": AUDIT_FORMATS, "gate": VERDICT_FORMATS}.get(name, {})
        chosen = [after for word, after in itertools.pairwise(words) if word in {"-f", "--format"}]
        assert set(chosen) <= formats.keys(), f"{path.name}: tlaudit {name} has no format {chosen}"


def test_command_lines_are_found():
    assert {line[0] for line in command_lines(ACTION.read_text())} == {"audit", "gate"}
    assert {line[0] for line in command_lines((ROOT / "examples" / "gitlab-ci.yml").read_text())} == {"audit", "gate"}
    assert {line[0] for line in command_lines(GUIDE.read_text())} >= {"init", "audit", "gate", "compare"}
    assert command_lines(
        "run `tlaudit gate a.json --against \\\n  b.json` then\n- x=0; tlaudit audit -f json || x=$?"
    ) == [
        ["gate", "a.json", "--against", "b.json"],
        ["audit", "-f", "json"],
    ]


@pytest.mark.parametrize("path", **named(FILES))
def test_names_no_host(path):
    text = path.read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"\b[\w-]+\.(com|org|io|net|dev|co)\b", text)


def guide_inputs() -> set[str]:
    section = GUIDE.read_text().split("## GitHub Actions")[1].split("\nOutputs:")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([\w-]+)`", row)}


class TestAction:
    action = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    steps = action["runs"]["steps"]

    def test_uses_every_input_and_explains_it(self):
        text = ACTION.read_text().split("\nruns:")[1]
        for name in self.action["inputs"]:
            assert f"inputs.{name}" in text, name
        assert {name.removesuffix(" ") for name in re.findall(r"inputs\.([\w-]+)", text)} == set(self.action["inputs"])
        assert guide_inputs() == set(self.action["inputs"])
        assert all(one["description"] for one in self.action["inputs"].values())

    def test_puts_nothing_into_the_text_of_a_script(self):
        for step in self.steps:
            assert "${{" not in step.get("run", "")
            assert step.get("shell", "bash") == "bash"

    def test_says_where_outputs_come_from(self):
        written = {step["id"]: step["run"] for step in self.steps if "id" in step}
        guide = GUIDE.read_text().split("\nOutputs:")[1].split("\n\n")[0]
        for name, output in self.action["outputs"].items():
            for step, key in re.findall(r"steps\.(\w+)\.outputs\.([\w-]+)", output["value"]):
                assert f"{key}=" in written[step] or f" {key} " in written[step].replace(";", " "), name
            assert f"`{name}`" in guide

    def test_workflow_gives_inputs_and_reads_outputs_that_exist(self):
        text = (ROOT / "examples" / "github-workflow.yml").read_text()
        steps = yaml.safe_load(text)["jobs"]["audit"]["steps"]
        used = next(step for step in steps if step.get("id") == "tlaudit")
        assert set(used["with"]) <= set(self.action["inputs"])
        assert set(re.findall(r"steps\.tlaudit\.outputs\.([\w-]+)", text)) <= set(self.action["outputs"])


STUB = """#!/usr/bin/env bash
printf '%s\\n' "$@" >> "$CALLS"
name="$1"; output=; report=
while [ $# -gt 0 ]; do
  case "$1" in --output) output="$2" ;; --report) report="$2" ;; esac
  shift
done
if [ "$name" = audit ]; then code="$AUDIT"; written="$AUDIT_WRITES"; else code="$GATE"; written="$GATE_WRITES"; fi
if [ "$written" = yes ]; then
  touch "$output"
  if [ "$name" = audit ]; then touch "${output%.json}.html"
  else touch "${output%.json}.xml" "${output%.json}.sarif" "$report"; fi
fi
exit "$code"
"""


def filled(text, given):
    """The text with inputs in it as a runner puts them there."""
    return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: given[found[1].replace("-", "_")], text)


class Outcome:
    """What the action's scripts did: exit code, outputs, the command lines they ran."""

    def __init__(self, code, outputs, calls):
        self.code, self.outputs, self.calls = code, outputs, calls


def play(folder, *, audit=0, gate=0, audit_writes=True, gate_writes=True, **inputs):
    """Run the action's two scripts as a runner does in a workspace, with a `tlaudit` that ends as told."""
    action = yaml.safe_load(ACTION.read_text())
    given = {name.replace("-", "_"): one.get("default", "") for name, one in action["inputs"].items()} | inputs
    (folder / "bin").mkdir(exist_ok=True)
    stub = folder / "bin" / "tlaudit"
    stub.write_text(STUB)
    stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
    outputs, calls = {}, folder / "calls"
    calls.write_text("")
    code = 0
    for step in action["runs"]["steps"]:
        if step.get("id") not in {"audit", "gate"} or code:
            continue
        target = folder / f"{step['id']}.out"
        target.write_text("")
        replaced = {key: filled(text, given) for key, text in step["env"].items()}
        environment = {
            "PATH": f"{folder / 'bin'}:/usr/bin:/bin",
            "GITHUB_OUTPUT": str(target),
            "GITHUB_WORKSPACE": str(folder),
            "CALLS": str(calls),
            "AUDIT": str(audit),
            "GATE": str(gate),
            "AUDIT_WRITES": "yes" if audit_writes else "no",
            "GATE_WRITES": "yes" if gate_writes else "no",
            **replaced,
        }
        shell = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]]
        place = folder / filled(step.get("working-directory", ""), given)
        code = subprocess.run(shell, cwd=place, env=environment, check=False, capture_output=True).returncode
        written = (line.split("=", 1) for line in target.read_text().splitlines())
        outputs |= {f"{step['id']}.{key}": value for key, value in written}
    return Outcome(code, outputs, calls.read_text().split("\n"))


@pytest.mark.parametrize(
    ("audit", "gate", "code", "verdict"),
    [
        (0, 0, 0, "pass"),
        (0, 1, 1, "fail"),
        (3, 0, 0, "pass"),
        (3, 1, 1, "fail"),
        (0, 3, 3, "no answer"),
        (0, 2, 2, "usage"),
        (0, 130, 130, "no answer"),
        (0, 137, 137, "no answer"),
    ],
)
def test_the_action_ends_as_the_gate_does(tmp_path, audit, gate, code, verdict):
    outcome = play(tmp_path, audit=audit, gate=gate)
    assert outcome.code == code
    assert outcome.outputs["gate.verdict"] == verdict
    assert outcome.outputs["gate.exit-code"] == str(code)
    assert outcome.outputs["audit.json"] == "tlaudit-report/audit.json"
    assert outcome.outputs["gate.xml"] == "tlaudit-report/audit-verdict.xml"


@pytest.mark.parametrize(("audit", "verdict"), [(2, "usage"), (3, "no answer"), (130, "no answer")])
def test_without_a_report_there_is_no_gate(tmp_path, audit, verdict):
    (tmp_path / "tlaudit-report").mkdir()
    (tmp_path / "tlaudit-report" / "audit.json").write_text("of yesterday")
    outcome = play(tmp_path, audit=audit, audit_writes=False)
    assert outcome.code == audit
    assert outcome.outputs["audit.verdict"] == verdict
    assert "gate" not in outcome.calls
    assert "audit.json" not in outcome.outputs


def test_files_that_were_not_written_are_no_outputs(tmp_path):
    outcome = play(tmp_path, gate=3, gate_writes=False)
    assert outcome.code == 3
    assert not {"gate.xml", "gate.sarif", "gate.json", "gate.html"} & outcome.outputs.keys()


def test_inputs_reach_the_command_line_as_they_are(tmp_path):
    odd = 'a "b" $(touch x) `touch y`; z.json'
    outcome = play(tmp_path, config="my conf.toml", against=odd, checkpoint="net.pth", first_release="false")
    assert outcome.calls.count("my conf.toml") == 2
    assert outcome.calls[outcome.calls.index("--against") + 1] == odd
    assert outcome.calls[outcome.calls.index("--checkpoint") + 1] == "net.pth"
    assert "--first-release" not in outcome.calls
    assert not (tmp_path / "x").exists()
    plain = play(tmp_path, first_release="true", policy="rules.toml", report_folder="out", report_name="r")
    assert "--first-release" in plain.calls
    assert "--against" not in plain.calls
    assert plain.calls[plain.calls.index("--policy") + 1] == "rules.toml"
    assert plain.calls.count("--config") == 1
    assert plain.outputs["gate.sarif"] == "out/r-verdict.sarif"
    assert plain.outputs["audit.folder"] == "out"


@pytest.mark.parametrize(
    ("given", "said"), [("true", True), ("True", True), ("TRUE", True), ("false", False), ("False", False), ("", False)]
)
def test_a_first_release_is_said_as_yaml_says_true(tmp_path, given, said):
    assert ("--first-release" in play(tmp_path, first_release=given).calls) is said


@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
def test_the_gate_names_everything_from_the_root_of_the_workspace(tmp_path, absolute):
    """SARIF locates a rule by the policy's path, and code scanning looks for it from there."""
    place = tmp_path / "models" / "a b"
    place.mkdir(parents=True)
    outcome = play(
        tmp_path,
        working_directory=str(place) if absolute else "./models/a b/",
        against="../old/audit.json",
        checkpoint="/elsewhere/net.pth",
    )
    assert outcome.code == 0
    audit, gate = (outcome.calls[start:] for start in (0, outcome.calls.index("gate")))
    assert audit[audit.index("--config") + 1] == "tlaudit.toml"
    assert gate[1] == "models/a b/tlaudit-report/audit.json"
    given = {option: gate[gate.index(option) + 1] for option in ("--config", "--against", "--checkpoint", "--output")}
    assert given == {
        "--config": "models/a b/tlaudit.toml",
        "--against": "models/a b/../old/audit.json",
        "--checkpoint": "/elsewhere/net.pth",
        "--output": "models/a b/tlaudit-report/audit-verdict.json",
    }
    assert outcome.outputs["audit.json"] == "models/a b/tlaudit-report/audit.json"
    assert outcome.outputs["gate.sarif"] == "models/a b/tlaudit-report/audit-verdict.sarif"
    assert (place / "tlaudit-report" / "audit-verdict.sarif").is_file()
    policy = play(tmp_path, working_directory="models/a b", policy="rules.toml").calls
    assert policy[policy.index("--policy") + 1] == "models/a b/rules.toml"


def test_an_absolute_folder_for_reports_stays_where_it_is(tmp_path, tmp_path_factory):
    outside = tmp_path_factory.mktemp("reports")
    (tmp_path / "models").mkdir()
    outcome = play(tmp_path, report_folder=str(outside), working_directory="models")
    assert outcome.outputs["audit.folder"] == str(outside)
    assert outcome.outputs["audit.html"] == f"{outside}/audit.html"
    assert outcome.outputs["gate.xml"] == f"{outside}/audit-verdict.xml"
    within = play(tmp_path, report_folder=str(tmp_path / "models" / "r"), working_directory="models")
    assert within.outputs["gate.sarif"] == "models/r/audit-verdict.sarif"


def test_the_hook_is_one_of_the_list():
    hooks = {hook["id"]: hook for hook in yaml.safe_load(HOOKS.read_text())}
    (repository,) = yaml.safe_load((ROOT / "examples" / "pre-commit-config.yaml").read_text())["repos"]
    for hook in repository["hooks"]:
        assert hook["id"] in hooks
        name = hooks[hook["id"]]["entry"].split()[1]
        assert {word for word in hook["args"] if word.startswith("-")} <= options(name)
    assert re.search(hooks["tlaudit-gate"]["files"], "releases/audit.json")
    assert not re.search(hooks["tlaudit-gate"]["files"], "package.json")
    # Each entry of the example is for the report of one model, which the hook's own pattern fits too.
    reports = [f"models/{name}/audit.json" for name in ("dogs", "birds")]
    for path in reports:
        assert [bool(re.search(hook["files"], path)) for hook in repository["hooks"]].count(True) == 1
        assert re.search(hooks["tlaudit-gate"]["files"], path)


def test_gitlab_keeps_what_it_writes():
    job = yaml.safe_load((ROOT / "examples" / "gitlab-ci.yml").read_text())["model-audit"]
    folder = job["variables"]["REPORTS"]
    assert job["artifacts"]["paths"] == [f"{folder}/"]
    assert job["artifacts"]["reports"]["junit"] == f"{folder}/verdict.xml"
    assert job["artifacts"]["when"] == "always"
    assert VERDICT_FORMATS["junit"].suffix == ".xml"


@pytest.mark.parametrize(
    ("audit", "gate", "code", "judged"), [(0, 0, 0, True), (3, 1, 1, True), (2, 0, 2, False), (0, 3, 3, True)]
)
def test_gitlab_ends_as_the_gate_does(tmp_path, audit, gate, code, judged):
    job = yaml.safe_load((ROOT / "examples" / "gitlab-ci.yml").read_text())["model-audit"]
    (tmp_path / "tlaudit").write_text(STUB)
    (tmp_path / "tlaudit").chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        **job["variables"],
        "CALLS": "calls",
        "AUDIT": str(audit),
        "GATE": str(gate),
        "AUDIT_WRITES": "no" if audit == 2 else "yes",
        "GATE_WRITES": "yes",
    }
    shell = ["bash", "-e", "-o", "pipefail", "-c", "\n".join(job["script"])]
    assert subprocess.run(shell, cwd=tmp_path, env=environment, check=False, capture_output=True).returncode == code
    assert ("gate" in (tmp_path / "calls").read_text().split()) is judged


class TestGuide:
    text = GUIDE.read_text(encoding="utf-8")

    def test_explains_every_key_of_a_rule(self):
        table = self.text.split("| key | meaning | default |")[1].split("\n\n")[0]
        firsts = "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
        assert set(re.findall(r"`(\w+)`", firsts)) == set(Rule.model_fields)
        assert all(key in table for key in Waiver.model_fields)

    def test_gives_the_defaults_of_rules(self):
        rows = {
            line.split("|")[1].strip(" `"): line.split("|")[3] for line in self.text.splitlines() if "|" in line[1:]
        }
        for key in ("severity", "on_missing", "use"):
            assert f"`{Rule.model_fields[key].default}`" in rows[key]

    def test_its_rules_are_rules(self):
        import tomllib

        from tlaudit.options import PolicyOptions

        example = self.text.split("```toml\n")[1].split("```")[0]
        assert len(PolicyOptions.model_validate(tomllib.loads(example)["policy"]).rules) == 2

    def test_tells_every_rule_of_the_default_policy_with_its_limit(self):
        import tomllib

        from tlaudit.scaffold.settings_file import default_policy

        told = self.text.split("### The default policy")[1].split("\n## ")[0]
        rows = {re.search("`(.+?)`", line)[1]: line for line in told.splitlines() if line.startswith("| `")}
        rules = tomllib.loads(default_policy())["policy"]["rules"]
        assert rows.keys() == {rule["metric"] for rule in rules}
        for rule in rules:
            limits = [rule[key] for key in ("min", "max", "max_decrease", "max_increase") if key in rule]
            assert all(f" {limit:g}" in rows[rule["metric"]] for limit in limits)
            assert ("a warning" in rows[rule["metric"]]) is (rule.get("severity") == "warn")
            assert ("reported" in rows[rule["metric"]]) is (rule["on_missing"] == "warn")
            assert f" {rule.get('min_samples', '')}" in rows[rule["metric"]]

    def test_tells_every_format(self):
        table = self.text.split("| format | file |")[1].split("\n\n")[0]
        rows = {line.split("|")[1].strip(" `"): line for line in table.splitlines() if line.startswith("| `")}
        assert rows.keys() == VERDICT_FORMATS.keys()
        assert all(f"`{one.suffix}`" in rows[name] for name, one in VERDICT_FORMATS.items())
        assert all(f"`{name}`" in self.text for name in AUDIT_FORMATS)

    def test_links_lead_somewhere(self):
        for target in re.findall(r"\]\(([^)#]+)", self.text):
            assert (GUIDE.parent / target).exists(), target
