FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/hanhtrinh
COPY requirements.txt ./
RUN /opt/hanhtrinh/bin/pip install --no-cache-dir --require-hashes --requirement requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY detectors detectors
COPY ingest ingest
COPY storage storage
COPY alerts alerts
COPY hanhtrinh hanhtrinh
RUN /opt/hanhtrinh/bin/pip install --no-cache-dir --no-build-isolation --no-deps .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/hanhtrinh --create-home hanhtrinh
COPY --from=build /opt/hanhtrinh /opt/hanhtrinh
ENV PATH=/opt/hanhtrinh/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HANHTRINH_DATA_DIR=/var/lib/hanhtrinh \
    HANHTRINH_METRICS_HOST=0.0.0.0 \
    HANHTRINH_METRICS_PORT=9464
USER hanhtrinh
WORKDIR /var/lib/hanhtrinh
EXPOSE 9464
ENTRYPOINT ["hanhtrinh"]
CMD ["--help"]
