"""Fetching whole data sets from a server on this machine, small ones under the true names."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.local_server import LocalServer, leftovers, local_server
from vitrail.data import catalogue as catalogue_module
from vitrail.data import fetch as module
from vitrail.data.catalogue import Archive, Entry, find
from vitrail.data.fetch import fetch
from vitrail.data.opening import open_dataset
from vitrail.data.receipt import NAME as RECEIPT
from vitrail.errors import DataError, OutputError, ParameterError, SourceError


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return buffer.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as packed:  # pyright: ignore
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def picture(suffix: str = ".jpg", value: int = 90, colours: int = 3) -> bytes:
    shape = (12, 16, 3) if colours == 3 else (12, 16)
    return cv2.imencode(suffix, np.full(shape, value, np.uint8))[1].tobytes()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with local_server() as running:
        yield running


@pytest.fixture
def serve(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put small files in the place of a set's true ones: addresses, sizes and checksums."""

    def set_up(name: str, files: dict[str, bytes], **how: object) -> None:
        entry = find(name)

        def small(archive: Archive) -> Archive:
            body = files.get(archive.name)
            if body is None:
                return archive
            if archive.url:
                server.add(archive.name, body, **how)
            return dataclasses.replace(
                archive,
                url=archive.url and f"{server.url}/{archive.name}",
                size=archive.size and len(body),
                sha256=archive.sha256 and hashlib.sha256(body).hexdigest(),
                md5=archive.md5 and hashlib.md5(body).hexdigest(),
            )

        parts = tuple(
            dataclasses.replace(part, archives=tuple(small(one) for one in part.archives))
            for part in entry.parts
        )
        changed: Entry = dataclasses.replace(entry, parts=parts)
        others = tuple(one for one in catalogue_module.CATALOGUE if one.name != name)
        monkeypatch.setattr(catalogue_module, "CATALOGUE", (changed, *others))

    return set_up


PETS = {
    "images.tar.gz": tarred(
        {"images/Abyssinian_1.jpg": picture(), "images/american_bulldog_2.jpg": picture()}
    ),
    "annotations.tar.gz": tarred(
        {
            "annotations/trainval.txt": b"Abyssinian_1 1 1 1\n",
            "annotations/test.txt": b"american_bulldog_2 2 2 1\n",
            "annotations/trimaps/Abyssinian_1.png": picture(".png", 1, 1),
            "annotations/trimaps/american_bulldog_2.png": picture(".png", 2, 1),
        }
    ),
}


def test_pets_from_start_to_reading(
    serve: Callable[..., None], server: LocalServer, tmp_path: Path
) -> None:
    serve("oxford-iiit-pet", PETS)
    told: list[str] = []
    done = fetch("oxford-iiit-pet", tmp_path / "x", progress=lambda what, *_: told.append(what))
    assert done.fetched == ["images.tar.gz", "annotations.tar.gz"]
    assert sorted(one.name for one in done.folder.iterdir()) == ["annotations", "images", RECEIPT]
    dataset = open_dataset(done.folder)
    assert dataset.format == "pet"
    assert {split: len(dataset[split]) for split in dataset.splits} == {"trainval": 1, "test": 1}
    steps = list(dict.fromkeys(told))
    assert steps[:3] == [
        f"{what} images.tar.gz" for what in ("downloading", "verifying", "unpacking")
    ]
    facts = json.loads((done.folder / RECEIPT).read_text())["files"]["images.tar.gz"]
    assert facts["sha256"] == hashlib.sha256(PETS["images.tar.gz"]).hexdigest()
    assert facts["verified"] == "sha256"
    assert facts["url"] == f"{server.url}/images.tar.gz"

    server.requests.clear()
    again = fetch("oxford-iiit-pet", tmp_path / "x")
    assert (again.fetched, again.present) == ([], ["images.tar.gz", "annotations.tar.gz"])
    assert server.requests == []


def test_mirror_and_kept_archives(server: LocalServer, serve, tmp_path: Path) -> None:
    serve("oxford-iiit-pet", PETS)
    for name, body in PETS.items():
        server.files.pop("/" + name)
        server.add(f"mirror/{name}", body)
    done = fetch("oxford-iiit-pet", tmp_path, url=f"{server.url}/mirror/", keep_archives=True)
    assert {name: (tmp_path / name).read_bytes() for name in PETS} == PETS
    assert [path for path, _ in server.requests] == [f"/mirror/{name}" for name in PETS]
    assert done.folder == tmp_path


def test_corrupt_bytes_unpack_nothing(server: LocalServer, serve, tmp_path: Path) -> None:
    serve("oxford-iiit-pet", PETS, corrupt=True)
    with pytest.raises(SourceError, match=r"has the sha256 .*, expected "):
        fetch("oxford-iiit-pet", tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == [RECEIPT]


def test_cut_connection(server: LocalServer, serve, tmp_path: Path, monkeypatch) -> None:
    serve("oxford-iiit-pet", PETS, statuses=[])
    monkeypatch.setattr("vitrail.download_file.PAUSE", 0)
    server.files["/images.tar.gz"].cuts = [100]
    fetch("oxford-iiit-pet", tmp_path)
    assert server.asked("images.tar.gz")[1]["Range"] == "bytes=100-"
    assert leftovers(tmp_path) == [RECEIPT]


def test_terms_come_before_anything(server: LocalServer, serve, tmp_path: Path) -> None:
    serve("voc-2012", {"VOCtrainval_11-May-2012.tar": tarred({"VOCdevkit/x": b"1"}, "w")})
    with pytest.raises(DataError, match=r"Flickr terms of use.*--accept-licence"):
        fetch("voc-2012", tmp_path / "voc")
    assert not (tmp_path / "voc").exists()
    assert server.requests == []
    fetch("voc-2012", tmp_path / "voc", accept_licence=True)
    assert (tmp_path / "voc" / "VOCdevkit" / "x").read_bytes() == b"1"


def test_camvid_without_published_checksums(server: LocalServer, serve, tmp_path: Path) -> None:
    colours = {"701_StillsRaw_full": ".png", "LabeledApproved_full": "_L.png"}
    flat = {f"{name}_L.png": picture(".png", 0) for name in ("a1", "b2")}
    nested = {f"701_StillsRaw_full/{name}.png": picture(".png") for name in ("a1", "b2")}
    files = {
        "701_StillsRaw_full.zip": zipped(nested),
        "LabeledApproved_full.zip": zipped(flat),
        "label_colors.txt": b"0 0 0\tVoid\n128 128 128\tSky\n",
    }
    serve("camvid", files)
    done = fetch("camvid", tmp_path, accept_licence=True)
    for folder, suffix in colours.items():
        assert [one.name for one in sorted((tmp_path / folder).iterdir())] == [
            f"a1{suffix}",
            f"b2{suffix}",
        ]
    assert (tmp_path / "label_colors.txt").read_bytes() == files["label_colors.txt"]
    facts = json.loads((tmp_path / RECEIPT).read_text())["files"]
    assert facts["label_colors.txt"]["verified"] == "nothing to compare"
    assert done.notes == []
    # What comes the next time is compared with what came the first time.
    (tmp_path / "label_colors.txt").unlink()
    server.files["/label_colors.txt"].body += b"1 2 3\tNew\n"
    (note,) = fetch("camvid", tmp_path, accept_licence=True).notes
    assert facts["label_colors.txt"]["sha256"] in note


def test_broken_archive_without_checksum_is_fetched_again(
    server: LocalServer, serve, tmp_path: Path
) -> None:
    whole = zipped({"a1_L.png": picture(".png")})
    serve("camvid", {"701_StillsRaw_full.zip": whole[:-30]})
    with pytest.raises(DataError, match="damaged archive"):
        fetch("camvid", tmp_path, accept_licence=True)
    assert leftovers(tmp_path) == [RECEIPT]
    assert not (tmp_path / "701_StillsRaw_full.zip").exists()


CITYSCAPES = {
    "leftImg8bit_trainvaltest.zip": zipped(
        {"README": b"of images", "leftImg8bit/train/ulm/a_leftImg8bit.png": picture(".png")}
    ),
    "gtFine_trainvaltest.zip": zipped(
        {"README": b"of labels", "gtFine/train/ulm/a_gtFine_labelIds.png": picture(".png", 7, 1)}
    ),
}


def test_login_by_hand(serve, tmp_path: Path) -> None:
    serve("cityscapes", CITYSCAPES)
    with pytest.raises(DataError) as caught:
        fetch("cityscapes", tmp_path, accept_licence=True)
    message = str(caught.value)
    for said in ("1. register", "packageID=3", *CITYSCAPES, str(tmp_path), "4. run this again"):
        assert said in message
    first, second = CITYSCAPES
    (tmp_path / first).write_bytes(CITYSCAPES[first])
    with pytest.raises(DataError) as caught:
        fetch("cityscapes", tmp_path, accept_licence=True)
    assert second in str(caught.value) and first not in str(caught.value)

    (tmp_path / second).write_bytes(CITYSCAPES[second][:-5])
    with pytest.raises(DataError, match=r"has the md5 .* expected .*; download it again"):
        fetch("cityscapes", tmp_path, accept_licence=True)
    (tmp_path / second).write_bytes(CITYSCAPES[second])
    fetch("cityscapes", tmp_path, accept_licence=True)
    assert (tmp_path / "README").read_bytes() == b"of images"
    assert (tmp_path / first).exists() and (tmp_path / second).exists(), "they are not ours"
    assert len(open_dataset(tmp_path)["train"]) == 1


def test_archives_inside_an_archive(serve, tmp_path: Path) -> None:
    inner = {
        "annotations/panoptic_train2017.zip": zipped({"panoptic_train2017/1.png": b"1"}),
        "annotations/panoptic_val2017.zip": zipped({"2.png": b"2"}),
        "annotations/panoptic_val2017.json": b"{}",
    }
    serve("coco-2017", {"panoptic_annotations_trainval2017.zip": zipped(inner)})
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_val2017.json").write_text("{}")
    fetch("coco-2017", tmp_path, parts=["panoptic"], accept_licence=True)
    files = (one for one in (tmp_path / "annotations").rglob("*") if one.is_file())
    assert sorted(one.relative_to(tmp_path / "annotations").as_posix() for one in files) == [
        "instances_val2017.json",
        "panoptic_train2017/1.png",
        "panoptic_val2017.json",
        "panoptic_val2017/2.png",
    ]


def test_files_that_are_there_are_not_replaced(serve, tmp_path: Path) -> None:
    serve("oxford-iiit-pet", PETS)
    (tmp_path / "images").mkdir()
    mine = tmp_path / "images" / "american_bulldog_2.jpg"
    mine.write_bytes(b"mine")
    with pytest.raises(DataError, match=r"american_bulldog_2\.jpg: is there, and differs"):
        fetch("oxford-iiit-pet", tmp_path)
    assert [one.name for one in (tmp_path / "images").iterdir()] == ["american_bulldog_2.jpg"]
    assert mine.read_bytes() == b"mine"
    mine.unlink()
    fetch("oxford-iiit-pet", tmp_path)
    assert len(list((tmp_path / "images").iterdir())) == 2


def test_shared_archives_come_once(serve, server: LocalServer, tmp_path: Path) -> None:
    files = {
        "train2017.zip": zipped({"train2017/1.jpg": picture()}),
        "val2017.zip": zipped({"val2017/2.jpg": picture()}),
        "annotations_trainval2017.zip": zipped({"annotations/instances_val2017.json": b"{}"}),
    }
    serve("coco-2017", files)
    fetch("coco-2017", tmp_path, accept_licence=True)
    assert sorted(path for path, _ in server.requests) == sorted(f"/{name}" for name in files)


def _open_images(server: LocalServer, serve) -> list[str]:
    ids = [f"{digit}{number:015x}" for digit in "09f" for number in range(4)]
    columns = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks"
    rows = [f"{one}_m0.png,{one},/m/01,b,0,1,0,1,0.9," for one in ids]
    files = {
        "class-descriptions-boxable.csv": b"/m/01,Cat\n",
        "validation-annotations-object-segmentation.csv": "\n".join([columns, *rows]).encode(),
        "validation-annotations-bbox.csv": b"ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,"
        b"YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n",
    }
    for digit in "0123456789abcdef":
        masks = {f"{one}_m0.png": picture(".png", 255, 1) for one in ids if one[0] == digit}
        files[f"validation-masks-{digit}.zip"] = zipped(masks)
    serve("open-images-v6", files)
    for one in ids:
        server.add(f"oi/validation/{one}.jpg", picture())
    for name, body in files.items():
        server.add(f"oi/{name}", body)
    return ids


def test_some_open_images(server: LocalServer, serve, tmp_path: Path) -> None:
    ids = _open_images(server, serve)
    how = {"parts": ["validation"], "max_images": 3, "seed": 4, "url": f"{server.url}/oi"}
    done = fetch("open-images-v6", tmp_path, **how)
    assert done.images == {"validation": 3}
    got = sorted(one.stem for one in (tmp_path / "images" / "validation").iterdir())
    assert len(got) == 3 and set(got) < set(ids)
    masks = {name for name in done.fetched if "masks" in name}
    assert masks == {f"validation-masks-{one[0]}.zip" for one in got}
    source = open_dataset(tmp_path)["validation"]
    assert list(source.ids) == got
    assert all(len(sample.instances or ()) == 1 for sample in source)

    server.requests.clear()
    assert fetch("open-images-v6", tmp_path, **how).images == {"validation": 3}
    assert server.requests == [], "the same draw, all there"


def test_images_that_are_missing(server: LocalServer, serve, tmp_path: Path) -> None:
    ids = _open_images(server, serve)
    server.files.pop(f"/oi/validation/{ids[0]}.jpg")
    server.add(f"oi/validation/{ids[1]}.jpg", b"<html>")
    how = {"parts": ["validation"], "max_images": 50, "url": f"{server.url}/oi"}
    done = fetch("open-images-v6", tmp_path, **how)
    assert done.images == {"validation": 10}
    assert "has only 12 images" in done.notes[0]
    assert "2 of 12" in done.notes[1] and "404" in done.notes[1]
    facts = json.loads((tmp_path / RECEIPT).read_text())["images"]["validation"]
    assert facts["failed"] == ids[:2]
    for one in ids:
        server.files.pop(f"/oi/validation/{one}.jpg", None)
    with pytest.raises(SourceError, match="no image could be fetched"):
        fetch("open-images-v6", tmp_path, **how)


@pytest.mark.parametrize("row", ["x,../../etc/passwd,/m/01", "x", "x,ABCDEF0123456789,/m/01"])
def test_ids_become_no_paths(row: str, tmp_path: Path) -> None:
    from vitrail.data.fetch_images import pick

    (tmp_path / "t.csv").write_text(f"MaskPath,ImageID,LabelName\n{row}\n")
    with pytest.raises(DataError, match=r"t\.csv, line 2: .* is no image id"):
        pick(tmp_path / "t.csv", 1, 0)


def test_full_disk_before_the_start(serve, server: LocalServer, tmp_path, monkeypatch) -> None:
    serve("oxford-iiit-pet", PETS)
    usage = module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(OutputError, match=r"GB are needed, 0\.0 GB are free"):
        fetch("oxford-iiit-pet", tmp_path)
    assert server.requests == []


def test_usage(tmp_path: Path) -> None:
    for how, said in (
        ({"name": "coco-2017", "parts": ["trian"]}, "did you mean 'train'"),
        ({"name": "open-images-v6"}, "choose --part validation"),
        ({"name": "camvid", "max_images": 3}, "no images to be had singly"),
        ({"name": "camvid", "url": "file:///x"}, "expected the http"),
        ({"name": "open-images-v6", "parts": ["test-images"], "max_images": 3}, "name its split"),
    ):
        with pytest.raises(ParameterError, match=said):
            fetch(to=tmp_path / "x", accept_licence=True, **how)  # pyright: ignore[reportArgumentType]
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("receipt", ["", "[]", '{"files": 3}', '{"files": {"a": 1}, "images": {}}'])
def test_damaged_receipt(receipt: str, tmp_path: Path) -> None:
    (tmp_path / RECEIPT).write_text(receipt)
    with pytest.raises(DataError, match="is damaged; remove it"):
        fetch("oxford-iiit-pet", tmp_path)


def test_another_set_in_the_folder(serve, tmp_path: Path) -> None:
    serve("oxford-iiit-pet", PETS)
    fetch("oxford-iiit-pet", tmp_path)
    with pytest.raises(DataError, match="holds the data set 'oxford-iiit-pet', not 'camvid'"):
        fetch("camvid", tmp_path, accept_licence=True)
