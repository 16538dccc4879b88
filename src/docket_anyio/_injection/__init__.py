"""What a task asks for in its signature."""
