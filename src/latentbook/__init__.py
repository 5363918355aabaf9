"""latentbook."""
