"""The accelerators that Switchyard knows, as data with sources."""

from __future__ import annotations

from switchyard.catalog.accelerator import Accelerator, Catalog, Source, Taint
from switchyard.catalog.loading import CatalogError, describe_entry, load_catalog, read_catalog

__all__ = [
    "Accelerator",
    "Catalog",
    "CatalogError",
    "Source",
    "Taint",
    "describe_entry",
    "load_catalog",
    "read_catalog",
]
