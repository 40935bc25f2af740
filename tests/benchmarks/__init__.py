"""Benchmarks, run by hand with `python -m tests.benchmarks`: reported, never asserted on time."""
