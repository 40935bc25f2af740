"""Exit codes that commands share in which 2 says that a cutover was rolled back, and never wrong usage."""

from __future__ import annotations

from typing import Any

import click

ERROR = 1
INTERRUPTED = 130  # as shells tell it


def end_with_error(error: click.UsageError) -> None:
    """Let a usage error end with 1 instead of 2."""
    error.exit_code = ERROR  # type: ignore[misc]  # click reads it from the instance


class UsageEndsWithOne(click.Command):
    """A command whose usage errors end with 1."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """The context; a usage error ends with 1."""
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            end_with_error(error)
            raise
