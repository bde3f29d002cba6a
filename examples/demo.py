"""Segment real photographs with the model that ships in the package; needs no network.

The photographs come with scikit-image: Chelsea the cat (CC0, Stefan van der Walt) and the
astronaut Eileen Collins (public domain, NASA).
"""

from pathlib import Path

import skimage

from vitrail.cli.main import main

PHOTOS = Path(skimage.__file__).parent / "data"

if __name__ == "__main__":
    main(
        [
            "predict",
            str(PHOTOS / "chelsea.png"),
            str(PHOTOS / "astronaut.png"),
            "--out=demo-output",
            "--crops",
            "--sheet",
        ]
    )
