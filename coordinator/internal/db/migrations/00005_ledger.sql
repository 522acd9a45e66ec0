-- +goose Up

-- The epoch of this ledger: seconds since 1970 when it began, or when it was found to be a copy of an older self.
CREATE TABLE ledger_state (
    one   BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    epoch BIGINT NOT NULL CHECK (epoch > 0)
);

-- ref names an entitlement where its own ID, which is a secret, must not appear.
CREATE TABLE entitlements (
    ref          TEXT   NOT NULL PRIMARY KEY,
    id           TEXT   NOT NULL UNIQUE,
    owner        TEXT   NOT NULL CHECK (owner <> ''),
    sold_to      TEXT   NOT NULL,
    order_number TEXT   NOT NULL,
    kind         TEXT   NOT NULL,
    issued       BIGINT,
    digest       TEXT   NOT NULL,            -- of the file
    content      TEXT   NOT NULL,            -- of what it says, however it was laid out
    notes        TEXT   NOT NULL DEFAULT '[]',
    imported_at  BIGINT NOT NULL,
    UNIQUE (ref, owner)
);

-- One activation ID. held is the sum of held of its assignments; it exceeds what was bought only where the mark says so,
-- and the mark is set only by what the activation server proves.
CREATE TABLE lines (
    ref           TEXT   NOT NULL PRIMARY KEY,
    entitlement   TEXT   NOT NULL,
    place         BIGINT NOT NULL,           -- in the certificate
    owner         TEXT   NOT NULL,
    activation_id TEXT   NOT NULL UNIQUE,
    right_id      TEXT   NOT NULL UNIQUE,    -- its SHA-256: what receipts and reports say
    part_number   TEXT   NOT NULL,
    product       TEXT   NOT NULL,
    version       TEXT   NOT NULL,
    order_line    TEXT   NOT NULL,
    sold          BIGINT NOT NULL CHECK (sold >= 0),
    bought        BIGINT NOT NULL CHECK (bought >= 0),   -- what of it was left for this ledger
    held          BIGINT NOT NULL DEFAULT 0 CHECK (held >= 0),
    overcommitted BIGINT NOT NULL DEFAULT 0 CHECK (overcommitted IN (0, 1)),
    starts        BIGINT,
    expires       BIGINT,                    -- the first instant at which it is of no use; NULL: never
    UNIQUE (ref, owner),
    FOREIGN KEY (entitlement, owner) REFERENCES entitlements (ref, owner),
    CHECK (held <= bought OR overcommitted = 1)
);

CREATE INDEX lines_product ON lines (owner, part_number);
CREATE INDEX lines_entitlement ON lines (entitlement);

-- A server as the ledger knows it. A row appears when the fleet knows the server's host ID and owner; it begins adopting.
CREATE TABLE ledger_servers (
    server              TEXT   NOT NULL PRIMARY KEY REFERENCES servers (id),
    epoch               BIGINT NOT NULL,
    generation          BIGINT NOT NULL DEFAULT 0,   -- of the newest document, claimed or to be claimed
    order_generation    BIGINT NOT NULL DEFAULT 0,   -- at which the license list last changed
    adopting            BIGINT NOT NULL DEFAULT 1 CHECK (adopting IN (0, 1)),
    restored            BIGINT NOT NULL DEFAULT 0 CHECK (restored IN (0, 1)),  -- adopting because the epoch is new
    hold                BIGINT NOT NULL DEFAULT 0 CHECK (hold IN (0, 1)),      -- adopting by a hold document
    stranded            BIGINT NOT NULL DEFAULT 0 CHECK (stranded IN (0, 1)),
    claimed_generation  BIGINT NOT NULL DEFAULT 0,   -- of the document last claimed in this epoch
    claimed_order       BIGINT NOT NULL DEFAULT 0,
    claimed_digest      TEXT   NOT NULL DEFAULT '',  -- empty: none in this epoch
    claimed_payload     BYTEA,
    claimed_hold        BIGINT NOT NULL DEFAULT 0,
    claimed_agent       TEXT   NOT NULL DEFAULT '',
    claimed_topic       TEXT   NOT NULL DEFAULT '',
    claimed_carriers    TEXT   NOT NULL DEFAULT '',
    accepted_epoch      BIGINT NOT NULL DEFAULT 0,   -- of the document that the agent last said it accepted
    accepted_generation BIGINT NOT NULL DEFAULT 0,
    accepted_digest     TEXT   NOT NULL DEFAULT '',
    in_flight           BIGINT NOT NULL DEFAULT 0,
    exchange            TEXT   NOT NULL DEFAULT '',  -- JSON, as last reported
    exchange_settled    BIGINT NOT NULL DEFAULT 0,   -- its receipt has settled
    sequence            BIGINT NOT NULL DEFAULT 0,   -- the highest of any receipt
    server_sequence     BIGINT NOT NULL DEFAULT 0,   -- the highest that the server itself came to
    reported_sequence   BIGINT NOT NULL DEFAULT 0,   -- the one of the last report; lower: the server was restored
    receipt             BYTEA,                       -- the newest that settled or was adopted, as it was signed
    receipt_epoch       BIGINT NOT NULL DEFAULT 0,
    receipt_generation  BIGINT NOT NULL DEFAULT 0,
    settled_at          BIGINT,
    unmanaged           BIGINT NOT NULL DEFAULT 0,   -- rights with seats that are in no assignment
    release_key         TEXT   NOT NULL DEFAULT '',  -- empty: none is under way
    release_generation  BIGINT NOT NULL DEFAULT 0,
    release_published   BIGINT NOT NULL DEFAULT 0,   -- its document is retained at the broker: it may be posted
    release_code        TEXT   NOT NULL DEFAULT '',  -- why it was refused
    CHECK (order_generation <= generation),
    CHECK (claimed_generation <= generation),
    CHECK (claimed_order <= claimed_generation),
    CHECK (adopting = 1 OR (restored = 0 AND hold = 0))
);

CREATE INDEX ledger_servers_adopting ON ledger_servers (server) WHERE adopting = 1;
CREATE INDEX ledger_servers_releasing ON ledger_servers (server) WHERE release_key <> '';

-- One activation ID on one server, in seats. Rows stay: a document names every right ever assigned to its server. The
-- owner stands in the row so that a seat of one owner cannot be held at a site of another.
CREATE TABLE assignments (
    server            TEXT   NOT NULL REFERENCES ledger_servers (server),
    line              TEXT   NOT NULL,
    owner             TEXT   NOT NULL,
    want              BIGINT NOT NULL CHECK (want >= 0),
    ordered           BIGINT NOT NULL CHECK (ordered >= 0),
    exposed           BIGINT NOT NULL CHECK (exposed >= 0),
    proved            BIGINT NOT NULL CHECK (proved >= 0),
    held              BIGINT NOT NULL,
    claimed           BIGINT NOT NULL CHECK (claimed >= 0),  -- in the document last claimed in this epoch
    proved_epoch      BIGINT NOT NULL,                       -- order of the receipt behind proved
    proved_generation BIGINT NOT NULL,
    code              TEXT   NOT NULL,                       -- why it was refused, and under which order
    code_epoch        BIGINT NOT NULL,
    code_generation   BIGINT NOT NULL,
    installed         BIGINT,                                -- in the server's store, as last reported
    PRIMARY KEY (server, line),
    FOREIGN KEY (line, owner) REFERENCES lines (ref, owner),
    FOREIGN KEY (server, owner) REFERENCES servers (id, owner),
    CHECK (held >= want AND held >= ordered AND held >= exposed AND (held = want OR held = ordered OR held = exposed)),
    CHECK (claimed <= exposed AND proved <= exposed)
);

CREATE INDEX assignments_line ON assignments (line);
