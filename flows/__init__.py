"""Prefect flows over DVC's own graph: order, placement, retries, progress.

This package is imported before Prefect and DVC, so it sets the environment variables that both read: no analytics;
heartbeats, by which the server finds runs whose process is gone; more patience with a server that is starting or
restarting. Variables that are already set keep their values.
"""

import os

DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_CLIENT_MAX_RETRIES": "8",
}

for _name, _value in DEFAULTS.items():
    os.environ.setdefault(_name, _value)
