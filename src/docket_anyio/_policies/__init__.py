"""Behaviour declared on a task: frozen, one instance for every run."""
