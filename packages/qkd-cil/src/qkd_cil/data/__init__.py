"""Images, and how they come as a sequence of tasks."""
