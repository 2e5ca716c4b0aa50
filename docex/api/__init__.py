"""The node's REST API: translates HTTP to use cases and back, nothing else."""
