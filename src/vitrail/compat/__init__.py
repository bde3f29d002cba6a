"""The calls of other libraries on vitrail's own models, for code that was written for those."""
