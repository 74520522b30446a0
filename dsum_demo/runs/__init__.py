"""Training runs on disk and the processes that train them: store, queue, worker, cost probe, model card, upload."""
