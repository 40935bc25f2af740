"""HTTP/1.1 on both sides of the router: what callers send, what backends answer (RFC 9110, RFC 9112)."""
