"""Large answers are compared in a process apart, which ends with the router and may end before it."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from switchyard.core.routing.document import Arm, Arms, Comparator, RoutingDocument
from switchyard.dataplane.exchange import Answer, BodyTap
from switchyard.dataplane.judging import Judge, is_quick

DOCUMENT = RoutingDocument(
    version=1,
    arms=Arms(baseline=Arm(url="http://a:1")),
    comparators=(Comparator(type="json"), Comparator(type="exact")),
)


def answer(body, **headers):
    tap = BodyTap(1 << 20)
    tap.feed(body)
    return Answer(200, {"content-type": "application/json", **headers}, tap.close())


def numbers(count, last):
    return ("[" + ",".join(map(str, range(count))) + f",{last}]").encode()


def children():
    return {int(pid) for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()}


def test_only_what_is_small_and_plain_is_compared_at_once():
    small = answer(b"[1]")
    assert is_quick(small, small)
    assert not is_quick(small, answer(numbers(20_000, 1)))
    assert not is_quick(small, answer(b"x", **{"content-encoding": "gzip"}))


def test_large_answers_get_the_same_scores_as_small_ones():
    async def run():
        judge = Judge()
        try:
            small = await judge.judge(DOCUMENT, answer(b"[1,2]"), answer(b"[1,3]"))
            large = await judge.judge(DOCUMENT, answer(numbers(20_000, 1)), answer(numbers(20_000, 2)))
        finally:
            judge.close()
        assert (small["json"].value, small["exact"].value) == (0.5, 0.0)
        assert (round(large["json"].value, 3), large["exact"].value) == (1.0, 0.0)
        assert large["json"].value < 1

    asyncio.run(run())


def test_the_loop_turns_while_a_large_pair_is_compared():
    async def run():
        judge = Judge()
        one, other = answer(numbers(100_000, 1)), answer(numbers(100_000, 2))
        try:
            await judge.judge(DOCUMENT, one, other)  # the process has started
            comparing = asyncio.create_task(judge.judge(DOCUMENT, one, other))
            turns = 0
            while not comparing.done():
                await asyncio.sleep(0)
                turns += 1
        finally:
            judge.close()
        assert turns > 100

    asyncio.run(run())


def test_a_process_that_was_killed_costs_its_pairs_and_nothing_more():
    async def run():
        judge = Judge()
        before = children()
        one, other = answer(numbers(20_000, 1)), answer(numbers(20_000, 2))
        try:
            await judge.judge(DOCUMENT, one, other)
            for pid in children() - before:
                os.kill(pid, signal.SIGKILL)
            lost = await judge.judge(DOCUMENT, one, other)
            again = await judge.judge(DOCUMENT, one, other)
        finally:
            judge.close()
        assert not any(score.is_comparable for score in lost.values())
        assert all(score.is_comparable for score in again.values())

    asyncio.run(run())


def test_the_process_ends_with_a_router_that_was_killed():
    program = (
        "import asyncio, sys\n"
        "from tests.integration.test_router_judging import DOCUMENT, answer, children, numbers\n"
        "from switchyard.dataplane.judging import Judge\n"
        "async def main():\n"
        "    judge = Judge()\n"
        "    one = answer(numbers(20_000, 1))\n"
        "    await judge.judge(DOCUMENT, one, answer(numbers(20_000, 2)))\n"
        "    print(*children(), flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(main())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    started = [int(pid) for pid in parent.stdout.readline().split()]
    parent.kill()
    parent.wait()
    assert started
    deadline = time.monotonic() + 20
    while any(_is_alive(pid) for pid in started):
        assert time.monotonic() < deadline, "the comparing process outlived its router"
        time.sleep(0.02)


def _is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
