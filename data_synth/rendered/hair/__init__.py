"""Strand hair: styles, growth on a head, beards and brows."""
