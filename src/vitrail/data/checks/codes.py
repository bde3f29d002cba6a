"""Every finding of the linter: its code, how bad it is, what it means, what to do about it."""

from __future__ import annotations

from vitrail.data.checks.code import Code
from vitrail.data.checks.reader_codes import READER_CODES

_LINTER: dict[str, Code] = {
    # The set as a whole --------------------------------------------------------------------------
    "cannot-open": Code(
        "error",
        "the set, or one split of it, cannot be read at all",
        "mend what the message names, or say the format with --format",
    ),
    "empty-split": Code(
        "error", "a split without a single sample", "fill the split, or take it out of the set"
    ),
    "missing-image": Code(
        "error", "an annotated image does not exist", "copy the image, or drop its annotations"
    ),
    "missing-mask": Code(
        "error", "the mask of an image does not exist", "copy the mask, or leave the image out"
    ),
    "orphan-image": Code(
        "warning",
        "an image among the others that no sample uses",
        "add its annotation, or move the file away",
    ),
    "orphan-mask": Code(
        "warning",
        "a mask among the others that no sample uses",
        "add its image (are the two names equal?), or move the file away",
    ),
    "unused-files": Code(
        "note",
        "a large part of a folder's images or masks is in no sample",
        "nothing, if the set labels only a part of its images; otherwise check the lists of splits",
    ),
    # Image files ---------------------------------------------------------------------------------
    "empty-file": Code("error", "a file of 0 bytes", "get a complete copy of the file"),
    "corrupt-image": Code(
        "error",
        "an image that is cut short, or that no decoder takes",
        "get a complete copy of the file, or leave it out",
    ),
    "damaged-image": Code(
        "warning",
        "the JPEG decoder met bytes that make no sense, and went on",
        "look at the picture; get another copy if a part of it is grey or shifted",
    ),
    "image-too-large": Code(
        "error",
        "an image that claims more pixels or bytes than the limit",
        "cut or reduce it together with its annotation, or raise VITRAIL_MAX_PIXELS",
    ),
    "wrong-suffix": Code(
        "note",
        "a file whose suffix is that of another format",
        "rename it; some programs trust the suffix",
    ),
    "size-mismatch": Code(
        "error",
        "an image and its annotation have different sizes",
        "find out which of the two was resized, and resize the other (masks: nearest neighbour)",
    ),
    "exif-rotated": Code(
        "warning",
        "EXIF turns the image by a quarter, and its annotation fits the picture as stored",
        "vitrail reads such pairs as stored; most programs will not: remove the EXIF orientation",
    ),
    "exif-ambiguous": Code(
        "warning",
        "EXIF turns or mirrors the image, and sizes cannot tell which way its annotation lies",
        "look at the pair; save the image upright and without EXIF orientation",
    ),
    "exif-orientation": Code(
        "note",
        "EXIF turns the image, and its annotation fits the upright picture",
        "save the image upright: programs that ignore EXIF see it lying on its side",
    ),
    # Mask files ----------------------------------------------------------------------------------
    "unreadable-sample": Code(
        "error", "the annotation of an image cannot be read", "mend what the message names"
    ),
    "unreadable-mask": Code(
        "error", "a mask that cannot be read as label map", "mend what the message names"
    ),
    "corrupt-mask": Code(
        "error",
        "a mask file that is cut short, or that no decoder takes",
        "get a complete copy of the file, or leave the pair out",
    ),
    "unknown-class-id": Code(
        "error",
        "a mask or an object holds an id that is no class",
        "add the class, or declare the id as ignore",
    ),
    "off-by-one-ids": Code(
        "error",
        "masks or objects hold the ids 1 to N where 0 to N - 1 are expected",
        "subtract 1 from every id, or put one class before the others",
    ),
    "binary-mask": Code(
        "error",
        "masks of 0 and 255 only, read as two of 256 classes, or 255 as ignore",
        "read them as binary masks (--format binary-masks), or write 1 where they hold 255",
    ),
    "colour-mask": Code(
        "error",
        "a mask saved in colour where one number a pixel is expected",
        "read it with its table of colours (--format colour-masks), or save the indices",
    ),
    "jpeg-mask": Code(
        "error",
        "a mask that went through JPEG: ids are blurred and ring around every edge",
        "export it again as PNG; if the original is lost, round each pixel to the nearest class",
    ),
    "anti-aliased-mask": Code(
        "error",
        "a mask with in-between values along its edges, from drawing or resizing with smoothing",
        "export it without anti-aliasing; resize masks by nearest neighbour only",
    ),
    "palette-conflict": Code(
        "warning",
        "one index has different colours in the palettes of two masks",
        "a program numbered the colours afresh for each file: read the masks by colour",
    ),
    "nothing-labelled": Code(
        "warning", "every pixel of a mask is ignore", "leave the image out; nothing is learned"
    ),
    # Objects -------------------------------------------------------------------------------------
    "bad-coordinates": Code(
        "error",
        "NaN or infinity among the coordinates of an object",
        "mend or remove the object; a division by a size of 0 makes such numbers",
    ),
    "empty-annotation": Code("error", "an object without a single pixel", "remove the object"),
    "degenerate-polygon": Code(
        "error",
        "an outline of fewer than three points, or without area",
        "remove the outline, or draw it again",
    ),
    "self-intersecting-polygon": Code(
        "warning",
        "an outline that crosses itself; what it encloses twice becomes a hole",
        "mend the order of its points; vitrail fills it as COCO does (even-odd)",
    ),
    "out-of-frame": Code(
        "warning",
        "an object that leaves the image in part",
        "cut it at the frame; if many do, the image was resized or turned after annotation",
    ),
    "outside-frame": Code(
        "error",
        "an object entirely outside its image",
        "remove it; if many are, they belong to another image or size",
    ),
    "tiny-object": Code(
        "warning",
        "an object of at most one pixel",
        "remove it, if it is a slip of the mouse; if all are, the coordinates are normalised",
    ),
    "degenerate-box": Code(
        "error", "a box without area", "remove the object, or draw its box again"
    ),
    "box-mask-mismatch": Code(
        "warning",
        "the box of an object is not the box around its mask",
        "compute boxes from masks; if many differ, x y w h and x1 y1 x2 y2 were confused",
    ),
    "duplicate-annotation": Code(
        "warning", "one object annotated twice", "remove one of the two annotations"
    ),
    "conflicting-annotation": Code(
        "warning",
        "one region annotated as two classes",
        "keep one of them, unless your classes are meant to overlap",
    ),
    # Copies --------------------------------------------------------------------------------------
    "duplicate-image": Code(
        "warning", "one image twice within a split", "keep one; compare their annotations first"
    ),
    "near-duplicate-image": Code(
        "note",
        "nearly the same image twice within a split (another size, compression, mirrored)",
        "keep one, unless they are frames of a video that you want",
    ),
    "leaked-image": Code(
        "error",
        "one image in two splits: scores on the second are not to be trusted",
        "take it out of one split",
    ),
    "near-leaked-image": Code(
        "warning",
        "nearly the same image in two splits (another size, compression, mirrored, next frame)",
        "take it out of one split; split videos and bursts by group, not by frame",
    ),
    # Classes -------------------------------------------------------------------------------------
    "classes-differ": Code(
        "error",
        "two splits have different classes, or the same in another order",
        "write both with one list of classes",
    ),
    "unused-class": Code(
        "warning", "a class that no annotation uses", "remove the class, or find its annotations"
    ),
    "class-missing-from-split": Code(
        "warning",
        "a class that other splits have and this one has not",
        "split again, stratified by class (vitrail data split)",
    ),
    "class-imbalance": Code(
        "note",
        "one class is more than a hundred times as frequent as another",
        "weight the classes in the loss (see below), or draw rare classes more often",
    ),
    "background-class": Code(
        "warning",
        "a set of objects has a class called background",
        "leave the class out; detectors have a background of their own",
    ),
    "background-unsaid": Code(
        "note",
        "a class is called background and the set does not say that it is",
        "declare it as background",
    ),
    "class-name-blanks": Code(
        "warning",
        "a class name is blank, has blanks around it or a line break in it; most formats of text "
        "do not keep these",
        "rename the class, as with vitrail data convert --rename cat=cat",
    ),
    "ignore-class": Code(
        "note",
        "a class is called void or the like, and is learned and scored as any other",
        "declare its id as ignore",
    ),
}

CODES = READER_CODES | _LINTER
"""By code, in the order in which findings are shown."""
