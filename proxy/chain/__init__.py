"""Chains as they run: filters built, timed and blamed, and the tasks beside an exchange."""
