//! Why: how far an account's history was read and what it came to, so that the next scan reads only what is new.

use rusqlite::{Result, Transaction};

pub(super) fn up(records: &Transaction<'_>) -> Result<()> {
    records.execute_batch(
        "
CREATE TABLE scan (
    network TEXT NOT NULL, account BLOB NOT NULL, record TEXT NOT NULL, PRIMARY KEY (network, account)) STRICT;
",
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, rows, up_to};

    #[test]
    fn what_was_there_stays() {
        let mut records = at(1);
        records.execute_batch("INSERT INTO agent VALUES ('bot', x'01', '{}')").unwrap();
        up_to(&mut records, 2);
        assert_eq!(rows(&records, "SELECT label FROM agent"), ["bot"]);
        records.execute_batch("INSERT INTO scan VALUES ('n', x'01', '{}')").unwrap();
    }
}
