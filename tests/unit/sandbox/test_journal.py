import os
import signal
import subprocess
import sys

import pytest

from switchyard.sandbox.apiserver.journal import BrokenJournalError, Journal
from switchyard.sandbox.apiserver.store import Store

SHELF = ("", "configmaps")


def config(name, value):
    return {"metadata": {"namespace": "n", "name": name}, "data": {"v": value}}


def opened(path, fsync="never"):
    store, journal = Store(), Journal(path, fsync)
    journal.load_into(store)
    store.on_write(journal.record)
    return store, journal


def values(store):
    return {key[1]: item.obj["data"]["v"] for key, item in store.shelf(SHELF).items.items()}


@pytest.mark.parametrize("fsync", ["always", "interval", "never"])
def test_objects_and_the_version_are_there_after_a_restart(tmp_path, fsync):
    store, journal = opened(tmp_path / "objects", fsync)
    for name in ("a", "b", "c"):
        store.put(SHELF, config(name, 1))
    store.put(SHELF, config("a", 2))
    store.remove(SHELF, ("n", "b"))
    journal.close()
    again, _ = opened(tmp_path / "objects")
    assert values(again) == {"a": 2, "c": 1}
    assert again.resource_version == 5
    assert again.put(SHELF, config("d", 1)).version == 6


def test_a_deletion_as_the_last_write_keeps_its_version(tmp_path):
    store, journal = opened(tmp_path / "objects")
    store.put(SHELF, config("a", 1))
    store.remove(SHELF, ("n", "a"))
    journal.close()
    again, journal = opened(tmp_path / "objects")
    journal.close()
    again, _ = opened(tmp_path / "objects")
    assert again.resource_version == 2
    assert values(again) == {}


@pytest.mark.parametrize("torn_bytes", [2, 7, 60])
def test_a_torn_last_line_is_cut_off_and_the_rest_is_kept(tmp_path, torn_bytes):
    path = tmp_path / "objects"
    store, journal = opened(path)
    store.put(SHELF, config("a", 1))
    store.put(SHELF, config("b", 1))
    journal.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-torn_bytes])
    again, journal = opened(path)
    assert values(again) == {"a": 1}
    again.put(SHELF, config("c", 3))
    journal.close()
    assert values(opened(path)[0]) == {"a": 1, "c": 3}


def test_a_broken_line_before_others_is_refused_with_its_number(tmp_path):
    path = tmp_path / "objects"
    store, journal = opened(path)
    store.put(SHELF, config("a", 1))
    store.put(SHELF, config("b", 1))
    journal.close()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{not json}\n" + lines[2])
    with pytest.raises(BrokenJournalError, match=":2:"):
        opened(path)


def test_a_long_file_becomes_a_snapshot(tmp_path, monkeypatch):
    monkeypatch.setattr("switchyard.sandbox.apiserver.journal._REWRITE_BYTES", 2000)
    path = tmp_path / "objects"
    store, journal = opened(path)
    for value in range(500):
        store.put(SHELF, config("a", value))
    journal.close()
    assert path.stat().st_size < 5000
    again, _ = opened(path)
    assert values(again) == {"a": 499}
    assert again.resource_version == 500


WRITER = """
import sys
from pathlib import Path
from switchyard.sandbox.apiserver.journal import Journal
from switchyard.sandbox.apiserver.store import Store
store, journal = Store(), Journal(Path(sys.argv[1]), "never")
journal.load_into(store)
store.on_write(journal.record)
number = 0
while True:
    number += 1
    store.put(("", "configmaps"), {"metadata": {"namespace": "n", "name": "a"}, "data": {"v": number}})
    print(number, flush=True)
"""


def test_what_was_acknowledged_survives_kill_9(tmp_path):
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "objects")], stdout=subprocess.PIPE, text=True
    )
    acknowledged = [int(writer.stdout.readline()) for _ in range(200)][-1]
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()
    store, _ = opened(tmp_path / "objects")
    assert values(store)["a"] >= acknowledged
