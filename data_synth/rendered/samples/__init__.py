"""Training samples from rendered people: a photo, what the estimator says of it, and true views."""
