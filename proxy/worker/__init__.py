"""One worker: the data path, and the process around it."""
