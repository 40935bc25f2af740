"""A simulated model server: real HTTP, invented answers, latency that follows the accelerator."""

from switchyard.sandbox.modelserver.options import ServerOptions, parse_options
from switchyard.sandbox.modelserver.server import ModelServer

__all__ = ["ModelServer", "ServerOptions", "parse_options"]
