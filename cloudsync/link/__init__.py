"""The link as measured: goodput, the law of trying again, and what people are told about it."""
