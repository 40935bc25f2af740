"""Ways of routing: how the traffic of a workload is moved between its tracks."""
