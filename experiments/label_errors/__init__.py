"""Plant wrong labels in CIFAR-10, and count how many of them a review finds first."""
