"""A small set laid out like Oxford-IIIT Pet, with the oddities of the published one."""

from pathlib import Path

import numpy as np
import PIL.Image

PETS = {
    "trainval": (
        ("Abyssinian_100", 1, 1, 1, "JPEG"),
        ("american_bulldog_2", 2, 2, 1, "GIF"),
        ("Egyptian_Mau_14", 12, 1, 6, "CMYK"),
    ),
    "test": (("yorkshire_terrier_9", 37, 2, 25, "PNG"), ("Abyssinian_3", 1, 1, 1, "JPEG")),
}
"""By split: name, CLASS-ID, SPECIES, BREED-ID, and what the .jpg really is."""


def write_pets(root: Path) -> dict[str, np.ndarray]:
    """Write ``root/oxford-iiit-pet``; returns the trimaps by name."""
    home = root / "oxford-iiit-pet"
    (home / "images").mkdir(parents=True)
    (home / "annotations" / "trimaps").mkdir(parents=True)
    trimaps: dict[str, np.ndarray] = {}
    lines: list[str] = []
    for split, pets in PETS.items():
        own = []
        for name, *numbers, kind in pets:
            rng = np.random.default_rng(len(trimaps))
            trimap = np.full((30, 40), 2, np.uint8)
            x, y = (int(v) for v in rng.integers(3, 9, 2))
            trimap[y : y + 14, x : x + 20] = 3
            trimap[y + 2 : y + 12, x + 2 : x + 18] = 1
            picture = PIL.Image.fromarray(rng.integers(0, 255, (30, 40, 3)).astype(np.uint8))
            picture = picture.convert("CMYK") if kind == "CMYK" else picture
            kind = "JPEG" if kind == "CMYK" else kind
            picture.save(home / "images" / f"{name}.jpg", kind)
            path = home / "annotations" / "trimaps" / f"{name}.png"
            PIL.Image.fromarray(trimap).save(path)
            path.with_name(f"._{name}.png").write_bytes(b"\0\5\x16\7")
            trimaps[name] = trimap
            own.append(" ".join(map(str, (name, *numbers))))
        (home / "annotations" / f"{split}.txt").write_text("".join(f"{o}\n" for o in own))
        lines += own
    (home / "images" / "Abyssinian_100.mat").write_bytes(b"MATLAB")
    comments = "#Image CLASS-ID SPECIES BREED ID\n#ID: 1:37 Class ids\n"
    (home / "annotations" / "list.txt").write_text(comments + "".join(f"{o}\n" for o in lines))
    return trimaps
