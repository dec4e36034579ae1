# Serves a model, or predicts images with it: docs/serving.md. Built with BuildKit, as docker does by default.
# The tag names a version; `docker buildx imagetools inspect` gives the digest that pins its bytes.
ARG BASE=python:3.11.13-slim-bookworm

FROM ${BASE} AS wheel
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM ${BASE}
# PyTorch's index of builds for CPU: those of PyPI have CUDA, and take 6 GB more.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --index-url "${TORCH_INDEX}" "torch>=2.6" "torchvision>=0.21"
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir "$(echo /wheels/*.whl)[open]"
RUN useradd --uid 1000 fused
USER 1000
WORKDIR /tmp
# Users have no home here, and docker run --user can be any: what libraries write there goes to /tmp.
ENV HOME=/tmp MLFLOW_DISABLE_TELEMETRY=true PYTHONUNBUFFERED=1
EXPOSE 5000
HEALTHCHECK --interval=30s --timeout=5s --start-period=2m CMD \
    ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:5000/ping', timeout=4)"]
# MLflow's command is process 1, which the kernel shields from a SIGTERM that it does not handle.
STOPSIGNAL SIGINT
ENTRYPOINT ["mlflow", "models", "serve", "--env-manager", "local", "--host", "0.0.0.0"]
CMD ["--help"]
