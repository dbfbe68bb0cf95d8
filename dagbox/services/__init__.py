"""The services that DagBox brings: reader, writer, lock, logic. Each turns a request into a reply or a forward."""
