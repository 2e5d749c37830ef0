# SPDX-License-Identifier: BSD-2-Clause
"""The bench's results in Markdown.  Pure."""

from collections.abc import Iterator, Mapping

from bench.metrics import (
    BASES,
    METRICS,
    VETH,
    Comparison,
    Metric,
    Results,
    Rows,
    Spread,
)

SYSTEMS = "systems"
"""The section that has a table for each group of metrics."""

NOTHING = "-"
SWEPT = ("tx", "rx", "tx_path", "rx_path")


def markdown(results: Results) -> str:
    """All tables, and what must be said of them."""
    parts = [_about(results), *_system_tables(results)]
    for section, rows in results.sections.items():
        if section != SYSTEMS:
            table = _table(rows, _swept(rows), _first(rows))
            parts.append(f"### {section.capitalize()}\n\n{table}")
    if results.instructions:
        parts.append(_instructions(results.instructions))
    return "\n\n".join(parts)


def _system_tables(results: Results) -> Iterator[str]:
    rows = results.sections.get(SYSTEMS, {})
    bases = {name: short for name, short in BASES.items() if name in rows}
    for group in dict.fromkeys(metric.group for metric in METRICS):
        metrics = [each for each in _present(rows) if each.group == group]
        if metrics:
            yield f"### {group}\n\n{_table(rows, metrics, bases)}"


def _first(rows: Rows) -> dict[str, str]:
    """A sweep's first row is the base of its others."""
    return {next(iter(rows)): ""}


def _present(rows: Rows) -> list[Metric]:
    keys = {key for metrics in rows.values() for key in metrics}
    return [metric for metric in METRICS if metric.key in keys]


def _swept(rows: Rows) -> list[Metric]:
    return [metric for metric in _present(rows) if metric.key in SWEPT]


def _table(rows: Rows, metrics: list[Metric], bases: Mapping[str, str]) -> str:
    heads = [f"{metric.title}, {metric.unit}" for metric in metrics]
    lines = [f"| | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for row in rows:
        cells = [_cell(rows, row, metric, bases) for metric in metrics]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(rows: Rows, row: str, metric: Metric, bases: Mapping[str, str]) -> str:
    """Median [min-max], and the median beside that of each base."""
    rounds = rows[row].get(metric.key)
    if not rounds:
        return NOTHING
    spread = Spread.of(rounds)
    text = f"{spread.median:.{metric.digits}f}"
    if len(rounds) > 1:
        both = (f"{each:.{metric.digits}f}" for each in (spread.least, spread.most))
        text += f" [{'-'.join(both)}]"
    beside = [
        compared
        for base, short in bases.items()
        if base != row
        and (compared := _beside(spread, rows[base].get(metric.key), metric, short))
    ]
    return f"{text} **{', '.join(beside)}**" if beside and row != VETH else text


def _beside(
    spread: Spread, base: list[float] | None, metric: Metric, short: str
) -> str:
    if not base or metric.comparison is Comparison.NONE:
        return ""
    median = Spread.of(base).median
    if metric.comparison is Comparison.DIFFERENCE:
        return f"{short} {spread.median - median:+.{metric.digits}f}".strip()
    return f"{spread.median / median:.2f} {short}".strip() if median else ""


def _instructions(found: Mapping[str, float]) -> str:
    lines = ["| | instructions a frame |", "|---|---|"]
    lines += [f"| {name} | {count:.0f} |" for name, count in found.items()]
    return "### Instructions of the hot path, user space\n\n" + "\n".join(lines)


def _about(results: Results) -> str:
    about = results.about
    seconds = about.get("seconds")
    lines = [
        f"Median [min-max] of {results.rounds} rounds, interleaved, {seconds} s a"
        " measurement. R is the bare veth pair, E1 the eBPF redirect.",
        f"{about.get('cpus')} x {about.get('cpu')}, Linux {about.get('kernel')},"
        f" laggd {about.get('commit')}:"
        f" `{about.get('command')}`",
    ]
    if results.others:
        spread = Spread.of(results.others)
        lines.append(
            f"Just before a round others took {spread.median:.0f}"
            f" [{spread.least:.0f}-{spread.most:.0f}] % of the machine."
        )
    lines += [f"Not here: {name} ({why})." for name, why in results.absent.items()]
    return "\n\n".join(lines)
