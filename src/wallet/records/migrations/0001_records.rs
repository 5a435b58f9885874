//! Why: accounts, keys, approvals, agents, operations and proofs. Rows hold a record as JSON beside the columns that are searched.

use rusqlite::{Result, Transaction};

pub(super) fn up(records: &Transaction<'_>) -> Result<()> {
    records.execute_batch(
        "
CREATE TABLE account (
    network TEXT NOT NULL, address BLOB NOT NULL, name TEXT NOT NULL, hidden INTEGER NOT NULL DEFAULT 0,
    record TEXT NOT NULL, PRIMARY KEY (network, address)) STRICT;
CREATE UNIQUE INDEX account_name ON account (name) WHERE hidden = 0;
CREATE TABLE key (
    id TEXT PRIMARY KEY, network TEXT NOT NULL, account BLOB NOT NULL, session_key BLOB NOT NULL, label TEXT NOT NULL,
    hidden INTEGER NOT NULL DEFAULT 0, record TEXT NOT NULL) STRICT;
CREATE INDEX key_account ON key (network, account);
CREATE TABLE approval (
    id INTEGER PRIMARY KEY, key_id TEXT NOT NULL REFERENCES key (id), digest BLOB NOT NULL UNIQUE,
    record TEXT NOT NULL) STRICT;
CREATE INDEX approval_key ON approval (key_id);
CREATE TABLE agent (label TEXT PRIMARY KEY, address BLOB NOT NULL UNIQUE, record TEXT NOT NULL) STRICT;
CREATE TABLE operation (
    user_op_hash BLOB PRIMARY KEY, network TEXT NOT NULL, account BLOB NOT NULL, created_at INTEGER NOT NULL,
    record TEXT NOT NULL) STRICT;
CREATE TABLE proof (
    id INTEGER PRIMARY KEY, key_id TEXT NOT NULL REFERENCES key (id), created_at INTEGER NOT NULL,
    record TEXT NOT NULL) STRICT;
",
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::at;

    #[test]
    fn an_approval_needs_a_key_and_no_two_listed_accounts_have_one_name() {
        let records = at(1);
        records.pragma_update(None, "foreign_keys", true).unwrap();
        let refused = |sql: &str| records.execute_batch(sql).unwrap_err().to_string();
        assert!(refused("INSERT INTO approval (key_id, digest, record) VALUES ('a', x'01', '{}')").contains("FOREIGN"));
        let account = |address: &str, hidden: u8| {
            format!(
                "INSERT INTO account (network, address, name, hidden, record) VALUES ('n', x'{address}', 'x', {hidden}, '{{}}')"
            )
        };
        records.execute_batch(&account("01", 0)).unwrap();
        records.execute_batch(&account("02", 1)).unwrap();
        assert!(refused(&account("03", 0)).contains("account.name"));
    }
}
