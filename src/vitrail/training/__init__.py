"""Training: a recipe, one explicit loop, a checkpoint with its card."""
