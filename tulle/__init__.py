"""The command line: every command is a call into the packages below."""
