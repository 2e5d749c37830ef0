# SPDX-License-Identifier: BSD-2-Clause
"""A watch is written as a table or as words, and a bad one is refused by its key."""

import pytest

from lagg.config.files import ConfigError, parse_toml, to_toml
from lagg.config.requests import parse_create, parse_set
from lagg.errors import BadRequestError
from lagg.model import LaggConfig
from lagg.records import options_record
from lagg.watches import Answer, LinkWatch, WatchKind, WatchPolicy

FULL = LinkWatch(
    WatchKind.ARP,
    targets=("192.0.2.1", "192.0.2.2"),
    interval_ms=100,
    missed_max=2,
    init_wait_ms=50,
    vlan=(100, 10),
    ports=("eth0",),
    source="192.0.2.77",
    target_mac="02:00:5e:00:53:77",
    answer=Answer.LAGG,
)
WORDS = (
    "arp,target=192.0.2.1,target=192.0.2.2,interval_ms=100,missed_max=2,"
    "init_wait_ms=50,vlan=100.10,port=eth0,source=192.0.2.77,target_mac=02:00:5e:00:53:77,answer=lagg"
)
TABLE = """\
[[lagg]]
name = "lagg0"
proto = "failover"
ports = ["eth0", "eth1"]
watch_policy = "any"
[[lagg.watch]]
kind = "arp"
target = ["192.0.2.1", "192.0.2.2"]
interval_ms = 100
missed_max = 2
init_wait_ms = 50
vlan = [100, 10]
ports = ["eth0"]
source = "192.0.2.77"
target_mac = "02:00:5e:00:53:77"
answer = "lagg"
[[lagg.watch]]
kind = "ns"
target = ["2001:db8::1"]
"""


def test_a_table_and_words_say_the_same() -> None:
    (config,) = parse_toml(TABLE, "file")
    assert config.options.watch == (
        FULL,
        LinkWatch(WatchKind.NS, targets=("2001:db8::1",)),
    )
    assert config.options.watch_policy is WatchPolicy.ANY
    change = parse_set("lagg0", {"watch": [WORDS, "ns,target=2001:DB8:0::1"]})
    assert dict(change.options)["watch"] == config.options.watch


def test_what_is_saved_is_what_was_read() -> None:
    (config,) = parse_toml(TABLE, "file")
    assert to_toml([config]) == TABLE


def test_a_record_has_the_words_that_set_it() -> None:
    config = parse_create("lagg0", {"ports": ["eth0"], "watch": [WORDS]})
    assert options_record(config.options)["watch"] == [WORDS]


@pytest.mark.parametrize(
    "words", ["bfd", "bfd,interval_ms=100", "bfd,target=2001:db8::2,source=2001:db8::1"]
)
def test_bfd_takes_both_addresses_or_none(words: str) -> None:
    config = parse_create("lagg0", {"ports": ["eth0"], "watch": [words]})
    assert options_record(config.options)["watch"] == [words]


def test_words_of_none_are_no_watch() -> None:
    assert parse_create("lagg0", {"watch": []}) == LaggConfig("lagg0")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("", "watch[0].kind: '' is not one of arp, ns, bfd, poll"),
        (
            "arq,target=192.0.2.1",
            "watch[0].kind: 'arq' is not one of arp, ns, bfd, poll (did you mean arp?)",
        ),
        ("arp", "watch[0]: arp needs a target"),
        (
            "arp,target=192.0.2.256",
            "watch[0].target: '192.0.2.256' is not an IP address",
        ),
        (
            "arp,target=2001:db8::1",
            "watch[0].target: 2001:db8::1 is not an IPv4 address, as arp needs it",
        ),
        (
            "ns,target=192.0.2.1",
            "watch[0].target: 192.0.2.1 is not an IPv6 address, as ns needs it",
        ),
        (
            "arp,target=224.0.0.1",
            "watch[0].target: '224.0.0.1' is no address of one host on a link",
        ),
        (
            "arp,target=192.0.2.1,target=192.0.2.1",
            "watch[0].target: 192.0.2.1 is given more than once",
        ),
        (
            "arp,target=192.0.2.1,interval_ms=5",
            "watch[0].interval_ms: 5 is not a whole number from 10 to 3600000",
        ),
        (
            "arp,target=192.0.2.1,interval_ms=1e3",
            "watch[0].interval_ms: '1e3' is not a whole number from 10 to 3600000",
        ),
        (
            "arp,target=192.0.2.1,missed_max=0",
            "watch[0].missed_max: 0 is not a whole number from 1 to 255",
        ),
        (
            "arp,target=192.0.2.1,vlan=4095",
            "watch[0].vlan: 4095 is not a whole number from 1 to 4094",
        ),
        (
            "arp,target=192.0.2.1,vlan=1.2.3",
            "watch[0].vlan: [1, 2, 3] is not one or two VLAN ids",
        ),
        (
            "arp,target=192.0.2.1,interval=100",
            "watch[0].'interval': unknown key (did you mean interval_ms?); one of"
            " kind, target, interval_ms, missed_max, init_wait_ms, vlan, ports,"
            " source, target_mac, answer",
        ),
        ("arp,192.0.2.1", "watch[0]: '192.0.2.1' is not as interval_ms=100"),
        (
            "arp,target=192.0.2.1,answer=all",
            "watch[0].answer: 'all' is not one of port, lagg",
        ),
        (
            "arp,target=192.0.2.1,missed_max=1,missed_max=2",
            "watch[0].missed_max: is given more than once",
        ),
        ("poll,target=192.0.2.1", "watch[0].target: poll takes none"),
        (
            "bfd,target=192.0.2.1,target=192.0.2.2",
            "watch[0].target: bfd takes one",
        ),
        (
            "bfd,target=192.0.2.1",
            "watch[0]: bfd needs target and source, the partner's address and ours,"
            " or neither",
        ),
        (
            "bfd,source=192.0.2.1",
            "watch[0]: bfd needs target and source, the partner's address and ours,"
            " or neither",
        ),
        (
            "bfd,target=192.0.2.1,source=2001:db8::1",
            "watch[0].source: is not of the target's family",
        ),
        ("bfd,vlan=10", "watch[0].vlan: bfd takes none"),
    ],
)
def test_a_bad_one_is_refused_by_its_key(words: str, complaint: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        parse_set("lagg0", {"watch": [words]})
    assert str(refused.value).startswith(f"lagg0: {complaint} (")


def test_the_same_watch_twice_is_refused() -> None:
    with pytest.raises(BadRequestError, match=r"watch\[1\]: is given more than once"):
        parse_set("lagg0", {"watch": [WORDS, WORDS]})


def test_a_watch_of_a_port_that_is_none_is_a_slip() -> None:
    text = TABLE.replace('ports = ["eth0"]', 'ports = ["eth7"]')
    with pytest.raises(ConfigError) as refused:
        parse_toml(text, "file")
    assert str(refused.value) == (
        "file: lagg0: watch[0].ports: eth7 is not in ports (did you mean eth1?)"
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("bfd", "bfd,interval_ms=100"),
        ("bfd,port=eth0,port=eth1", "bfd,missed_max=5,port=eth1"),
        ("arp,target=192.0.2.1", "arp,target=192.0.2.1,init_wait_ms=9,port=eth1"),
    ],
)
def test_a_port_is_asked_the_same_by_one_watch(first: str, second: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        parse_set("lagg0", {"watch": [first, second]})
    assert str(refused.value).startswith(f"lagg0: watch[1]: asks a port what {first}")


def test_of_each_port_the_same_may_be_asked_at_a_pace_of_its_own() -> None:
    watches = ["bfd,interval_ms=100,port=eth0", "bfd,port=eth1", "arp,target=192.0.2.1"]
    assert len(dict(parse_set("lagg0", {"watch": watches}).options)["watch"]) == 3  # type: ignore[arg-type]
