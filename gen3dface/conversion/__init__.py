"""Public checkpoints to this package's, and back."""
