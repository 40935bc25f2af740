"""What a router measures of the requests that pass: counts, times, pairs, and how they are read."""

from switchyard.dataplane.measure.measurements import Measurements

__all__ = ["Measurements"]
