"""Networks of other projects' estimators in plain PyTorch, under the names that their checkpoints use."""
