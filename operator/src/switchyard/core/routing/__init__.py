"""What a router is told and what it tells: routing document, matching, traffic plans, samples. Pure."""
