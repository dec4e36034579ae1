"""Find probably wrong labels of a run: ``python -m fused_clip.review RUN``."""

from fused_clip.review.review_command import main

if __name__ == "__main__":
    main()
