"""What a router measures of the requests that pass: counts, times, pairs, and how they are read."""
