"""A cached pack into its archive form, and back bit for bit. The work runs in a worker process of its own (`worker.Coder`)."""
