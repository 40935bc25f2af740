"""Switchyard: place inference workloads on heterogeneous accelerators by latency objectives and cost."""
