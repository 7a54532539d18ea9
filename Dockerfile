# The dashboard on a processor, as a user without rights, over a store that is only read.
#
#   docker build -t selviz .
#   docker run --rm -p 8501:8501 selviz                                   the demo, trained while the image was built
#   docker run --rm -p 8501:8501 -v "$PWD/data:/data:ro" selviz           a store of yours
#
# docs/hosting.md says how it is put on the web.

FROM python:3.12-slim AS build
# app: the dashboard. With robustness too, corruptions are shown live: --build-arg EXTRAS=app,robustness
ARG EXTRAS=app
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# The processor's build of torch, without the 4.3 GB of CUDA's libraries.
ENV PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
RUN python -m venv /venv
COPY . /src
RUN /venv/bin/python -m pip install --no-compile "/src[${EXTRAS}]"
# corrupt-tta asks for the OpenCV of desktops, whose libraries a slim image lacks.
RUN if /venv/bin/python -m pip show --quiet opencv-python; then \
        /venv/bin/python -m pip uninstall --yes --quiet opencv-python \
        && /venv/bin/python -m pip install --no-compile opencv-python-headless; \
    fi
WORKDIR /build
RUN /venv/bin/selviz demo --data /data && /venv/bin/selviz doctor --data /data

FROM python:3.12-slim
RUN useradd --uid 1000 --create-home --shell /usr/sbin/nologin selviz
COPY --from=build /venv /venv
# Owned by root: what runs here can read the store and cannot change it.
COPY --from=build /data /data
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 SELVIZ_CACHE=/tmp/selviz
USER 1000
WORKDIR /home/selviz
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://localhost:8501/health', timeout=8)"]
# Reading only, for whoever reaches the port: docs/serving.md has the log-in and the proxy with TLS.
CMD ["selviz", "serve", "--public", "--no-login", "--data", "/data", "--port", "8501"]
