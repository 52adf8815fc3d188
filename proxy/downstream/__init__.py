"""The clients' side: accepting, serving requests, writing responses, opaque TCP."""
