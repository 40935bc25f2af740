"""Where the `cutover` commands look for plans, and how they end when something is wrong."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from switchyard.cli.exit_codes import ERROR, INTERRUPTED, UsageEndsWithOne, end_with_error

if TYPE_CHECKING:
    from switchyard.cli.cutover_cluster import Cluster
    from switchyard.cli.cutover_plan import Plan


class CutoverGroup(UsageEndsWithOne, click.Group):
    """A group whose usage errors end with 1: 2 says that a cutover rolled back."""

    def invoke(self, ctx: click.Context) -> Any:
        """What the command returns; what it refuses is told on standard error, and it ends with 1."""
        from switchyard.cli.cutover_plan import CutoverError

        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            end_with_error(error)
            raise
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None
        except CutoverError as error:
            for problem in error.problems:
                click.echo(f"error: {problem}", err=True)
            raise SystemExit(ERROR) from None


@dataclass(frozen=True, slots=True)
class Place:
    """Where plans are looked for."""

    namespace: str | None
    kubeconfig: str | None
    context: str | None
    given: Cluster | None = None  # instead of the one that the kubeconfig names

    @contextmanager
    def reach(self) -> Iterator[tuple[Cluster, str]]:
        """The cluster, and the namespace. Raises CutoverError."""
        if self.given is not None:
            yield self.given, self.namespace or self.given.default_namespace
            return
        from switchyard.cli.cutover_cluster import reach_cluster

        with reach_cluster(self.kubeconfig, self.context) as cluster:
            yield cluster, self.namespace or cluster.default_namespace


def in_place(call: Callable[..., None]) -> Callable[..., None]:
    """The command with the options that say which cluster and namespace; it gets them as `place`."""

    @click.option("-n", "--namespace", help="Namespace of the plan. Default: that of the context.")
    @click.option(
        "--kubeconfig",
        type=click.Path(dir_okay=False),
        help="Kubeconfig file. Default: $KUBECONFIG, ~/.kube/config.",
    )
    @click.option("--context", help="Context of the kubeconfig. Default: its current one.")
    @functools.wraps(call)
    def wrapped(namespace: str | None, kubeconfig: str | None, context: str | None, **options: Any) -> None:
        given = click.get_current_context().obj
        call(place=Place(namespace, kubeconfig, context, given), **options)

    return wrapped


def read_all(bodies: list[Any]) -> list[Plan]:
    """The plans that can be read; of the others a note says why not."""
    from switchyard.cli.cutover_plan import CutoverError, read_plan

    plans = []
    for body in bodies:
        try:
            plans.append(read_plan(body))
        except CutoverError as error:
            click.echo(f"note: {error}", err=True)
    return plans


def write_file(filename: str, content: bytes, *, is_private: bool = False) -> None:
    """Write a file; a private one can be read by its owner alone. Raises CutoverError."""
    from switchyard.cli.cutover_plan import CutoverError

    path = Path(filename)
    try:
        if is_private:
            path.touch(mode=0o600)
            path.chmod(0o600)
        path.write_bytes(content)
    except OSError as error:
        raise CutoverError(f"--filename {filename}: can't be written: {error.strerror}") from None
