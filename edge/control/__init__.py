"""What may be asked of edge over its Unix socket, by the command line and edge-web, and the asking end.

One request a connection: a JSON line, with a file descriptor beside it where the request says so; then JSON lines back, each an answer,
until edge closes. Done ends the answers to a request that succeeds, Failed those to one that does not. Whoever can open the socket is
known by SO_PEERCRED. Each noun has its requests and answers in a module; `lines` is the table of all.
"""
