"""Training runs on disk and the processes that train them: store, queue, worker, cost probe, model card and upload.
Apps and training processes communicate only through files in a run's folder.
"""

__all__ = ["cost_probe", "limits", "publish", "queue", "runner", "setup", "store", "worker"]
