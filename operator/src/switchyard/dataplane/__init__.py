"""The data plane: a router that splits, shadows and compares real traffic, as a process of its own."""
