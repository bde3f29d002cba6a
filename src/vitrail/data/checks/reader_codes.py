"""What readers report of a set's index, its lists and its names, before a sample is looked at."""

from __future__ import annotations

from vitrail.data.checks.code import Code

READER_CODES: dict[str, Code] = {
    "malformed-file": Code(
        "error", "an annotation file that its reader does not understand", "mend the file"
    ),
    "malformed-line": Code(
        "error", "a line of a list that is not as the format has it", "mend or remove the line"
    ),
    "malformed-row": Code(
        "error", "a row of a table that is not as the format has it", "mend or remove the row"
    ),
    "malformed-box": Code(
        "error", "a box whose numbers are not those of a box", "mend or remove the object"
    ),
    "malformed-image": Code(
        "error",
        "an image's entry in the index lacks what is needed, or has a value of a wrong kind",
        "mend the entry; its annotations are left out with it",
    ),
    "malformed-category": Code(
        "error", "a class's entry in the index is not as the format has it", "mend the entry"
    ),
    "bad-size": Code(
        "error",
        "an image whose width or height in the index is none",
        "correct the entry; its annotations are left out with it",
    ),
    "malformed-annotation": Code(
        "error",
        "an object's entry lacks what is needed, or has a value of a wrong kind",
        "mend or remove the object; it is left out",
    ),
    "unknown-image": Code(
        "error",
        "an annotation of an image that the index does not list",
        "add the image to the index, or remove the annotation",
    ),
    "unknown-category": Code(
        "error",
        "an annotation of a class that the set does not list",
        "add the class, or remove the annotation",
    ),
    "duplicate-category": Code(
        "error", "two classes share a number or a name", "give each class its own"
    ),
    "duplicate-id": Code(
        "error",
        "two images or objects share an id, so that one would hide the other",
        "give each its own id or file name",
    ),
    "repeated-image": Code(
        "error", "an image has two entries in an annotation file", "merge or remove one of them"
    ),
    "ambiguous-image": Code(
        "error",
        "an annotation for which several images could be meant",
        "name the image with its folder, or give each image a name of its own",
    ),
    "duplicate-mask": Code(
        "warning", "an image has two masks", "remove one, or say which with mask_suffix=..."
    ),
    "unknown-split": Code(
        "error",
        "an image of which nothing says to which split it belongs",
        "list the names of each split as the format has it",
    ),
    "missing-folder": Code(
        "error",
        "a folder or list of a split that does not exist",
        "correct the entry, or restore the folder",
    ),
    "unsafe-name": Code(
        "error",
        "a file name that leads out of the data set, or that no file can have",
        "correct the name in the index",
    ),
    "broken-link": Code(
        "error", "a link to a file that is not there", "restore the file, or remove the link"
    ),
    "folder-link": Code(
        "warning", "a link to a folder, which is not followed", "move the folder itself here"
    ),
    "file-name": Code(
        "error",
        "a file that is left out because of its name",
        "rename it as the format says, in UTF-8",
    ),
    "unknown-file": Code("warning", "a file that is no annotation of this format", "move it away"),
    "orphan-annotation": Code(
        "warning",
        "annotations of images that are not there",
        "add the images, if they should be part of the set",
    ),
    "orphan-labels": Code(
        "warning", "a label file without an image", "add the image, or move the file away"
    ),
    "missing-annotation": Code(
        "error",
        "images without the annotation that others have, or without a part of it",
        "add what is missing",
    ),
    "missing-field": Code(
        "warning", "an image without the field of view that others have", "add the field of view"
    ),
    "missing-row": Code(
        "warning", "an image without a row in the table that lists the others", "add the row"
    ),
    "missing-splits": Code(
        "warning",
        "the lists of splits are missing, so that all images are one split",
        "add the lists, or divide the set with `vitrail data split`",
    ),
    "unsupported-shape": Code(
        "warning",
        "a line, a point or another shape that is no area, which is left out",
        "nothing, if it means no object; otherwise outline it",
    ),
    "unlabelled-region": Code(
        "warning", "a region without a label, which is left out", "label it, or remove it"
    ),
    "ignored-region": Code(
        "warning",
        "a region to ignore, for which sets of objects have no word, is left out",
        "nothing, if you know of it",
    ),
    "boxes-among-outlines": Code(
        "warning",
        "bare boxes and outlines in one set, of which other programs lose one kind",
        "make outlines of four points of the boxes",
    ),
    "class-count": Code(
        "warning", "the number of classes that is said is not that of the names", "correct it"
    ),
    "no-label-file": Code(
        "note",
        "images without a label file, taken as showing nothing",
        "check that they show none of the classes",
    ),
    "coloured-mask": Code(
        "note", "masks in colour where indices are usual; read by their colours", "nothing"
    ),
    "unlabelled-split": Code("note", "a split without labels, which is left out", "nothing"),
    "unlabelled-task": Code("note", "a task that nobody has finished", "label it, or leave it out"),
    "unnamed-classes": Code(
        "note", "the set names no classes", "name them: classes.txt, or --set classes=A,B,..."
    ),
}
"""By code; some readers give a code a milder severity where it does no harm."""
