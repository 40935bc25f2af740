"""Measuring a running endpoint: load, what callers see of it, and the profile that follows."""
