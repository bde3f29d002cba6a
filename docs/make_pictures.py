"""Make the README's pictures again: python docs/make_pictures.py

From photographs that come with scikit-image: Chelsea the cat (CC0, Stefan van der Walt), the
astronaut Eileen Collins (public domain, NASA), a cup of coffee (CC0, Rachel Michetti).
"""

from pathlib import Path

from skimage import data

import vitrail
from vitrail.result.legend import contact_sheet
from vitrail.result.write import write_picture

IMAGES = Path(__file__).parent / "images"


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    subjects = vitrail.load("subjects")
    photos = {"chelsea": data.chelsea(), "astronaut": data.astronaut(), "coffee": data.coffee()}
    overlays = [(name, subjects(photo).plot()) for name, photo in photos.items()]
    write_picture(IMAGES / "demo.jpg", contact_sheet(overlays, columns=3))

    photo = photos["coffee"]
    methods = {
        "kmeans, k=3": vitrail.load("kmeans", k=3),
        "edges, sobel": vitrail.load("edges"),
        "threshold, mean": vitrail.load("threshold"),
        "slic": vitrail.load("slic"),
    }
    styles = {"kmeans, k=3": {"fill": "mean"}}
    pictures = [
        (name, method(photo).plot(**styles.get(name, {}))) for name, method in methods.items()
    ]
    write_picture(IMAGES / "classical.jpg", contact_sheet(pictures, columns=2))


if __name__ == "__main__":
    main()
