"""faiss in one process with other libraries that bring an OpenMP runtime of their own."""

import os
import sys
from typing import Any


def load_faiss() -> Any:
    """Import faiss so that it gets on with torch and scikit-learn.

    The wheels of all three hold a copy of an OpenMP runtime. Copies of GNU's, on Linux, and of the different
    vendors', on Windows, know nothing of each other. On macOS all are LLVM's, which ends the process when a
    second copy starts (``OMP: Error #15``) and may crash in parallel regions of faiss
    (https://github.com/faiss-wheels/faiss-wheels/issues/73). So there the second copy is let in and faiss
    keeps to one thread, but for the matrix products that are most of its work: they are Accelerate's, whose
    threads are its own.
    """
    if sys.platform != "darwin":
        import faiss

        return faiss
    os.environ.setdefault("KMP_DUPLICATE_LIB_OK", "TRUE")
    import faiss

    faiss.omp_set_num_threads(1)
    return faiss
