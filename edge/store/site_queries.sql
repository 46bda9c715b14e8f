-- put_peer --
-- Add a peer, or change it.
INSERT INTO peer VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (ae_title) DO UPDATE SET address = excluded.address, host = excluded.host,
    port = excluded.port, rights = excluded.rights, max_pdu_bytes = excluded.max_pdu_bytes, idle_seconds = excluded.idle_seconds,
    accept_quarantined = excluded.accept_quarantined;

-- remove_peer --
-- A peer may no longer talk to us.
DELETE FROM peer WHERE ae_title = ?;

-- peer --
-- One peer by its AE title.
SELECT ae_title, address, host, port, rights, max_pdu_bytes, idle_seconds, accept_quarantined FROM peer WHERE ae_title = ?;

-- peers --
-- All peers.
SELECT ae_title, address, host, port, rights, max_pdu_bytes, idle_seconds, accept_quarantined FROM peer ORDER BY ae_title;
