"""Pictures over HTTP: a queue that outlives the process, a worker that computes, an API and a page to watch it by."""
