"""Moving a live workload: evidence, gates and the machine. Pure."""
