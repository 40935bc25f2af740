"""Log lines: one JSON object or one readable line per transition, never a token."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, Literal

LogFormat = Literal["json", "text"]

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, then the fields given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **extra_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """`12:00:01 INFO  message  key=value …` for people."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        fields = "".join(f"  {key}={value}" for key, value in extra_fields(record).items())
        line = f"{at} {record.levelname:<7} {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def extra_fields(record: logging.LogRecord) -> dict[str, Any]:
    """What was given as `extra`; kopf's own attachments (whole objects) are left out."""
    return {
        key: value
        for key, value in vars(record).items()
        if key not in _STANDARD and not key.startswith(("_", "k8s_", "settings"))
    }


class FirstAttempts(logging.Filter):
    """Passes kopf's line about a failed request for its first attempt, not for each retry."""

    _RETRY = re.compile(r"Request attempt #(\d+) failed; will retry")

    def filter(self, record: logging.LogRecord) -> bool:
        retry = self._RETRY.match(record.getMessage())
        return retry is None or retry[1] == "1"


def configure_logging(log_format: LogFormat, *, is_verbose: bool = False) -> None:
    """Send every line to stderr in the given format; libraries only from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    handler.addFilter(FirstAttempts())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("switchyard").setLevel(logging.DEBUG if is_verbose else logging.INFO)
