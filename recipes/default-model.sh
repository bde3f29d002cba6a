#!/bin/sh
# How the default model, subjects-unet-mobilenetv2, was trained: six trainings, each starting from
# what came before, and three averages.
#
#   sh recipes/default-model.sh PATH/subjects
#
# The encoder starts from timm's ImageNet weights (a download); where the hub cannot be reached, add
# model.encoder_weights=PATH.safetensors to the first command.
set -eu
data=$1
name=subjects-unet-mobilenetv2

# From ImageNet, on the whole set.
vitrail train recipes/subjects.yaml data.root="$data" --out runs/1

# The most varied source more often, and harder augmentation.
vitrail train recipes/subjects-finish.yaml data.root="$data" --out runs/2 \
    model.start=runs/1/$name/$name.safetensors

# People and animals pasted into other scenes. Better on everyday photos, worse on the rest ...
vitrail train recipes/subjects-finish.yaml data.root="$data" --out runs/3 \
    model.start=runs/2/$name/$name.safetensors \
    augment.copy_paste=0.5 data.omission_weight=0.01 "data.repeat={coco: 6}" \
    train.epochs=13 train.lr=8e-4 train.ema_decay=0.999 train.seed=3

# ... so a third of it goes into the mean,
vitrail models average runs/2/$name/$name.safetensors runs/3/$name/$name.safetensors \
    --shares 0.65,0.35 --out runs/mean.safetensors

# which a gentle last training settles.
vitrail train recipes/subjects-finish.yaml data.root="$data" --out runs/4 \
    model.start=runs/mean.safetensors \
    augment.copy_paste=0.1 augment.colour=0.4 data.omission_weight=0.005 "data.repeat={coco: 3}" \
    train.epochs=6 train.image_size=256 train.lr=2.5e-4 train.ema_decay=0.999 train.seed=5

# One that takes every label at its word, better on animals and worse on people; its mean with the one
# before is better on both ...
vitrail train recipes/subjects-finish.yaml data.root="$data" --out runs/5 \
    model.start=runs/4/$name/$name.safetensors \
    augment.copy_paste=0.05 augment.colour=0.4 data.omission_weight=0 "data.repeat={coco: 2}" \
    train.epochs=5 train.image_size=256 train.lr=3e-4 train.ema_decay=0.999 train.seed=11
vitrail models average runs/4/$name/$name.safetensors runs/5/$name/$name.safetensors \
    --shares 0.5,0.5 --out runs/mean2.safetensors

# ... and where the last one starts, which has bystanders in mind again. Its best epoch was the second.
vitrail train recipes/subjects-finish.yaml data.root="$data" --out runs/6 \
    model.start=runs/mean2.safetensors \
    augment.copy_paste=0.1 augment.colour=0.4 data.omission_weight=0.01 "data.repeat={coco: 4}" \
    train.epochs=5 train.image_size=256 train.lr=3e-4 train.ema_decay=0.999 train.seed=21
vitrail models average runs/mean2.safetensors runs/6/$name/$name.safetensors \
    --shares 0.3,0.7 --out "runs/$name.safetensors"
