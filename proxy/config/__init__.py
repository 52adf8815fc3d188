"""The configuration: its model, its file, and everything that can be wrong with it."""

from proxy.config.loader import load, parse, read_text
from proxy.config.problems import ConfigErrors, Problem
from proxy.config.render import default_config

__all__ = ["ConfigErrors", "Problem", "default_config", "load", "parse", "read_text"]
