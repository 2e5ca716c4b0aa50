# A docex node. Build and run are not part of CI, where no container engine runs: see compose.yaml.
FROM python:3.11-slim
WORKDIR /opt/docex
COPY requirements/uv.txt requirements/run.txt requirements/
RUN pip install --no-cache-dir --require-hashes -r requirements/uv.txt \
    && uv pip install --system --no-cache --require-hashes -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY docex docex
COPY keys keys
COPY storage storage
RUN uv pip install --system --no-cache "hatchling>=1.27" && uv pip install --system --no-cache --no-deps --no-build-isolation . \
    && useradd --create-home docex && mkdir /data && chown docex /data
USER docex
ENV DOCEX_DATA=/data DOCEX_HOST=0.0.0.0
VOLUME /data
EXPOSE 8080
HEALTHCHECK CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/readyz', timeout=5)"]
ENTRYPOINT ["docex"]
CMD ["serve"]
