"""Cards that describe weights, the files that hold them, and the catalogue of what ships."""
