"""A cluster, a path and users in memory, in simulated time, for the loop and the cutovers that ship."""
