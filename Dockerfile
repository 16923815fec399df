# An agent in a container. Settings come from /lictor/config and from the words behind the image's
# name; state lies in /lictor/data. `consul` is another name of the program.
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements.lock pyproject.toml README.md CHANGELOG.md LICENSE ./
COPY agent ./agent
COPY gossip ./gossip
COPY jepsen-lite ./jepsen-lite
COPY proxy ./proxy
COPY raftstore ./raftstore
# The versions of the lock file; what only development needs is not asked for.
RUN grep -oE '^[a-zA-Z0-9._-]+==[^ ]+' requirements.lock > constraints.txt \
 && python -m venv /opt/lictor \
 && /opt/lictor/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt . \
 && /opt/lictor/bin/python -m compileall -q /opt/lictor

FROM python:3.11-slim
COPY --from=build /opt/lictor /opt/lictor
RUN ln -s /opt/lictor/bin/lictor /usr/local/bin/lictor \
 && ln -s /opt/lictor/bin/lictor /usr/local/bin/consul \
 && groupadd --gid 8500 lictor \
 && useradd --uid 8500 --gid lictor --home-dir /lictor --no-create-home lictor \
 && install -d -o lictor -g lictor -m 0700 /lictor /lictor/data /lictor/config
USER lictor
WORKDIR /lictor
VOLUME /lictor/data
# Gossip, servers, HTTP, DNS, sidecars.
EXPOSE 8301 8301/udp 8300 8500 8600 8600/udp 21000-21255
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=10s --start-period=30s CMD ["lictor", "info"]
ENTRYPOINT ["lictor"]
CMD ["agent", "-dev", "-client=0.0.0.0", "-config-dir=/lictor/config"]
