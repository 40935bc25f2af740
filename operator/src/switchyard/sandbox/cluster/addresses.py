"""Loopback addresses for pods, and what a real API server gets to see instead.

Every pod has an address of its own between 127.64.0.0 and 127.95.255.255. A real API server refuses
loopback addresses in EndpointSlices, so against one the pods are advertised as 10.x.y.z and listen on
127.x.y.z; Services likewise.
"""

from __future__ import annotations

import random
import socket
from collections import deque

_FIRST_OCTET, _LAST_OCTET = 64, 95
_BLOCK_ADDRESSES = 64 * 256  # a quarter of a second octet


class AddressBook:
    """A block of pod addresses that no other sandbox on this machine uses.

    The block is claimed by listening on its first address; the socket serves the agents' own HTTP.
    """

    def __init__(self, *, is_mapped: bool) -> None:
        self.is_mapped = is_mapped
        self.socket, self._octet, self._quarter = _claim()
        self.agent_address = self._address(1)
        self._next = 2
        self._free: deque[str] = deque()

    @property
    def agent_port(self) -> int:
        """The port under which the agents answer on `agent_address`."""
        port: int = self.socket.getsockname()[1]
        return port

    def take(self) -> str:
        """An address for a pod to listen on. OverflowError when the block is used up."""
        if self._next < _BLOCK_ADDRESSES:
            while self._next % 256 in (0, 255):
                self._next += 1
            address = self._address(self._next)
            self._next += 1
            return address
        if not self._free:
            raise OverflowError("no pod address left")
        return self._free.popleft()

    def give_back(self, address: str) -> None:
        """Free an address; it is handed out again as late as possible."""
        self._free.append(address)

    def advertise(self, address: str) -> str:
        """How the API server gets to know an address that is listened on."""
        return advertise(address) if self.is_mapped else address

    def _address(self, number: int) -> str:
        return f"127.{self._octet}.{self._quarter * 64 + number // 256}.{number % 256}"


def advertise(address: str) -> str:
    """10.x.y.z for 127.x.y.z."""
    return "10." + address.partition(".")[2]


def listen_address(address: str) -> str:
    """Where something advertised really listens: 127.x.y.z for 10.x.y.z, everything else as it is."""
    return "127." + address.partition(".")[2] if address.startswith("10.") else address


def _claim() -> tuple[socket.socket, int, int]:
    blocks = [(octet, quarter) for octet in range(_FIRST_OCTET, _LAST_OCTET + 1) for quarter in range(4)]
    random.shuffle(blocks)
    for octet, quarter in blocks:
        candidate = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            candidate.bind((f"127.{octet}.{quarter * 64}.1", 10250))
            candidate.listen(128)
        except OSError:
            candidate.close()
            continue
        candidate.setblocking(False)
        return candidate, octet, quarter
    raise OSError("no block of loopback addresses between 127.64.0.0 and 127.95.255.255 is free")
