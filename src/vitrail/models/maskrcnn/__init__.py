"""Faster and Mask R-CNN: one implementation, whose families differ in the values of an argument.

Ren, He, Girshick, Sun: "Faster R-CNN", arXiv:1506.01497; He, Gkioxari, Dollár, Girshick: "Mask
R-CNN", arXiv:1703.06870; Lin et al.: "Feature Pyramid Networks", arXiv:1612.03144.
"""
