"""Commands; each module's docstring shows how to run it."""
