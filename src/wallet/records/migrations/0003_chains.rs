//! Why: an account is (chain, address), and a network name only a way to reach its chain. Until here rows knew a name alone, so one
//! account under two names was two. Each row says which chain it is of, and an approval that was recorded for two keys (its column
//! names one, its record the other) says which the other is. A record that cannot be read is left as it is: it must not keep
//! the others from being opened.

use rusqlite::{Result, Transaction};

pub(super) fn up(records: &Transaction<'_>) -> Result<()> {
    records.execute_batch(
        "
CREATE TABLE network_chain (network TEXT PRIMARY KEY, chain_id INTEGER NOT NULL, genesis BLOB NOT NULL) STRICT;
ALTER TABLE account ADD COLUMN chain_id INTEGER;
ALTER TABLE account ADD COLUMN genesis BLOB;
ALTER TABLE key ADD COLUMN chain_id INTEGER;
ALTER TABLE key ADD COLUMN genesis BLOB;
ALTER TABLE operation ADD COLUMN chain_id INTEGER;
ALTER TABLE operation ADD COLUMN genesis BLOB;
ALTER TABLE scan ADD COLUMN chain_id INTEGER;
ALTER TABLE scan ADD COLUMN genesis BLOB;
ALTER TABLE approval ADD COLUMN also_key_id TEXT;
UPDATE account SET chain_id = CASE WHEN json_valid(record) THEN
    CASE WHEN typeof(json_extract(record, '$.chain_id')) = 'integer' THEN json_extract(record, '$.chain_id') END END;
UPDATE key SET chain_id = CASE WHEN json_valid(record) THEN
    CASE WHEN typeof(json_extract(record, '$.chain_id')) = 'integer' THEN json_extract(record, '$.chain_id') END END;
UPDATE operation SET chain_id = coalesce(
    (SELECT chain_id FROM account a WHERE a.network = operation.network AND a.address = operation.account),
    (SELECT max(chain_id) FROM key k WHERE k.network = operation.network AND k.account = operation.account));
UPDATE scan SET chain_id = coalesce(
    (SELECT chain_id FROM account a WHERE a.network = scan.network AND a.address = scan.account),
    (SELECT max(chain_id) FROM key k WHERE k.network = scan.network AND k.account = scan.account));
UPDATE approval SET also_key_id = CASE WHEN json_valid(record) THEN
    (SELECT id FROM key WHERE id = json_extract(approval.record, '$.key_id') AND id <> approval.key_id) END;
CREATE INDEX account_place ON account (address, chain_id);
CREATE INDEX key_place ON key (account, chain_id);
CREATE INDEX operation_place ON operation (account, chain_id);
CREATE INDEX approval_also ON approval (also_key_id) WHERE also_key_id IS NOT NULL;
",
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, rows, up_to};

    #[test]
    fn every_row_says_its_chain_and_a_doubled_approval_both_keys() {
        let mut records = at(2);
        records
            .execute_batch(
                r#"
INSERT INTO account (network, address, name, record) VALUES
    ('a', x'01', 'one', '{"chain_id":10}'), ('b', x'02', 'two', '{"chain_id":18446744073709551615}'), ('c', x'03', 'three', '{not JSON');
INSERT INTO key (id, network, account, session_key, label, record) VALUES
    ('k1', 'a', x'01', x'', '', '{"chain_id":10}'), ('k2', 'd', x'04', x'', '', '{"chain_id":7}'), ('k3', 'd', x'04', x'', '', 'x');
INSERT INTO approval (key_id, digest, record) VALUES
    ('k1', x'01', '{"key_id":"k2"}'), ('k1', x'02', '{"key_id":"k1"}'), ('k1', x'03', '{"key_id":"gone"}'), ('k1', x'04', 'x');
INSERT INTO operation (user_op_hash, network, account, created_at, record) VALUES
    (x'01', 'a', x'01', 1, '{}'), (x'02', 'd', x'04', 2, '{}'), (x'03', 'e', x'05', 3, '{}');
INSERT INTO scan VALUES ('a', x'01', '{}');
"#,
            )
            .unwrap();
        up_to(&mut records, 3);
        let of = |sql: &str| rows(&records, sql);
        let chains = |table: &str| of(&format!("SELECT coalesce(chain_id, '-') FROM {table} ORDER BY rowid"));
        assert_eq!(chains("account"), ["10", "-", "-"]);
        assert_eq!(chains("key"), ["10", "7", "-"]);
        assert_eq!(chains("operation"), ["10", "7", "-"]);
        assert_eq!(chains("scan"), ["10"]);
        assert_eq!(of("SELECT coalesce(also_key_id, '-') FROM approval ORDER BY id"), ["k2", "-", "-", "-"]);
        assert_eq!(of("SELECT record FROM account WHERE name = 'three'"), ["{not JSON"], "left as it is");
    }
}
