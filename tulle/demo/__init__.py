"""``tulle demo``: a small mesh of real processes on loopback, and what it does."""
