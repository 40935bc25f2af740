"""kopf, the reader and the audit together against an API server whose watches lose events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.shipped_kinds import read_definitions

from switchyard.adapters.connection import connect
from switchyard.adapters.resources import NODES
from switchyard.adapters.runtime import Operator, Options
from switchyard.core.world import World
from switchyard.engine.settings import OperatorSettings
from switchyard.sandbox.handle import Sandbox

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@dataclass
class Rig:
    sandbox: Sandbox
    operator: Operator

    def world(self) -> World:
        snapshot = self.operator.reader.snapshot(datetime.now(UTC))
        assert isinstance(snapshot, World), snapshot
        return snapshot

    def nodes(self) -> set[str]:
        return {node.name for node in self.world().nodes}

    async def add_node(self, name: str) -> None:
        await self.sandbox.client.request("POST", "/api/v1/nodes", body={"metadata": {"name": name}})

    async def until(self, is_true: Callable[[], bool], seconds: float = 20.0) -> None:
        async with asyncio.timeout(seconds):
            while not is_true():  # noqa: ASYNC110 - polls with a deadline
                await asyncio.sleep(0.02)


def with_rig(scenario: Callable[[Rig], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario beside an operator in this process."""

    async def main() -> None:
        sandbox = await Sandbox(fleet=None, controllers=False).start()
        for document in read_definitions():
            await sandbox.client.request("POST", CRDS, body=document)
        connection = await connect(str(sandbox.kubeconfig_path))
        operator = Operator(Options(OperatorSettings(), host="127.0.0.1", port=0), connection)
        rig = Rig(sandbox, operator)
        await rig.add_node("n1")
        await rig.add_node("n2")
        running = asyncio.create_task(operator.run())
        try:
            await rig.until(lambda: operator.memory.is_complete)
            await rig.until(lambda: rig.nodes() >= {"n1", "n2"})
            await scenario(rig)
        finally:
            running.cancel()
            # both at once: kopf waits for every task of the loop, and the server has some for each watch
            await asyncio.gather(running, sandbox.stop(), return_exceptions=True)

    asyncio.run(main())


def test_a_deletion_that_the_watch_lost_is_found_by_a_list() -> None:
    async def scenario(rig: Rig) -> None:
        await rig.sandbox.faults.add("drop-events", resource="nodes", every=1, count=0)
        await rig.sandbox.client.request("DELETE", "/api/v1/nodes/n2")
        await asyncio.sleep(0.3)  # an event that is lost has no sign to wait for
        assert "n2" in rig.nodes()
        await rig.operator.audit.look_at(NODES)
        assert "n2" not in rig.nodes()
        assert "n1" in rig.nodes()

    with_rig(scenario)


def test_a_watch_that_loses_changes_is_proven_stale_and_cleared_when_it_catches_up() -> None:
    async def scenario(rig: Rig) -> None:
        await rig.sandbox.faults.add("drop-events", resource="nodes", every=1, count=0)
        await rig.add_node("n3")
        await rig.operator.audit.look_at(NODES)
        assert rig.operator.audit.stale_kinds() == {}
        await rig.operator.audit.look_at(NODES)
        assert "nodes" in rig.operator.audit.stale_kinds()
        await rig.sandbox.faults.clear()
        await rig.sandbox.faults.add("compact-history")
        await rig.sandbox.faults.add("cut-watches")
        await rig.until(lambda: "n3" in rig.nodes())
        await rig.operator.audit.look_at(NODES)
        assert rig.operator.audit.stale_kinds() == {}

    with_rig(scenario)


def test_what_was_deleted_while_the_history_expired_does_not_stay() -> None:
    async def scenario(rig: Rig) -> None:
        await rig.sandbox.faults.add("drop-events", resource="nodes", every=1, count=1)
        await rig.sandbox.client.request("DELETE", "/api/v1/nodes/n2")
        await rig.sandbox.faults.add("compact-history")
        await rig.sandbox.faults.add("cut-watches")
        await rig.add_node("n2")  # the same name, another object
        await rig.add_node("n4")
        await rig.until(lambda: "n4" in rig.nodes())
        await rig.operator.audit.look_at(NODES)
        held = [entry.uid for entry in rig.operator.memory.entries("nodes")]
        assert len(held) == len(set(held)) == len(rig.world().nodes)

    with_rig(scenario)
