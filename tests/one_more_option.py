# SPDX-License-Identifier: BSD-2-Clause
"""A laggd with one more option of a lagg, and of a port: a row and a field for each.

Run as a program, for all that is made of the rows is made when it is imported; prints
what then knows the options, as JSON.
"""

import json
from types import ModuleType
from typing import Any, get_type_hints

import lagg.model
import lagg.options
import lagg.port_options
from lagg.frozen import dataclass
from lagg.option_row import FreeBSD, Option, Whole

COLOUR = Option(
    "lacp_colour",
    Whole(3, 9),
    help="how LACPDUs are painted",
    sentence="The colour of a LACPDU.",
    protos=("lacp",),
    freebsd=FreeBSD(word="colour", flag="COLOUR", bit=0x200, knob="lacp.colour"),
)
DEFAULT = 5

Table = tuple[ModuleType, str]
"""Where a table of rows is."""

WEIGHT = Option(
    "lacp_weight", Whole(0, 1000), help="grams", sentence="What a port weighs."
)


def add(table: Table, twin: str, row: Option, default: int) -> None:
    """The row to its table, and to the twin a field."""
    module, name = table
    setattr(module, name, (*getattr(module, name), row))
    body = {"__annotations__": {row.key: int}, row.key: default}
    longer = type(twin, (getattr(lagg.model, twin),), body)
    setattr(lagg.model, twin, dataclass(frozen=True, slots=True)(longer))


def of_configuration() -> dict[str, Any]:
    """What a file may say, what is refused, and what `save` writes."""
    from lagg.config.files import ConfigError, parse_toml, to_toml
    from lagg.config.schema import schema

    head = "[[lagg]]\nname = 'lagg0'\nproto = 'lacp'\nports = ['eth0']\n"
    port = "[lagg.port.eth0]\nlacp_weight = {}\n"
    good = parse_toml(f"{head}lacp_colour = 7\n{port.format(80)}", "file")
    try:
        parse_toml(f"{head}lacp_colour = 2\n{port.format(1001)}", "file")
    except ConfigError as error:
        complaints = [*map(str, error.complaints)]
    shape: Any = schema()["properties"]
    keys = shape["lagg"]["items"]["properties"]
    return {
        "saved": to_toml(good),
        "again": parse_toml(to_toml(good), "file") == good,
        "complaints": complaints,
        "schema": keys["lacp_colour"],
        "schema of a port": keys["port"]["additionalProperties"]["properties"][
            "lacp_weight"
        ],
    }


def of_socket() -> dict[str, Any]:
    """What crosses the control socket."""
    from lagg import records
    from lagg.control import messages
    from lagg.control.interface import LaggInterface

    description = LaggInterface.render_interface_description()
    change = vars(messages)["PortOptionsChangeJson"]
    return {
        "record": records.options_record(lagg.model.Options())["lacp_colour"],
        "types": [
            get_type_hints(vars(module)[name])["lacp_colour"].__name__
            for module, name in (
                (records, "OptionsRecord"),
                (messages, "OptionsChangeJson"),
            )
        ],
        "type of a port": get_type_hints(change)["lacp_weight"].__name__,
        "varlink": sorted(
            word
            for word in ("lacp_colour: int", "lacp_colour: ?int", "lacp_weight: ?int")
            if word in description
        ),
    }


def of_client() -> dict[str, Any]:
    """What laggctl takes, and prints."""
    from lagg.cli.ifconfig_page import _option_lines as verbose_lines
    from lagg.cli.ifconfig_words import parse_line
    from lagg.cli.options import wanted, wanted_of_port
    from lagg.cli.parser import parsed
    from lagg.cli.show_page import _option_lines
    from lagg.cli.sysctl import KNOBS

    words = "set lagg0 --lacp-colour 7 --port eth0 --lacp-weight 80"
    line = parsed(words.split())
    record: Any = {"ports": [], "proto": "lacp", "lacp": None}
    record["options"] = {"flowid_shift": 16, "lacp_colour": 7}
    return {
        "options": wanted(line)["options"],
        "of a port": wanted_of_port(line),
        "show": [
            _option_lines(proto, {"lacp_colour": 7}) for proto in ("lacp", "failover")
        ],
        "ifconfig": parse_line(["lagg0", "colour", "7"]).steps,
        "ifconfig -v": verbose_lines(record)[1].strip(),
        "knob": KNOBS["net.link.lagg.lacp.colour"].key,
    }


def of_book() -> dict[str, Any]:
    """What the manual says and the completions offer."""
    from manual.complete import bash, fish, zsh
    from manual.pages import laggctl_page, toml_page

    return {
        "toml": [row.sentence in toml_page() for row in (COLOUR, WEIGHT)],
        "laggctl": [row.sentence in laggctl_page() for row in (COLOUR, WEIGHT)],
        "shells": ["lacp-colour" in made() for made in (bash, zsh, fish)],
    }


if __name__ == "__main__":
    add((lagg.options, "OPTIONS"), "Options", COLOUR, DEFAULT)
    add((lagg.port_options, "PORT_OPTIONS"), "PortOptions", WEIGHT, 0)
    found = (of_configuration(), of_socket(), of_client(), of_book())
    print(json.dumps(found))
