"""Bytes: readiness, streams with and without TLS, relays, and the timers of a worker."""
