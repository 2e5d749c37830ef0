# SPDX-License-Identifier: BSD-2-Clause
"""The board and the alert rules that ship ask for what there is; promtool agrees."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lagg.cli.said import EXPECTED
from lagg.daemon.metrics import names
from tests.tree import ROOT

EXAMPLES, SERIES = ROOT / "examples", ROOT / "tests" / "data" / "monitoring"
FETCHED = ROOT / ".venv" / "lab" / "promtool"
BOARD: dict[str, Any] = json.loads((EXAMPLES / "grafana.json").read_text())
RULES: list[dict[str, Any]] = yaml.safe_load((EXAMPLES / "alerts.yml").read_text())[
    "groups"
][0]["rules"]

TARGETS: list[tuple[str, str, str]] = [
    (panel["title"], target["expr"], target["legendFormat"])
    for panel in BOARD["panels"]
    for target in panel["targets"]
]


def queries() -> Iterator[str]:
    """Everything that a board asks, and every rule."""
    yield from (expr for _, expr, _ in TARGETS)
    yield from (each["query"] for each in BOARD["templating"]["list"])
    yield from (each["expr"] for each in BOARD["annotations"]["list"])
    yield from (rule["expr"] for rule in RULES)


@pytest.fixture
def promtool(tmp_path: Path) -> tuple[str, Path]:
    """The program, and a place with the rules."""
    found = shutil.which("promtool") or (str(FETCHED) if FETCHED.exists() else None)
    if found is None:
        pytest.skip("no promtool: tools/setup --dev fetches it")
    shutil.copy(EXAMPLES / "alerts.yml", tmp_path)
    return found, tmp_path


def is_content(promtool: tuple[str, Path], *words: str) -> None:
    program, place = promtool
    done = subprocess.run(
        [program, *words], cwd=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_they_ask_for_nothing_that_is_not_there() -> None:
    found = set(re.findall(r"\blaggd_\w+", " ".join(queries())))
    assert len(found) > 20
    assert found - set(names()) == set()


def test_what_nobody_missed_is_no_loss() -> None:
    """Each query of drops either leaves these reasons out, or asks for them alone."""
    everything = "\n".join(queries())
    drops = r'dropped_frames_total\{[^}]*reason([!=]~)"([^"]*)"'
    asked = re.findall(drops, everything)
    assert sorted(operator for operator, _ in asked) == ["!~", "!~", "=~"]
    for _, reasons in asked:
        assert set(EXPECTED) == set(reasons.split("|"))
    assert everything.count("dropped_frames_total") == len(asked)


@pytest.mark.parametrize(("title", "expr", "legend"), TARGETS)
def test_a_line_of_the_board_says_of_which_host_it_is(
    title: str, expr: str, legend: str
) -> None:
    assert "{{instance}}" in legend, title
    assert 'instance=~"$instance"' in expr
    assert "by (" not in expr or "by (instance, " in expr


def test_the_board_shows_which_port_carries_and_each_panel_is_another() -> None:
    kinds = {panel["title"]: panel["type"] for panel in BOARD["panels"]}
    assert kinds["Which port carries"] == "state-timeline"
    assert kinds["Carrier of laggs"] == "stat"
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(kinds) > 12
    spots = [
        (x, y)
        for panel in BOARD["panels"]
        for at in [panel["gridPos"]]
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(spots) == len(set(spots)), "two panels in one place"
    assert max(x for x, _ in spots) < 24


def test_every_alert_says_where_what_and_how_bad() -> None:
    alerts = [rule["alert"] for rule in RULES]
    assert len(alerts) == len(set(alerts)) > 10
    for rule in RULES:
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert "$labels.instance" in rule["annotations"]["summary"]
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}


def test_promtool_takes_the_rules_and_they_fire_when_they_should(
    promtool: tuple[str, Path],
) -> None:
    shutil.copy(SERIES / "alerts.test.yml", promtool[1])
    is_content(promtool, "check", "rules", "--lint=all", "--lint-fatal", "alerts.yml")
    is_content(promtool, "test", "rules", "alerts.test.yml")


def test_prometheus_takes_every_query_of_the_board(promtool: tuple[str, Path]) -> None:
    asked = [*(expr for _, expr, _ in TARGETS), BOARD["annotations"]["list"][0]["expr"]]
    rules = [{"record": f"asked:{at}", "expr": plain(e)} for at, e in enumerate(asked)]
    write(promtool, "board.yml", {"groups": [{"name": "board", "rules": rules}]})
    is_content(promtool, "check", "rules", "--lint=none", "board.yml")


def test_a_healthy_failover_lagg_has_two_of_two_ports_with_a_link(
    promtool: tuple[str, Path],
) -> None:
    (linked,) = [expr for _, expr, legend in TARGETS if legend.endswith("with a link")]
    lagg = 'instance="a", lagg="lagg0"'
    links = [
        {"series": f'laggd_port_carrier{{{lagg}, port="eth{n}"}}', "values": "1x4"}
        for n in (0, 1)
    ]
    two = {
        "expr": plain(linked),
        "eval_time": "1m",
        "exp_samples": [{"labels": f"{{{lagg}}}", "value": 2}],
    }
    test = {"interval": "15s", "input_series": links, "promql_expr_test": [two]}
    write(promtool, "board.test.yml", {"rule_files": [], "tests": [test]})
    is_content(promtool, "test", "rules", "board.test.yml")


def plain(expr: str) -> str:
    """A query as Grafana sends it."""
    every = expr.replace("$instance", ".*").replace("$lagg", ".*")
    return re.sub(r"\$__\w+", "5m", every)


def write(promtool: tuple[str, Path], name: str, tree: dict[str, object]) -> None:
    (promtool[1] / name).write_text(yaml.safe_dump(tree))
