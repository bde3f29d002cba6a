"""One file a format; each reads a data set as a lazy sequence of ``Sample``."""
