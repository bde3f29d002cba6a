"""The command line: one thin file a verb; all work is done by the package."""
