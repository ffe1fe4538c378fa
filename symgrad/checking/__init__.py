"""Stage 6: what is known about an equation, and how."""
