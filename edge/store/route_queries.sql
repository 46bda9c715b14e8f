-- put_route --
-- Add a route, or change it; what it owes from before stays owed.
INSERT INTO route (name, peer, url, token_file, from_ae, urgency, modalities, description, begins, ends, since)
VALUES (:name, :peer, :url, :token_file, :from_ae, :urgency, :modalities, :description, :begins, :ends, :since)
ON CONFLICT (name) DO UPDATE SET peer = excluded.peer, url = excluded.url, token_file = excluded.token_file, from_ae = excluded.from_ae,
    urgency = excluded.urgency, modalities = excluded.modalities, description = excluded.description, begins = excluded.begins,
    ends = excluded.ends;

-- remove_route --
-- Nothing is sent that way any more.
DELETE FROM route WHERE name = ?;

-- routes --
-- All routes.
SELECT name, peer, url, token_file, from_ae, urgency, modalities, description, begins, ends, since FROM route ORDER BY name;

-- move_since --
-- What arrived before this is none of a route's business any more: it was sent.
UPDATE route SET since = :since WHERE name = :name AND since < :since;
