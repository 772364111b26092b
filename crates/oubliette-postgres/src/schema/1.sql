-- The first version. {schema} is the schema's name, {payload} the type of the columns that hold JSON.

CREATE TABLE {schema}.meta (
    key text PRIMARY KEY,
    value text NOT NULL
);

-- By how much our numbers of transactions are ahead of the server's. A server that was filled from a dump begins to
-- count anew, and what comes must still be behind what is there.
CREATE TABLE {schema}.clock (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    ahead bigint NOT NULL DEFAULT 0
);
INSERT INTO {schema}.clock DEFAULT VALUES;

CREATE TABLE {schema}.stream (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    -- The revision of its last event, -1 before there is one; and the transaction that wrote it.
    last bigint NOT NULL DEFAULT -1,
    tx bigint NOT NULL DEFAULT -1
) WITH (fillfactor = 70);

-- An event's position is (tx, seq). Times are microseconds since 1970.
CREATE TABLE {schema}.event (
    tx bigint NOT NULL,
    seq bigint NOT NULL,
    stream bigint NOT NULL,
    revision bigint NOT NULL,
    id uuid NOT NULL UNIQUE,
    type text COLLATE "C" NOT NULL,
    recorded bigint NOT NULL,
    restored bigint,
    data {payload},
    bytes bytea,
    metadata {payload},
    PRIMARY KEY (tx, seq),
    UNIQUE (stream, revision),
    CHECK ((data IS NULL) <> (bytes IS NULL))
);

-- For people, and for queries of theirs.
CREATE VIEW {schema}.events AS
    SELECT e.tx, e.seq, s.name AS stream, e.revision, e.id, e.type, to_timestamp(e.recorded / 1000000.0) AS recorded,
        e.restored IS NOT NULL AS restored, e.data, e.bytes, e.metadata
    FROM {schema}.event e JOIN {schema}.stream s ON s.number = e.stream;

-- Locks the rows of these streams, always in the same order, and makes those that are new.
CREATE FUNCTION {schema}.lock_streams(p_names text[], p_make boolean[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    l_found bigint;
BEGIN
    PERFORM FROM {schema}.stream s WHERE s.name = ANY (p_names) ORDER BY s.name FOR NO KEY UPDATE;
    GET DIAGNOSTICS l_found = ROW_COUNT;
    -- Where one is missing that must not be, nothing will be written: then none is made.
    IF l_found = cardinality(p_names) OR EXISTS (
        SELECT FROM unnest(p_names, p_make) AS u (name, make)
        WHERE NOT u.make AND NOT EXISTS (SELECT FROM {schema}.stream s WHERE s.name = u.name)
    ) THEN
        RETURN;
    END IF;
    INSERT INTO {schema}.stream (name)
        SELECT u.name FROM unnest(p_names) AS u (name)
        WHERE NOT EXISTS (SELECT FROM {schema}.stream s WHERE s.name = u.name)
        ORDER BY u.name COLLATE "C"
        ON CONFLICT (name) DO NOTHING;
    PERFORM FROM {schema}.stream s WHERE s.name = ANY (p_names) ORDER BY s.name FOR NO KEY UPDATE;
END
$$;

-- The number of this transaction.
CREATE FUNCTION {schema}.this_tx() RETURNS bigint
LANGUAGE sql VOLATILE AS $$
    SELECT c.ahead + pg_current_xact_id()::text::bigint FROM {schema}.clock c
$$;

-- Appends to one or more streams, all or nothing. Of stream number i it is expected that its last revision is
-- p_expected[i]: -1 is any, -2 no event, -3 some event. Event number j goes to stream number p_of[j], as the p_nth[j]th new
-- one there.
--
-- What it answers: for each stream `written`; or `known` for each id that is there already, and nothing is written;
-- or one `conflict`; or `late`, where a younger transaction was quicker: the caller begins another one.
CREATE FUNCTION {schema}.append(
    p_names text[], p_expected bigint[], p_counts bigint[], p_of bigint[], p_nth bigint[],
    p_ids uuid[], p_types text[], p_data text[], p_bytes bytea[], p_metadata text[]
) RETURNS TABLE (outcome text, at bigint, id uuid, stream text, revision bigint, tx bigint, seq bigint)
LANGUAGE plpgsql AS $$
DECLARE
    l_tx bigint;
    l_base bigint;
    l_now bigint;
BEGIN
    PERFORM {schema}.lock_streams(p_names, ARRAY(
        SELECT u.expected IN (-1, -2) FROM unnest(p_expected) WITH ORDINALITY AS u (expected, at) ORDER BY u.at));

    -- A retry whose answer was lost finds that the stream has moved on. So known ids go before a conflict.
    RETURN QUERY SELECT 'known', NULL::bigint, e.id, s.name, e.revision, e.tx, e.seq
        FROM {schema}.event e JOIN {schema}.stream s ON s.number = e.stream WHERE e.id = ANY (p_ids);
    IF FOUND THEN RETURN; END IF;

    RETURN QUERY SELECT 'conflict', u.at, NULL::uuid, NULL::text, nullif(s.last, -1), NULL::bigint, NULL::bigint
        FROM unnest(p_names, p_expected) WITH ORDINALITY AS u (name, expected, at)
            LEFT JOIN {schema}.stream s ON s.name = u.name
        WHERE NOT CASE u.expected
            WHEN -1 THEN true
            WHEN -2 THEN coalesce(s.last, -1) = -1
            WHEN -3 THEN coalesce(s.last, -1) <> -1
            ELSE coalesce(s.last, -1) = u.expected
        END
        ORDER BY u.at LIMIT 1;
    IF FOUND THEN RETURN; END IF;

    -- Positions grow with the revisions of a stream: the transactions of which they are made must, too.
    l_tx := {schema}.this_tx();
    IF EXISTS (SELECT FROM {schema}.stream s WHERE s.name = ANY (p_names) AND s.tx > l_tx) THEN
        RETURN QUERY SELECT 'late', NULL::bigint, NULL::uuid, NULL::text, NULL::bigint, NULL::bigint, NULL::bigint;
        RETURN;
    END IF;

    -- What is acknowledged is on the disk, whatever the database is set to.
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;

    l_base := coalesce((SELECT max(e.seq) FROM {schema}.event e WHERE e.tx = l_tx), -1);
    l_now := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
    INSERT INTO {schema}.event (tx, seq, stream, revision, id, type, recorded, data, bytes, metadata)
        SELECT l_tx, l_base + u.ord, s.number, s.last + u.nth, u.id, u.type, l_now, u.data::{payload}, u.bytes,
            u.metadata::{payload}
        FROM unnest(p_of, p_nth, p_ids, p_types, p_data, p_bytes, p_metadata) WITH ORDINALITY
                AS u (stream, nth, id, type, data, bytes, metadata, ord)
            JOIN {schema}.stream s ON s.name = p_names[u.stream];
    UPDATE {schema}.stream s SET last = s.last + u.count, tx = l_tx
        FROM unnest(p_names, p_counts) AS u (name, count) WHERE s.name = u.name;
    RETURN QUERY SELECT 'written', u.at, NULL::uuid, NULL::text, s.last, l_tx,
            l_base + (sum(u.count) OVER (ORDER BY u.at))::bigint
        FROM unnest(p_names, p_counts) WITH ORDINALITY AS u (name, count, at)
            JOIN {schema}.stream s ON s.name = u.name
        ORDER BY u.at;
END
$$;
