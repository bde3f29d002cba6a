"""The calls of matterport's Mask R-CNN (https://github.com/matterport/Mask_RCNN) on vitrail.

Code written for it runs after changing its import lines::

    from vitrail.compat.mrcnn import coco, utils, visualize
    import vitrail.compat.mrcnn.model as modellib

Names, arguments, defaults, shapes and the order of values (boxes are ``y1 x1 y2 x2``) are those of
its commit 3deaec5 (MIT); the code is vitrail's own. What is TensorFlow's in the original is not
offered, and says what vitrail has instead. New code is better off with :func:`vitrail.load`.
"""
