"""The kernel's rules that bring a machine's TCP to the proxy: written, applied, undone."""
