"""Sources of measurements: Prometheus, the pods themselves, OpenCost; and the task that asks them."""
