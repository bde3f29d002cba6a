"""Public data sets that ``vitrail data fetch`` knows: where they are, how large, under what terms.

Every size and checksum was taken from the place that ``Archive.source`` names. Where none is
published the field is None, and what comes is recorded instead (``vitrail-fetch.json``), so that a
second download can be compared with the first.
"""

from __future__ import annotations

from dataclasses import dataclass

from vitrail.errors import ParameterError, UnknownNameError, nearest


@dataclass(frozen=True)
class Archive:
    """One file at its source."""

    name: str
    """As it is called at the source, and while it lies in the folder."""
    url: str | None
    """None where one must log in for it."""
    size: int | None = None
    """bytes"""
    sha256: str | None = None
    md5: str | None = None
    source: str = "not published"
    """Where size and checksums are from."""
    folder: str = ""
    """Folder of the set that its content goes to; one of that name on top of it is not doubled."""
    inner: tuple[str, ...] = ()
    """Archives inside it, unpacked where they lie."""
    page: str | None = None
    """Where a browser gets it, if it needs a login."""

    @property
    def checksums(self) -> dict[str, str]:
        """Those known, by algorithm."""
        return {key: v for key, v in (("sha256", self.sha256), ("md5", self.md5)) if v}


@dataclass(frozen=True)
class Part:
    """What is fetched together."""

    name: str
    summary: str
    archives: tuple[Archive, ...]

    @property
    def size(self) -> int | None:
        """Bytes to fetch; None if one of its archives has no known size."""
        sizes = [archive.size for archive in self.archives]
        return None if None in sizes else sum(size or 0 for size in sizes)


@dataclass(frozen=True)
class Entry:
    """A data set."""

    name: str
    title: str
    format: str
    """Name of the format that reads it."""
    summary: str
    homepage: str
    licence: str
    terms: str | None
    """What has to be accepted, None if the licence asks for no acceptance."""
    terms_url: str
    citation: str
    parts: tuple[Part, ...]
    default: tuple[str, ...] = ()
    """Parts that are fetched unless others are named; none where that would be too much."""
    login: tuple[str, ...] = ()
    """Steps by hand to get at the archives; empty where none are needed."""
    images: str | None = None
    """Address of single images with ``{split}`` and ``{id}``, where they can be had alone."""
    remark: str = ""

    def part(self, name: str) -> Part:
        """A part by name; :class:`ParameterError` names those there are."""
        for part in self.parts:
            if part.name == name:
                return part
        names = [part.name for part in self.parts]
        raise ParameterError(f"{self.name} has no part {name!r}; {nearest(name, names)}")


_TFDS = "TensorFlow Datasets, url_checksums/{}.txt"

_COCO_URL = "http://images.cocodataset.org"
_COCO_SOURCE = _TFDS.format("coco")
_COCO_LABELS = Archive(
    "annotations_trainval2017.zip",
    f"{_COCO_URL}/annotations/annotations_trainval2017.zip",
    252_907_541,
    "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
    source=_COCO_SOURCE,
)


def _coco_images(split: str, size: int, sha256: str) -> Archive:
    name = f"{split}2017.zip"
    return Archive(name, f"{_COCO_URL}/zips/{name}", size, sha256, source=_COCO_SOURCE)


_COCO = Entry(
    "coco-2017",
    "COCO 2017",
    "coco",
    "118,287 + 5,000 photographs, objects of 80 classes as polygons and run lengths",
    "https://cocodataset.org",
    "annotations CC BY 4.0; images: terms of Flickr, each photographer's own licence",
    "The COCO consortium does not own the copyright of the images; their use must abide by the "
    "Flickr terms of use",
    "https://cocodataset.org/#termsofuse",
    "Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014",
    (
        Part(
            "train",
            "118,287 images and all annotations",
            (
                _coco_images(
                    "train",
                    19_336_861_798,
                    "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
                ),
                _COCO_LABELS,
            ),
        ),
        Part(
            "val",
            "5,000 images and all annotations",
            (
                _coco_images(
                    "val",
                    815_585_330,
                    "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
                ),
                _COCO_LABELS,
            ),
        ),
        Part("annotations", "all annotations, no images", (_COCO_LABELS,)),
        Part(
            "panoptic",
            "panoptic annotations of train and val, no images",
            (
                Archive(
                    "panoptic_annotations_trainval2017.zip",
                    f"{_COCO_URL}/annotations/panoptic_annotations_trainval2017.zip",
                    860_725_834,
                    "c05f76d2129b6b561eb70efe16e7006df62f73fb92889132d373b9d90e31a370",
                    source=_COCO_SOURCE,
                    inner=(
                        "annotations/panoptic_train2017.zip",
                        "annotations/panoptic_val2017.zip",
                    ),
                ),
            ),
        ),
        Part(
            "test",
            "40,670 images without labels",
            (
                _coco_images(
                    "test",
                    6_646_970_404,
                    "c7908c3c9f94ba2f3340ebbeec58c25db6be8774f18d68c2f15d0e369d95baba",
                ),
            ),
        ),
    ),
    default=("train", "val"),
)

_VOC = Entry(
    "voc-2012",
    "PASCAL VOC 2012",
    "voc",
    "2,913 photographs with masks of 20 classes and of objects, 17,125 in all",
    "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
    "images: terms of Flickr; annotations: no licence stated",
    "The data includes images from Flickr, whose use must respect the Flickr terms of use",
    "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/index.html",
    "Everingham et al., The PASCAL Visual Object Classes Challenge 2012 (VOC2012) Results",
    (
        Part(
            "trainval",
            "images, masks and boxes of train and val",
            (
                Archive(
                    "VOCtrainval_11-May-2012.tar",
                    "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
                    1_999_639_040,
                    "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
                    "6cd6e144f989b92b3379bac3b3de84fd",
                    source=f"{_TFDS.format('voc')} (sha256, size); torchvision (md5, address)",
                ),
            ),
        ),
    ),
    default=("trainval",),
    remark="the labels of the test set are not public; results come from its evaluation server",
)

_PET_URL = "https://www.robots.ox.ac.uk/~vgg/data/pets/data"
_PET_SOURCE = (
    f"{_TFDS.format('oxford_iiit_pet')} (sha256, size); torchvision oxford_iiit_pet.py (md5)"
)
_PET = Entry(
    "oxford-iiit-pet",
    "Oxford-IIIT Pet",
    "pet",
    "7,349 photographs of cats and dogs of 37 breeds with trimaps",
    "https://www.robots.ox.ac.uk/~vgg/data/pets/",
    "CC BY-SA 4.0 by its page, research only by the README in annotations.tar.gz; the images' "
    "copyright remains with their owners",
    None,
    "https://creativecommons.org/licenses/by-sa/4.0/",
    "Parkhi et al., Cats and Dogs, CVPR 2012",
    (
        Part(
            "all",
            "images, trimaps and lists",
            (
                Archive(
                    "images.tar.gz",
                    f"{_PET_URL}/images.tar.gz",
                    791_918_971,
                    "67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
                    "5c4f3ee8e5d25df40f4fd59a7f44e54c",
                    source=_PET_SOURCE,
                ),
                Archive(
                    "annotations.tar.gz",
                    f"{_PET_URL}/annotations.tar.gz",
                    19_173_078,
                    "52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
                    "95a8c909bbe2e81eed6a22bccdf3f68f",
                    source=_PET_SOURCE,
                ),
            ),
        ),
    ),
    default=("all",),
)

_CAMVID_URL = "http://web4.cs.ucl.ac.uk/staff/g.brostow/MotionSegRecData"
_CAMVID = Entry(
    "camvid",
    "CamVid",
    "camvid",
    "701 frames of road scenes, 32 classes by colour",
    f"{_CAMVID_URL}/",
    "no licence stated; published for research",
    "Its publisher states no licence; whether your use is allowed is for you to settle",
    f"{_CAMVID_URL}/",
    "Brostow et al., Semantic Object Classes in Video, Pattern Recognition Letters 30(2), 2009",
    (
        Part(
            "all",
            "frames (about 560 MB), labels (about 16 MB) and the table of colours",
            (
                Archive(
                    "701_StillsRaw_full.zip",
                    f"{_CAMVID_URL}/files/701_StillsRaw_full.zip",
                    folder="701_StillsRaw_full",
                ),
                Archive(
                    "LabeledApproved_full.zip",
                    f"{_CAMVID_URL}/data/LabeledApproved_full.zip",
                    folder="LabeledApproved_full",
                ),
                Archive("label_colors.txt", f"{_CAMVID_URL}/data/label_colors.txt"),
            ),
        ),
    ),
    default=("all",),
    remark="its server has been seen to answer with a web page; --url takes a mirror",
)

_CITYSCAPES_URL = "https://www.cityscapes-dataset.com"


def _cityscapes(name: str, package: int, size: int | None, md5: str) -> Archive:
    source = "md5 as listed beside the download, in public guides to it"
    if size:
        source += "; size as in public folder listings"
    page = f"{_CITYSCAPES_URL}/file-handling/?packageID={package}"
    return Archive(name, None, size, md5=md5, source=source, page=page)


_CITYSCAPES = Entry(
    "cityscapes",
    "Cityscapes",
    "cityscapes",
    "5,000 finely and 20,000 coarsely labelled road scenes of 50 cities, 30 classes",
    f"{_CITYSCAPES_URL}/",
    "its own terms: non-commercial, no redistribution",
    "The Cityscapes terms of use allow non-commercial purposes only, and no redistribution",
    f"{_CITYSCAPES_URL}/license/",
    "Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016",
    (
        Part(
            "fine",
            "images and fine labels of train, val and test",
            (
                _cityscapes(
                    "leftImg8bit_trainvaltest.zip",
                    3,
                    11_592_327_197,
                    "0a6e97e94b616a514066c9e2adb0c97f",
                ),
                _cityscapes(
                    "gtFine_trainvaltest.zip", 1, 252_567_705, "4237c19de34c8a376e9ba46b495d6f66"
                ),
            ),
        ),
        Part(
            "coarse",
            "coarse labels (1.3 GB) and the images of train_extra (44 GB)",
            (
                _cityscapes("gtCoarse.zip", 2, None, "1c7b95c84b1d36cc59a9194d8e5b989f"),
                _cityscapes(
                    "leftImg8bit_trainextra.zip", 4, None, "9167a331a158ce3e8989e166c95d56d4"
                ),
            ),
        ),
    ),
    default=("fine",),
    login=(
        f"register at {_CITYSCAPES_URL}/register/ (an institution's address helps) and log in",
        "accept the terms there, and download in a browser (or with csDownload of the pip package "
        "cityscapesscripts):",
        "put the archives, as they are, into {folder}",
        "run this again; it verifies and unpacks them",
    ),
)

_OI = "https://storage.googleapis.com/openimages"
_OI_IMAGES = "https://open-images-dataset.s3.amazonaws.com"
_OI_SOURCE = _TFDS.format("open_images_v4")


def _oi_part(split: str, images: str, boxes: str) -> Part:
    masks = tuple(
        Archive(
            f"{split}-masks-{digit}.zip",
            f"{_OI}/v5/{split}-masks/{split}-masks-{digit}.zip",
            folder=f"masks/{split}",
        )
        for digit in "0123456789abcdef"
    )
    names = (
        f"{_OI}/v5/class-descriptions-boxable.csv",
        f"{_OI}/v5/{split}-annotations-object-segmentation.csv",
        f"{_OI}/{boxes}",
    )
    lists = tuple(Archive(url.rpartition("/")[2], url) for url in names)
    return Part(split, f"masks, boxes and classes of {split} ({images} images)", lists + masks)


def _oi_images(name: str, size: int, sha256: str) -> Part:
    file = name.replace("train-", "train_")
    url = f"{_OI_IMAGES}/tar/{file}.tar.gz"
    folder = file if file.startswith("train_") else f"images/{file}"
    archive = Archive(f"{file}.tar.gz", url, size, sha256, source=_OI_SOURCE, folder=folder)
    return Part(f"{name}-images", f"all images of {file}", (archive,))


_OPEN_IMAGES = Entry(
    "open-images-v6",
    "Open Images V6, segmentations",
    "openimages",
    "2.8 million masks of objects of 350 classes; boxes of 600",
    "https://storage.googleapis.com/openimages/web/index.html",
    "annotations CC BY 4.0; images are listed as CC BY 2.0 (verify each one's own)",
    None,
    "https://storage.googleapis.com/openimages/web/factsfigures.html",
    "Kuznetsova et al., The Open Images Dataset V4, IJCV 2020; Benenson et al., CVPR 2019",
    (
        _oi_part("validation", "41,620", "v5/validation-annotations-bbox.csv"),
        _oi_part("test", "125,436", "v5/test-annotations-bbox.csv"),
        _oi_part("train", "1,743,042", "v6/oidv6-train-annotations-bbox.csv"),
        _oi_images(
            "validation",
            12_844_530_798,
            "515fefdf310e17e204cfe84bb3d05e53d8a6b5465ef3b9a3164383082b506df3",
        ),
        _oi_images(
            "test",
            38_750_827_781,
            "346814b1820eae6543f862cf1d8f48c16ee81202eceb79ed4d484a1520e96695",
        ),
        *(
            _oi_images(f"train-{digit}", size, sha256)
            for digit, size, sha256 in (
                (
                    "0",
                    49_310_925_536,
                    "0cf97b0666d4c11e0ba8c2380816f2bf09c9f7750abebd658bd9204d0aa10397",
                ),
                (
                    "1",
                    36_916_994_080,
                    "4c7d751e9f7d2f6774b70a903b7abc084adde2019cb030144ab2cb0c251a06bc",
                ),
                (
                    "2",
                    35_415_986_940,
                    "a83f0b60f4390680c01c00e199b546ec0333e76513f35b3cadb5024f29ee266e",
                ),
                (
                    "3",
                    34_107_458_830,
                    "f139398421624535bf79199dc82e32f48f062e2db43410487b2e7d768a1aea88",
                ),
                (
                    "4",
                    33_169_188_573,
                    "ff2053e039c0cbd890a85f68ce71f3c97b48895c96b1f20c090bc8ca5221939e",
                ),
                (
                    "5",
                    33_458_664_112,
                    "09e32c82c51c89b56782678cfbb61c0debc9d81a62cd03bdbb50cbe3a0a65fcd",
                ),
                (
                    "6",
                    33_831_108_937,
                    "6f16913f9eed07e8bb5115fc9bb56cf64831e7c73194ff9005be93a57366d181",
                ),
                (
                    "7",
                    33_529_833_990,
                    "669d15ba911ba40f3af28eb3dbfe2f293813bcdc9a7a08666eb4e8832b3bfaf9",
                ),
                (
                    "8",
                    33_276_342_821,
                    "784b8305c226b89c506fc4f95e7bd41ff7c40f6e46c9a2af22d2d95a78429923",
                ),
                (
                    "9",
                    32_822_929_881,
                    "65fcac6b7ca8d8ce464ed1a7e75cee70a801be27cf80ded719e3b7e801fc1bbb",
                ),
                (
                    "a",
                    32_991_790_568,
                    "74e5787afbf7a4d57346420eed055f1d4763b74b411d8040dc54bfe1165cf7ee",
                ),
                (
                    "b",
                    33_652_756_676,
                    "a3538e9233ad013f1907354b7e67b991b765569b18139e7526f5fcb23b1b5a4f",
                ),
                (
                    "c",
                    33_386_910_071,
                    "13e439d0f09251e3c1e559aa36b7058220273083e1186de08ce882919d12b5b2",
                ),
                (
                    "d",
                    33_324_632_268,
                    "8cc4cbb08d3d2ada32d1ff17adfc2d79b5c3145198c97ddaf058e0749f57f41b",
                ),
                (
                    "e",
                    30_300_455_002,
                    "4916d467d0d8c741de70a1de25985543a19b3fa72547771c7b69474176ffec56",
                ),
                (
                    "f",
                    29_979_648_524,
                    "172ef8c26dad6330151d820e342396fdd7d84956713956d5ad1bae74adb7f33a",
                ),
            )
        ),
    ),
    images=f"{_OI_IMAGES}/{{split}}/{{id}}.jpg",
    remark="--max-images N fetches that many images of a split, and only the masks they need",
)

CATALOGUE = (_COCO, _VOC, _OPEN_IMAGES, _CITYSCAPES, _CAMVID, _PET)
"""All data sets."""


def find(name: str) -> Entry:
    """A data set by name; :class:`UnknownNameError` names the nearest."""
    for entry in CATALOGUE:
        if entry.name == name:
            return entry
    raise UnknownNameError("data set", name, [entry.name for entry in CATALOGUE])
