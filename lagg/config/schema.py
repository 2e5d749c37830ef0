# SPDX-License-Identifier: BSD-2-Clause
"""The JSON Schema of a configuration file, for editors, made from the rules themselves.

`python -m lagg.config.schema` prints it; packaging/laggd.schema.json is that.  What
holds between two keys or two laggs a schema cannot say: `laggctl check` does.
"""

import json
from collections.abc import Callable, Mapping
from functools import partial

from lagg.config.rules import (
    ALTNAME_BYTES_MAX,
    ALTNAMES_MAX,
    BASIC_RULES,
    NAME_BYTES_MAX,
    OPTION_RULES,
    PORT_RULES,
    altnames,
    layers,
    mac_or_auto,
    name_or_none,
    parse_mac,
    parse_proto,
    switch,
    whole_number,
    word_of,
)
from lagg.model import HashLayer, Proto
from lagg.options import PORTS_MAX

Schema = dict[str, object]

_NAME: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": NAME_BYTES_MAX,
    "pattern": r"^(?!(\.|\.\.|all|default)$)[^/:%\s\u0000-\u001f\u007f]+$",
}
_ALTNAME: Schema = {**_NAME, "maxLength": ALTNAME_BYTES_MAX}
_MAC: Schema = {
    "type": "string",
    "pattern": r"^(?!00:00:00:00:00:00$)[0-9A-Fa-f][02468ACEace](:[0-9A-Fa-f]{2}){5}$",
}
_PLAIN: Mapping[object, Schema] = {
    switch: {"type": "boolean"},
    parse_mac: _MAC,
    name_or_none: {"anyOf": [_NAME, {"const": ""}]},
    mac_or_auto: {"anyOf": [_MAC, {"const": "auto"}]},
    parse_proto: {"enum": [proto.value for proto in Proto]},
    altnames: {
        "type": "array",
        "items": _ALTNAME,
        "maxItems": ALTNAMES_MAX,
        "uniqueItems": True,
    },
    layers: {
        "type": "array",
        "items": {"enum": [layer.value for layer in HashLayer]},
        "minItems": 1,
        "uniqueItems": True,
    },
}


def schema_of(rule: Callable[[object], object]) -> Schema:
    """What a rule allows.  KeyError for a rule that has no schema yet."""
    if isinstance(rule, partial) and rule.func is whole_number:
        least, most = rule.keywords["least"], rule.keywords["most"]
        return {"type": "integer", "minimum": least, "maximum": most}
    if isinstance(rule, partial) and rule.func is word_of:
        return {"enum": [each.value for each in rule.keywords["kind"]]}
    return _PLAIN[rule]


def schema() -> Schema:
    """The schema of a whole file."""
    ports: Schema = {"type": "array", "items": _NAME, "uniqueItems": True}
    ports["maxItems"] = PORTS_MAX
    port = _table({key: schema_of(rule) for key, rule in PORT_RULES.items()})
    keys: dict[str, Schema] = {"name": _NAME, "ports": ports}
    keys |= {key: schema_of(rule) for key, rule in BASIC_RULES.items()}
    keys |= {key: schema_of(rule) for key, rule in OPTION_RULES.items()}
    keys["port"] = {"type": "object", "additionalProperties": port}
    lagg = _table(keys) | {"required": ["name"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "laggd.toml",
        **_table({"lagg": {"type": "array", "items": lagg}}),
    }


def _table(keys: Mapping[str, Schema]) -> Schema:
    return {"type": "object", "properties": keys, "additionalProperties": False}


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2))
