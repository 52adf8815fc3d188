"""The data plane: supervisor, agent, workers, listeners, codecs, upstreams, configuration."""
