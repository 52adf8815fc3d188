"""The process beside the workers: totals, the admin port, spans for collectors."""
