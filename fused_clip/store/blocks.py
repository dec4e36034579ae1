"""RowBlocks: the rows of an entry of embeddings, cut into files that can be computed one by one."""

from dataclasses import dataclass

_LEAST_ROWS = 512
_MOST_BLOCKS = 20_000  # files in a folder, and lines in its manifest: 2 MB


@dataclass(frozen=True)
class RowBlocks:
    """Rows in files of equal size, each of whole batches, so that no block depends on another.

    Parameters
    ----------
    rows : in the entry.
    size : rows of each block; the last may have fewer.
    """

    rows: int
    size: int

    @classmethod
    def of(cls, rows: int, batch_size: int) -> "RowBlocks":
        """Choose the size: 512 rows rounded up to batches, and more beyond 10 million rows.

        Parameters
        ----------
        rows : in the entry.
        batch_size : of the backbone.
        """
        least = max(_LEAST_ROWS, -(-rows // _MOST_BLOCKS))
        return cls(rows, -(-least // batch_size) * batch_size)

    def __len__(self) -> int:
        return -(-self.rows // self.size)

    @property
    def starts(self) -> range:
        """First row of each block."""
        return range(0, self.rows, self.size)

    def stop(self, start: int) -> int:
        """Row after the last of a block.

        Parameters
        ----------
        start : its first row.
        """
        return min(start + self.size, self.rows)

    @staticmethod
    def name(start: int) -> str:
        """Name of the array with the embeddings of a block.

        Parameters
        ----------
        start : its first row.
        """
        return f"rows-{start:09d}"

    @staticmethod
    def digest_name(start: int) -> str:
        """Name of the array with the SHA-256 of each image of a block, until the parts are merged.

        Parameters
        ----------
        start : its first row.
        """
        return f"digests-{start:09d}"
