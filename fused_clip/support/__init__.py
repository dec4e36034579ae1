"""The ground that all packages stand on: types, errors, files, threads, sampling."""
