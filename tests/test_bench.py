# SPDX-License-Identifier: BSD-2-Clause
"""The bench's pure parts: search, metrics and their file, tables, command line."""

import json
import random
import sys
from pathlib import Path

import pytest

from bench import plot
from bench.__main__ import parse, results_for, told_if_failed
from bench.metrics import METRICS, REDIRECT, VETH, Results, Spread
from bench.search import largest
from bench.table import SYSTEMS, markdown
from lab.host import CommandError

STEPS = 8


def test_a_search_finds_the_largest_rate_that_passes(rng: random.Random) -> None:
    for _ in range(100):
        limit, highest = rng.uniform(0.01, 2), rng.uniform(0.5, 1.5)
        found = largest(
            lambda rate, limit=limit: rate if rate <= limit else None,  # type: ignore[misc]
            highest,
            steps=STEPS,
            attempts=1,
        )
        best = min(limit, highest)
        assert best - highest / 2**STEPS <= found <= best


def test_a_search_answers_0_when_every_rate_loses() -> None:
    assert largest(lambda _: None, 1.0, steps=STEPS, attempts=2) == 0


def test_a_search_ends_at_once_when_the_highest_rate_passes() -> None:
    tried: list[float] = []

    def trial(rate: float) -> float:
        tried.append(rate)
        return rate

    assert largest(trial, 1.0, steps=STEPS, attempts=2) == 1.0
    assert tried == [1.0]


def test_a_search_tells_the_rate_that_was_sent_not_the_one_that_was_asked() -> None:
    assert largest(lambda rate: rate * 0.9, 1.0, steps=STEPS, attempts=1) == 0.9


def test_one_bad_trial_of_a_rate_does_not_end_its_search() -> None:
    seen: set[float] = set()

    def trial(rate: float) -> float | None:
        if rate in seen:
            return rate
        seen.add(rate)
        return None

    assert largest(trial, 1.0, steps=STEPS, attempts=2) == 1.0
    seen.clear()
    assert largest(trial, 1.0, steps=STEPS, attempts=1) == 0


def test_a_spread_is_median_least_and_most() -> None:
    assert Spread.of([3, 1, 2, 10]) == Spread(2.5, 1, 10)
    assert Spread.of([7]) == Spread(7, 7, 7)


def test_every_figure_has_a_key_of_its_own() -> None:
    assert len({metric.key for metric in METRICS}) == len(METRICS)


@pytest.fixture
def results() -> Results:
    found = Results(about={"seconds": 1, "command": "tools/bench"})
    for tx in (1.0, 2.0, 3.0):
        found.add(SYSTEMS, VETH, {"tx": tx, "same_p50": 4.0})
        found.add(SYSTEMS, REDIRECT, {"tx": tx / 2, "same_p50": 5.0})
        found.add(SYSTEMS, "failover", {"tx": tx / 4, "same_p50": 10.0, "idle": 0.0})
        found.add("ports", "1 port", {"tx": tx, "tx_path": 9.0, "tx_busy": 9.0})
        found.add("ports", "2 ports", {"tx": tx / 2, "tx_path": 9.9, "tx_busy": 9.0})
    found.absent["a peer"] = "install it"
    found.instructions["out"] = 321.0
    return found


def test_results_are_the_same_after_a_file(results: Results) -> None:
    assert Results.from_json(results.to_json()) == results
    assert results.rounds == 3


@pytest.mark.parametrize("text", ["[]", '{"a": 1}', json.dumps({"about": {}})])
def test_a_file_that_is_none_of_ours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a file of tools/bench"):
        Results.from_json(text)


def test_a_table_has_medians_ranges_and_what_they_are_beside_both_bases(
    results: Results,
) -> None:
    lines = markdown(results).splitlines()
    assert f"| {VETH} | 2.00 [1.00-3.00] |" in lines
    assert f"| {REDIRECT} | 1.00 [0.50-1.50] **0.50 R** |" in lines
    assert "| failover | 0.50 [0.25-0.75] **0.25 R, 0.50 E1** |" in lines


def test_latency_is_put_beside_by_difference_and_idle_not_at_all(
    results: Results,
) -> None:
    lines = markdown(results).splitlines()
    assert (
        "| failover | 10.0 [10.0-10.0] **R +6.0, E1 +5.0** | 0.00 [0.00-0.00] |"
        in lines
    )
    assert f"| {VETH} | 4.0 [4.0-4.0] | - |" in lines


def test_a_sweep_is_put_beside_its_first_row_with_few_figures(
    results: Results,
) -> None:
    lines = markdown(results).splitlines()
    assert "| 1 port | 2.00 [1.00-3.00] | 9 [9-9] |" in lines
    assert "| 2 ports | 1.00 [0.50-1.50] **0.50** | 10 [10-10] |" in lines


def test_what_was_not_there_is_said(results: Results) -> None:
    assert "Not here: a peer (install it)." in markdown(results)


def test_what_others_took_of_the_machine_is_said(results: Results) -> None:
    results.others = [0.2, 50.0, 3.0]
    assert "Just before a round others took 3 [0-50] % of the machine." in markdown(
        results
    )


def test_one_round_has_no_range() -> None:
    found = Results()
    found.add(SYSTEMS, VETH, {"tx": 1.0})
    assert f"| {VETH} | 1.00 |" in markdown(found).splitlines()


PANEL = plot.Panel("", {"tx": "out", "idle": "idle"})


def test_a_panel_has_a_bar_for_each_figure_that_a_row_has(results: Results) -> None:
    found = plot.bars(results.sections[SYSTEMS], PANEL)
    assert [(bar.series, bar.spread.median) for bar in found] == [
        *((0, 2.0), (0, 1.0)),
        *((0, 0.5), (1, 0.0)),
    ]
    edges = [(bar.place - bar.height / 2, bar.place + bar.height / 2) for bar in found]
    assert all(row - 0.5 < edges[row][0] for row in range(3))
    assert edges[2][1] == pytest.approx(edges[3][0])


def test_every_panel_draws_figures_that_there_are() -> None:
    keys = {metric.key for metric in METRICS}
    drawn = [
        key for panels in plot.PICTURES.values() for p in panels for key in p.metrics
    ]
    assert set(drawn) <= keys


def test_a_picture_is_the_same_for_the_same_results(
    results: Results, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason=plot.REMEDY)
    kept = tmp_path / "results.json"
    kept.write_text(results.to_json())
    pictures = []
    for _ in range(2):
        plot.main([str(kept), str(tmp_path)])
        pictures.append([(tmp_path / name).read_text() for name in plot.PICTURES])
    assert pictures[0] == pictures[1]
    assert all("failover" in picture for picture in pictures[0][:1])


def test_without_matplotlib_the_remedy_is_told(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    kept = tmp_path / "results.json"
    kept.write_text(results.to_json())
    with pytest.raises(SystemExit, match=r"no matplotlib: .*pip install"):
        plot.main([str(kept), str(tmp_path)])
    assert list(tmp_path.glob("*.svg")) == []


def test_a_plot_of_no_results_says_why(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"tools/bench plot: .*No such file"):
        plot.main([str(tmp_path / "none.json"), str(tmp_path)])


def test_quick_is_one_round_of_one_protocol() -> None:
    quick, whole = parse(["--quick"]), parse([])
    assert (quick.rounds, quick.proto) == (1, ("loadbalance",))
    assert whole.rounds >= 5
    assert len(whole.proto) > 1
    assert parse(["--quick", "--rounds", "3"]).rounds == 3


def test_rounds_cannot_be_added_to_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--add"])
    assert "--add needs --json FILE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--rounds", "0"], "0: at least 1"),
        (["--seconds", "0"], "0: 0.05 to 30.0"),
        (["--seconds", "nan"], "nan: 0.05 to 30.0"),
        (["--seconds", "100"], "100: 0.05 to 30.0"),
        (["--only", "speed"], "invalid choice: 'speed'"),
    ],
)
def test_what_makes_no_sense_is_refused(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(words)
    assert told in capsys.readouterr().err


def test_what_fails_is_told_in_the_table_and_the_others_go_on(
    results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise CommandError(("iperf3",), 0, "no\nroute")

    with told_if_failed(results, "a peer: tcp"):
        fail()
    told = "a peer: tcp failed: iperf3: exit 0 no route"
    assert told in capsys.readouterr().err
    assert "Not here: a peer: tcp, a round (iperf3: exit 0 no route)." in markdown(
        results
    )


ABOUT = {"commit": "1234567", "kernel": "6.1", "cpu": "one", "cpus": 2, "seconds": 1.0}


def test_rounds_are_added_to_those_of_the_same_commit_and_machine(
    tmp_path: Path,
) -> None:
    kept = tmp_path / "results.json"
    found = parse(["--json", str(kept), "--add"])
    assert results_for(found, ABOUT) == Results(about=ABOUT)
    before = Results(about=ABOUT | {"when": "before"}, absent={"a peer": "away"})
    kept.write_text(before.to_json())
    assert results_for(found, ABOUT) == before
    assert results_for(parse(["--json", str(kept)]), ABOUT) == Results(about=ABOUT)


@pytest.mark.parametrize("key", ABOUT)
def test_rounds_that_do_not_mix_are_refused_and_kept(tmp_path: Path, key: str) -> None:
    kept = tmp_path / "results.json"
    kept.write_text(text := Results(about=ABOUT | {key: "other"}).to_json())
    with pytest.raises(SystemExit, match=f"results.json: {key} other and .* not mix"):
        results_for(parse(["--json", str(kept), "--add"]), ABOUT)
    assert kept.read_text() == text
