"""Which generated identities are worth training on: no face on the back, one person in all views.

The scores are kept for all; thresholds are applied afterwards and may change without anything being made again.
"""
