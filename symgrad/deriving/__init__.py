"""Stage 4: from a model and a variable to a derivation in named steps."""
