"""What runs a router and speaks for it: configuration, admin port, worker processes, drain."""
