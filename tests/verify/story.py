# SPDX-License-Identifier: BSD-2-Clause
"""What tools/race tells: four scenes, each one certain schedule of one variant.

Owns where the threads are made to pause, and the words for how it ends.  What happens
between is what the program says it did.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.verify.checkers import ADDRESS, compile_command, must_run, run, sources
from tests.verify.variants import VARIANTS, Variant

# What the sanitizers say, and what we call it; the first that fits.
ENDS = {
    "division by zero": "division by zero: panic",
    "heap-use-after-free": "use after free",
    "null pointer": "null pointer: panic",
}
SENT = "sends the frame by port"


@dataclass(frozen=True, slots=True)
class Step:
    """Something that one of the two did, and the decision that came after it."""

    actor: str
    decision: int
    text: str


@dataclass(frozen=True, slots=True)
class Scene:
    """One variant, and after which of its steps the other thread gets the CPU."""

    title: str
    variant: str
    pauses: tuple[str, ...]
    moral: str


@dataclass(frozen=True, slots=True)
class Story:
    """What came of a scene."""

    scene: Scene
    steps: tuple[Step, ...]
    end: str
    is_good: bool


SCENES = (
    Scene(
        "lagg(4): the port count beside the port list",
        "V1",
        ("reads the count: 2", "lowers the count to 0"),
        "The count was checked; what is divided by is a later one.",
    ),
    Scene(
        "lagg(4): the protocol beside its private state",
        "V3",
        ("takes the pointer", "frees the old"),
        "The worker holds what the switch frees.",
    ),
    Scene(
        "the review's proposal: acquire and release on the count",
        "V2",
        ("reads the count: 2", "lowers the count to 1"),
        "Every access is atomic and in order; the two values still are of two times.",
    ),
    Scene(
        "laggd: one immutable snapshot, one epoch",
        "ours",
        ("takes entry 2", "leaves the section"),
        "Count, list and port are of one time, until the worker is out.",
    ),
)


def variant_of(scene: Scene) -> Variant:
    return next(each for each in VARIANTS if each.name == scene.variant)


def build(variant: Variant, directory: Path) -> Path:
    """Compiles the program that runs schedules; returns where it is."""
    tree = sources(variant, directory)
    command = compile_command(variant, "gcc", ADDRESS)
    must_run([*command, "tests/verify/schedules.c", "-o", "schedules"], tree)
    return tree


def replay(tree: Path, decisions: Iterable[int]) -> tuple[list[Step], str]:
    """The steps of one schedule, and all that was printed."""
    schedule = ",".join(map(str, decisions))
    output = run(["./schedules", "replay", schedule], tree).output
    lines = re.findall(r"^(worker|control)\t(\d+)\t(.*)$", output, re.MULTILINE)
    return [Step(actor, int(after), text) for actor, after, text in lines], output


def find_schedule(scene: Scene, tree: Path) -> list[int]:
    """The decisions at which it switches, found one after the other by running it."""
    decisions: list[int] = []
    for pause in scene.pauses:
        steps, output = replay(tree, decisions)
        at = (s.decision for s in steps if s.text.startswith(pause))
        later = [d for d in at if not decisions or d > decisions[-1]]
        assert later, f"{scene.title}: never '{pause}'\n{output}"
        decisions.append(later[0])
    return decisions


def tell(scene: Scene, directory: Path) -> Story:
    """Runs the scene; 'directory' is empty."""
    tree = build(variant_of(scene), directory)
    steps, output = replay(tree, find_schedule(scene, tree))
    end = next((said for sign, said in ENDS.items() if sign in output), "")
    is_good = output.endswith("the end\n")
    assert is_good != bool(end), output
    shown = up_to_closing(steps) if is_good else steps
    return Story(scene, tuple(shown), end or "nothing lost, nothing torn", is_good)


def up_to_closing(steps: list[Step]) -> list[Step]:
    """Then it only puts back what it took away."""
    last = next(i for i, step in enumerate(steps) if step.text.startswith("closes"))
    return steps[: last + 1]
