"""What ``vitrail data check`` looks for, one kind of fault a file; ``codes.py`` lists them all."""
