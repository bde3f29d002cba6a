"""Reading labelled data sets, and augmenting them."""
