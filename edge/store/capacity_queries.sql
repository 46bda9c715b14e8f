-- first_reception --
-- When the oldest study was received.
SELECT min(received_at) FROM study;

-- arrived_since --
-- What was received since a time, by modality: bytes of the datasets, and instances.
SELECT modality, sum(dataset_length), count(*)
FROM study JOIN series USING (study) JOIN instance USING (series)
WHERE study.received_at >= :since AND instance.received_at >= :since GROUP BY modality ORDER BY 2 DESC;

-- sealed_of_late --
-- Of the packs that were held last, by modality: bytes of the datasets, and their share of the sealed bytes.
SELECT modality, sum(dataset_length),
    sum(1.0 * sealed_bytes * dataset_length / (SELECT sum(one.dataset_length) FROM instance AS one WHERE one.pack = late.pack))
FROM (SELECT pack, sealed_bytes FROM holding ORDER BY rowid DESC LIMIT :most) AS late
    JOIN instance ON instance.pack = late.pack JOIN series USING (series)
GROUP BY modality;
