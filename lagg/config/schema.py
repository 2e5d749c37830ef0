# SPDX-License-Identifier: BSD-2-Clause
"""The JSON Schema of a configuration file, for editors, made from the rules themselves.

`python -m lagg.config.schema` prints it; packaging/laggd.schema.json is that.  What
holds between two keys or two laggs a schema cannot say: `laggctl check` does.
"""

import json
from collections.abc import Callable, Mapping
from functools import partial

from lagg.config.keys import BASIC_RULES, OPTION_RULES, PORT_RULES
from lagg.config.rules import (
    ALTNAME_BYTES_MAX,
    ALTNAMES_MAX,
    NAME_BYTES_MAX,
    altnames,
    layers,
    mac_or_auto,
    name_or_none,
    parse_mac,
    parse_name,
    parse_proto,
    pins,
    switch,
    whole_number,
    word_of,
)
from lagg.config.watches import (
    WATCH_RULES,
    an_address,
    several,
    vlan_ids,
    watches,
)
from lagg.model import ALL_LAYERS, BUCKETS, HashLayer, Proto
from lagg.options import PORTS_MAX
from lagg.watches import TAGS_MAX, VLAN_MAX, WATCHES_MAX

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
_VLAN: Schema = {"type": "integer", "minimum": 1, "maximum": VLAN_MAX}
_PLAIN: Mapping[object, Schema] = {
    switch: {"type": "boolean"},
    parse_mac: _MAC,
    parse_name: _NAME,
    an_address: {"type": "string", "pattern": "^[0-9A-Fa-f.:]+$"},
    vlan_ids: {
        "anyOf": [_VLAN, {"type": "array", "items": _VLAN, "maxItems": TAGS_MAX}]
    },
    name_or_none: {"anyOf": [_NAME, {"const": ""}]},
    mac_or_auto: {"anyOf": [_MAC, {"const": "auto"}]},
    parse_proto: {"enum": [proto.value for proto in Proto]},
    altnames: {
        "type": "array",
        "items": _ALTNAME,
        "maxItems": ALTNAMES_MAX,
        "uniqueItems": True,
    },
    pins: {
        "type": "array",
        "items": {"type": "string", "pattern": r"^[0-9]{1,3}=[^/:%\s]{1,15}$"},
        "maxItems": BUCKETS,
        "uniqueItems": True,
    },
    layers: {
        "type": "array",
        "items": {"enum": [layer.value for layer in HashLayer]},
        "contains": {"enum": [layer.value for layer in ALL_LAYERS]},
        "minItems": 1,
        "uniqueItems": True,
    },
}


def schema_of(rule: Callable[[object], object]) -> Schema:
    """What a rule allows.  KeyError for a rule that has no schema yet."""
    if isinstance(rule, partial) and rule.func is whole_number:
        least, most = rule.keywords["least"], rule.keywords["most"]
        number: Schema = {"type": "integer", "minimum": least, "maximum": most}
        word = rule.keywords.get("zero")
        return {"anyOf": [number, {"const": word}]} if word else number
    if isinstance(rule, partial) and rule.func is several:
        one = schema_of(rule.keywords["rule"])
        most = rule.keywords["most"]
        return {"anyOf": [one, {"type": "array", "items": one, "maxItems": most}]}
    if rule is watches:
        return _watches()
    if isinstance(rule, partial) and rule.func is word_of:
        return {"enum": [each.value for each in rule.keywords["kind"]]}
    return _PLAIN[rule]


def _watches() -> Schema:
    """Each a table, or its words."""
    keys = {key: schema_of(rule) for key, rule in WATCH_RULES.items()}
    table = _table(keys) | {"required": ["kind"]}
    items: Schema = {"anyOf": [table, {"type": "string"}]}
    return {"type": "array", "items": items, "maxItems": WATCHES_MAX}


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
