"""The sandbox's gateway: route kinds, their controller, and a proxy that honours them over real HTTP."""
