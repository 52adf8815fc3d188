"""The configuration: its model, its file, and everything that can be wrong with it."""
