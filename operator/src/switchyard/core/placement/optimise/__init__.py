"""The optimiser: the placement problem as a mixed-integer programme, solved part by part."""

from __future__ import annotations

from switchyard.core.placement.optimise.optimiser import Optimiser

__all__ = ["Optimiser"]
