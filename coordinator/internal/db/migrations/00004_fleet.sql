-- +goose Up

-- Where servers stand, and whose they are. UNIQUE (id, owner) is what servers refer to: a server's owner is its site's.
CREATE TABLE sites (
    id        TEXT NOT NULL PRIMARY KEY,
    name      TEXT NOT NULL,
    owner     TEXT NOT NULL CHECK (owner <> ''),
    time_zone TEXT NOT NULL,
    carriers  TEXT NOT NULL,             -- JSON list, in order of preference
    UNIQUE (id, owner)
);

-- One row for each agent that was ever heard. boot, connection and sequence are the newest that was taken of the session.
CREATE TABLE agents (
    id              TEXT   NOT NULL PRIMARY KEY,
    boot            TEXT   NOT NULL,
    connection      BIGINT NOT NULL,
    sequence        BIGINT NOT NULL,
    retired         TEXT   NOT NULL,     -- JSON list of sessions: the last eight boots that another one took over from
    state           TEXT   NOT NULL,     -- what presence said last: online, stopping, offline
    state_at        BIGINT NOT NULL,     -- when it was heard
    seen            BIGINT NOT NULL,     -- when anything was heard
    version         TEXT   NOT NULL,
    clone_suspected BIGINT NOT NULL DEFAULT 0
);

-- One row for each BMS server, from the inventory (listed), from a report, or from both. id never changes. The host ID is
-- NULL until it is imported or learned at first contact; then it is pinned. A server without a site is observed, and
-- nothing can be assigned to it: it has no owner.
CREATE TABLE servers (
    id              TEXT   NOT NULL PRIMARY KEY,
    name            TEXT   NOT NULL,
    host_id_type    TEXT,
    host_id         TEXT,
    host_key        TEXT,                -- the host ID in lower case: case does not tell two hosts apart
    topic_name      TEXT,                -- what the server is called in topics
    type            TEXT   NOT NULL,
    role            TEXT   NOT NULL,
    version         TEXT   NOT NULL,
    parent          TEXT   REFERENCES servers (id),
    parent_host     TEXT   NOT NULL DEFAULT '',  -- as reported
    site            TEXT,
    owner           TEXT,
    agent           TEXT,
    agent_named     BIGINT NOT NULL DEFAULT 0,   -- 1: named by the inventory, 0: the first that reported the server
    listed          BIGINT NOT NULL DEFAULT 0,   -- 1: in the inventory
    address         TEXT   NOT NULL DEFAULT '',
    driver          TEXT   NOT NULL DEFAULT '',
    tls_sha256      TEXT   NOT NULL DEFAULT '',
    labels          TEXT   NOT NULL DEFAULT '{}',
    clone_suspected BIGINT NOT NULL DEFAULT 0,
    facts           TEXT   NOT NULL DEFAULT '',  -- JSON, as reported; empty: never reported
    licenses        TEXT   NOT NULL DEFAULT '[]',
    rights          TEXT   NOT NULL DEFAULT '[]',
    clock           TEXT   NOT NULL DEFAULT '',
    report_digest   TEXT   NOT NULL DEFAULT '',
    report_at       BIGINT,                      -- the agent's own time of that report
    changed_at      BIGINT,                      -- when a report last said something new
    last_seen       BIGINT,                      -- when the newest report was last confirmed, by itself or by a heartbeat
    asked           TEXT   NOT NULL DEFAULT '',  -- nonce of the newest question that was answered
    UNIQUE (id, owner),
    UNIQUE (site, name),
    UNIQUE (host_id_type, host_key),
    UNIQUE (agent, topic_name),
    FOREIGN KEY (site, owner) REFERENCES sites (id, owner) ON UPDATE CASCADE,
    CHECK ((site IS NULL) = (owner IS NULL)),
    CHECK ((host_id IS NULL) = (host_id_type IS NULL) AND (host_id IS NULL) = (host_key IS NULL) AND (host_id IS NULL) = (topic_name IS NULL)),
    CHECK (role IN ('top', 'field'))
);

CREATE INDEX servers_agent ON servers (agent);
CREATE INDEX servers_parent ON servers (parent);
CREATE INDEX servers_name ON servers (name, type);
