"""Services, their endpoints, the pools of connections to them, and forwarding."""
