"""From views to a textured head."""
