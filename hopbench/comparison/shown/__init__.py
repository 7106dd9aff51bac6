"""A verdict as text: for a terminal, and for a comment."""
