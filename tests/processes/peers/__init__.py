"""Programs of other people's libraries, each run as a process of its own."""
