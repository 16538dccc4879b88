"""Where the body of a task runs."""
