"""The one path from any image to a result."""
