# The context holds the static binary: make images.
FROM scratch
COPY gatehouse-dataplane /gatehouse-dataplane
USER 65532:65532
ENTRYPOINT ["/gatehouse-dataplane"]
