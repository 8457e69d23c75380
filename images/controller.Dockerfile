# The context holds the static binary: make images.
FROM scratch
COPY gatehouse-controller /gatehouse-controller
USER 65532:65532
ENTRYPOINT ["/gatehouse-controller"]
