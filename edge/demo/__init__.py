"""The demo: the whole way of a study on one machine, with real and generated instances."""
