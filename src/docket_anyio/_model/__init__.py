"""Values and decisions: no await, no I/O."""
