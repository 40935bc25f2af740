"""How many bytes are held for copies: one budget for all of them, and a share of it for each request."""

from __future__ import annotations


class Budget:
    """Bytes that may be held at one time, by whoever asks first."""

    __slots__ = ("held_bytes", "limit_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0

    def open_share(self) -> Share:
        """A share that holds nothing yet."""
        return Share(self)


class Share:
    """What is held for one request and its copies. Given back as a whole, after which nothing more is had."""

    __slots__ = ("_budget", "_is_released", "held_bytes")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._is_released = False
        self.held_bytes = 0

    def take(self, size_bytes: int) -> bool:
        """Whether so much more may be held."""
        budget = self._budget
        if self._is_released or budget.held_bytes + size_bytes > budget.limit_bytes:
            return False
        budget.held_bytes += size_bytes
        self.held_bytes += size_bytes
        return True

    def release(self) -> None:
        """Give all of it back; again, and nothing happens."""
        self._is_released = True
        self._budget.held_bytes -= self.held_bytes
        self.held_bytes = 0
