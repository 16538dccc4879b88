"""The way in: the docket, what is added to it, and what came of it."""
