"""What the studies of guarantees share: sets of images, models, measurements that are kept."""
