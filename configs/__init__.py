"""Model, training, data and evaluation settings as YAML files."""
