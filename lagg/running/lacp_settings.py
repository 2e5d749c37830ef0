# SPDX-License-Identifier: BSD-2-Clause
"""A lagg's options as the settings of its LACP.  Pure."""

from lagg.lacp.values import NS, Mac, Settings, System
from lagg.model import Options


def settings_of(options: Options, mac: Mac) -> Settings:
    """What the engine is to be set to; `mac` is the lagg's."""
    return Settings(
        system=System(options.lacp_system_priority, options.lacp_system or mac),
        active=options.lacp_active,
        fast=options.lacp_fast_timeout,
        strict=options.lacp_strict,
        key=options.lacp_key,
        ad_select=options.ad_select,
        max_ports=options.lacp_max_ports,
        min_links=max(options.lacp_min_links, options.min_links),
        fallback_ns=options.lacp_fallback_timeout * NS,
        coupled=options.lacp_coupled,
        txtest=options.lacp_txtest,
        rxtest=options.lacp_rxtest,
        port_offset=options.lacp_port_offset,
    )
