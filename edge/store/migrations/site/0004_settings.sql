-- Of a copy: outpost.toml and the TLS files of the box that made it. What a box runs by are the files themselves.
CREATE TABLE setting (
    name    TEXT PRIMARY KEY CHECK (name IN ('outpost.toml', 'certificate_file', 'key_file', 'client_ca_file')),
    content BLOB NOT NULL
) STRICT, WITHOUT ROWID;
