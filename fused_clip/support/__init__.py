"""Common code of all packages: types, errors, files, threads, sampling."""
