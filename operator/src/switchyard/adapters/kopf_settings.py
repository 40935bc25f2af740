"""Every setting of kopf that differs from its default, with unit and the failure it prevents."""

from __future__ import annotations

from typing import Any

import kopf

from switchyard.adapters.resources import CHILDREN, MANAGED_SELECTOR, ROUTES
from switchyard.engine.backoff import Backoff

# A watch that says nothing for this long is dead: the API server sends a bookmark each minute.
WATCH_INACTIVITY_SECONDS = 70.0
# The API server ends a watch after this; without it a half-dead connection lives as long as it likes.
WATCH_SERVER_TIMEOUT_SECONDS = 290


class NoDiffBase(kopf.DiffBaseStorage):
    """No memory of earlier states: only change handlers read it, and there are none.

    kopf's default copies every object deeply at each event to compare it with an annotation of its own:
    a fifth of the processor time while a large world settles, and a write on users' objects were it used.
    """

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


def build_settings() -> kopf.OperatorSettings:
    """Settings for a process whose handlers never write."""
    settings = kopf.OperatorSettings()
    settings.persistence.diffbase_storage = NoDiffBase()

    # Endless: with the default eight retries a watcher gives up 54 s into an outage, and the process with it.
    # Jitter keeps nine watchers from coming back in step.
    settings.networking.error_backoffs = Backoff(base_seconds=0.5, ceiling_seconds=15.0)
    # seconds; the default of 300 lets one hanging list hold the first decision for five minutes
    settings.networking.request_timeout = 30.0
    # seconds; a black-holed address is noticed while somebody still waits
    settings.networking.connect_timeout = 5.0
    # a proxy from the environment must not get to see the token
    settings.networking.trust_env = False

    settings.watching.server_timeout = WATCH_SERVER_TIMEOUT_SECONDS
    # seconds, past the server's own end: the client ends only what the server forgot
    settings.watching.client_timeout = WATCH_SERVER_TIMEOUT_SECONDS + 30.0
    settings.watching.connect_timeout = 5.0
    settings.watching.inactivity_timeout = WATCH_INACTIVITY_SECONDS
    # seconds between two watches of a kind; keeps a server that closes at once from being hammered
    settings.watching.reconnect_backoff = 0.5
    # objects per page; one list of all pods of a big cluster would be one huge answer
    settings.watching.chunk_size = 500
    for resource in (*CHILDREN, *ROUTES):
        # without it every Deployment and Service of the cluster would be sent to us and kept
        settings.watching.label_selectors[resource.group, resource.version, resource.plural] = (
            MANAGED_SELECTOR
        )

    # no limit: one below the number of indexed objects waits for ever at start-up
    settings.queueing.worker_limit = None
    # seconds an idle per-object task stays; short, or a list of 5,000 nodes keeps 5,000 tasks around
    settings.queueing.idle_timeout = 1.0
    # the kinds are known before the start (adapters/route_kinds.py), so nothing is gained by watching all
    # CRDs and namespaces, and the role need not allow it
    settings.scanning.disabled = True
    # a peering object named "default" in the cluster would freeze us without a word
    settings.peering.standalone = True
    # kopf's Events get a random name each and are never aggregated; adapters/events.py records ours
    settings.posting.enabled = False
    settings.posting.loggers = False
    # seconds from the signal to the kill; below the 30 s that a pod gets
    settings.process.ultimate_exiting_timeout = 20.0
    return settings
